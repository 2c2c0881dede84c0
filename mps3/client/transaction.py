"""A transaction, as users see it: its reads and writes, and the ``async with`` block."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar, overload

from ..content.reader import for_all
from ..content.value import Content
from ..errors import ClosedError
from ..format.entries import FileEntry, expires_of
from ..manifest.transaction import Nesting, TransactionRunner, Workspace
from ..types import DELETE, JSON, KEPT, Commit, Delete, Kept, Ref
from .lifetime import lifetime

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)

Place = Callable[[str | Ref, str | None], tuple[str, str, str, str]]
"""From a key and a bucket: what the manifest calls it, the bucket, the key, what users call it."""
Prepare = Callable[[str, str, JSON, float | None], Content]
"""From a bucket, a key, a value and for how long that is to be there: what is to be stored."""


class Transaction:
    """Reads and writes of some keys of one manifest, which happen as one: whole, and with nothing in between.

    All reads are of one state, with its own writes laid over it. Use it from the function or the ``async with`` block
    that it was made for.
    """

    def __init__(self, workspace: Workspace, place: Place, prepare: Prepare) -> None:
        self._workspace = workspace
        self._place = place
        self._prepare = prepare

    @overload
    async def get(self, key: str | Ref, *, bucket: str | None = None) -> JSON: ...

    @overload
    async def get(self, key: str | Ref, default: D, *, bucket: str | None = None) -> JSON | D: ...

    async def get(self, key: str | Ref, default: Any = None, *, bucket: str | None = None) -> Any:
        """The value of a key, or ``default``. What is written counts only if the key has not changed by then.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: What to return if there is no such key.
            bucket: The key's bucket; the default bucket if ``None``.

        Raises:
            UnavailableError: The store does not answer.
        """
        name, *place, _ = self._place(key, bucket)
        value = await self._workspace.read(name, (place[0], place[1]))
        return default if value is DELETE else value

    async def get_all(self, keys: Iterable[K], *, bucket: str | None = None) -> dict[K, JSON]:
        """Many keys and their values, fetched concurrently; those that do not exist are left out.

        Args:
            keys: Which keys.
            bucket: The bucket of those that name none; the default bucket if ``None``.

        Raises:
            UnavailableError: The store does not answer.
        """
        if isinstance(keys, str | Ref):
            raise TypeError("keys is a list of keys; put the one in brackets")
        wanted = list(keys)

        async def read(key: K) -> JSON | Delete:
            name, *place, _ = self._place(key, bucket)
            return await self._workspace.read(name, (place[0], place[1]))

        values = await for_all(read, wanted)
        return {key: value for key, value in zip(wanted, values, strict=True) if value is not DELETE}

    def put(
        self,
        key: str | Ref,
        value: JSON | Delete,
        *,
        bucket: str | None = None,
        expires_in: float | timedelta | Kept | None = None,
    ) -> None:
        """Set a key when the transaction is committed; `DELETE` deletes it.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            value: Any JSON value; ``None`` is one.
            expires_in: Seconds, or a timedelta, until the key vanishes by itself, as for `MPS3.put`. ``None``: it
                stays. `KEPT`: it vanishes when it was to vanish before, which counts as reading it.
            bucket: The key's bucket; the default bucket if ``None``.

        Raises:
            TypeError: The value is not JSON.
            ValueError: The value or the key cannot be stored.
        """
        span = None if expires_in is KEPT else lifetime(expires_in)
        name, in_bucket, literal, label = self._place(key, bucket)
        content = None if value is DELETE else self._prepare(in_bucket, literal, value, span)
        if content is not None and expires_in is KEPT:
            _keep_expiry(content, self._workspace.look_up(name))
        self._workspace.write(name, (in_bucket, literal), label, content)

    def delete(self, key: str | Ref, *, bucket: str | None = None) -> None:
        """Delete a key when the transaction is committed.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            bucket: The key's bucket; the default bucket if ``None``.
        """
        self.put(key, DELETE, bucket=bucket)


class TransactionBlock:
    """What ``transaction`` returns: ``async with`` it, and use what that gives.

    Attributes:
        commit: The commit, once the block is done; ``None`` if it has written nothing.
    """

    def __init__(self, transactor: TransactionRunner, make: Callable[[Workspace], Transaction]) -> None:
        self.commit: Commit | None = None
        self._transactor = transactor
        self._make = make
        self._workspace: Workspace | None = None
        self._nesting: Nesting | None = None

    async def __aenter__(self) -> Transaction:
        """Begin: all reads will be of the state of this moment. Waits while the store does not answer.

        Raises:
            RuntimeError: A transaction is under way in this task.
            ClosedError: It was used before.
        """
        if self._workspace is not None:
            raise ClosedError("a transaction can be used once: make a new one")
        self._workspace = await self._transactor.begin()
        self._nesting = Nesting()
        return self._make(self._workspace)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, unless the block has raised.

        Raises:
            ConflictError: Somebody else has changed what it has read; nothing was written.
            MPS3Error: It cannot be committed.
        """
        if self._nesting is not None:
            self._nesting.end()
        if error is None and self._workspace is not None:
            self.commit = await self._transactor.commit(self._workspace)


def _keep_expiry(content: Content, before: Content | FileEntry | None) -> None:
    """Let a value expire when the one was to that it takes the place of."""
    if isinstance(before, Content):
        content.expires_in, content.until = before.expires_in, before.until
    else:
        content.until = expires_of(before)
