"""The reads and writes of a transaction, and its ``async with`` block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, TypeVar, overload

from ..content.patch import PendingPatch
from ..content.value import PendingValue
from ..errors import ClosedError
from ..format.operations import Step
from ..manifest.nesting import Nesting
from ..manifest.transaction import TransactionRunner
from ..manifest.workspace import Workspace
from ..support.gather import map_concurrently
from ..types import DELETE, JSON, KEPT, Commit, Delete, Kept, Ref
from .changes import Changes, operation_at, step_of
from .operations import Increment
from .time_to_live import seconds_to_live

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)

Place = Callable[[str | Ref, str | None], tuple[str, str, str, str]]
"""Resolves a key and a bucket: returns the name in the manifest, the bucket, the key and the label."""


PreparePatch = Callable[[str, str, Sequence[Step], float | None], PendingPatch]
"""Encodes the steps of a patch, given a bucket, a key, the steps and the seconds until the key expires."""


class Prepare(Protocol):
    """Encodes a value."""

    def __call__(
        self, bucket: str, key: str, value: JSON, expires_in: float | None, *, may_be_inline: bool
    ) -> PendingValue:
        """Encode a value to be stored later, as `ValueStore.prepare` does."""
        ...


class Transaction:
    """Reads and writes of keys of one manifest, which are atomic and isolated.

    All reads are of one state, and see the transaction's own writes. Use it only inside the function or the
    ``async with`` block that it was made for.
    """

    def __init__(self, workspace: Workspace, place: Place, prepare: Prepare, prepare_patch: PreparePatch) -> None:
        self._prepare_patch = prepare_patch
        self._workspace = workspace
        self._place = place
        self._prepare = prepare

    @overload
    async def get(self, key: str | Ref, *, bucket: str | None = None) -> JSON: ...

    @overload
    async def get(self, key: str | Ref, default: D, *, bucket: str | None = None) -> JSON | D: ...

    async def get(self, key: str | Ref, default: Any = None, *, bucket: str | None = None) -> Any:
        """Return the value of a key, or ``default``. The commit fails if another commit has changed the key by then.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: The result if the key does not exist.
            bucket: The key's bucket; the default bucket if ``None``.

        Raises:
            UnavailableError: The store does not answer.
        """
        name, *place, _ = self._place(key, bucket)
        value = await self._workspace.read(name, (place[0], place[1]))
        return default if value is DELETE else value

    async def get_all(self, keys: Iterable[K], *, bucket: str | None = None) -> dict[K, JSON]:
        """Return many keys and their values, fetched concurrently, without keys that do not exist.

        Args:
            keys: The keys.
            bucket: The bucket of keys that name none; the default bucket if ``None``.

        Raises:
            UnavailableError: The store does not answer.
        """
        if isinstance(keys, str | Ref):
            raise TypeError("keys is a list of keys; put the key in brackets")
        wanted = list(keys)

        async def read(key: K) -> JSON | Delete:
            name, *place, _ = self._place(key, bucket)
            return await self._workspace.read(name, (place[0], place[1]))

        values = await map_concurrently(read, wanted)
        return {key: value for key, value in zip(wanted, values, strict=True) if value is not DELETE}

    def put(
        self,
        key: str | Ref,
        value: JSON | Delete,
        *,
        bucket: str | None = None,
        expires_in: float | timedelta | Kept | None = None,
    ) -> None:
        """Set a key when the transaction commits; `DELETE` deletes it.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            value: Any JSON value, including ``None``.
            expires_in: Seconds, or a timedelta, until the key expires, as for `MPS3.put`. ``None``: it does not
                expire. `KEPT`: it keeps its expiry, which counts as reading it.
            bucket: The key's bucket; the default bucket if ``None``.

        Raises:
            TypeError: The value is not JSON.
            ValueError: The value or the key cannot be stored.
        """
        lifetime = None if expires_in is KEPT else seconds_to_live(expires_in)
        name, in_bucket, literal, label = self._place(key, bucket)
        named = bucket is not None or (isinstance(key, Ref) and key.bucket is not None)
        content = None
        if value is not DELETE:
            content = self._prepare(in_bucket, literal, value, lifetime, may_be_inline=not named)
        if content is not None and expires_in is KEPT:
            self._workspace.keep_expiry(name, content)
        self._workspace.write(name, (in_bucket, literal), label, content)

    def patch(
        self,
        key: str | Ref,
        changes: Changes,
        *,
        bucket: str | None = None,
        expires_in: float | timedelta | None = None,
    ) -> None:
        """Change parts of a value when the transaction commits. It does not count as reading the key.

        So what other clients change in the value meanwhile is no conflict, and is kept.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            changes: As for `MPS3.patch`.
            bucket: The key's bucket; the default bucket if ``None``.
            expires_in: Seconds, or a timedelta, until the key expires. If it is not given, it keeps its expiry.

        Raises:
            TypeError: A value is not JSON.
            ValueError: A value or the key cannot be stored.
            ConflictError: It does not apply to what this transaction has written.
        """
        self._patch(key, step_of(changes, str(key)), bucket, expires_in)

    def patch_all(
        self,
        changes: Mapping[str | Ref, Changes] | Mapping[str, Changes],
        *,
        bucket: str | None = None,
        expires_in: float | timedelta | None = None,
    ) -> None:
        """Change parts of several values when the transaction commits, as `patch` does.

        Args:
            changes: Keys, and the changes of each.
            bucket: The bucket of keys that name none; the default bucket if ``None``.
            expires_in: As for `patch`.

        Raises:
            TypeError: A value is not JSON.
            ValueError: A value or a key cannot be stored.
            ConflictError: One does not apply to what this transaction has written.
        """
        for key, change in changes.items():
            self.patch(key, change, bucket=bucket, expires_in=expires_in)

    def increment(
        self,
        key: str | Ref,
        by: float = 1,
        *,
        path: str = "",
        bucket: str | None = None,
        expires_in: float | timedelta | None = None,
    ) -> None:
        """Add to a number when the transaction commits. It does not count as reading the key.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            by: The number to add.
            path: Where the number is in the value, as for `MPS3.increment`.
            bucket: The key's bucket; the default bucket if ``None``.
            expires_in: As for `patch`.

        Raises:
            TypeError: ``by`` is not a number.
            ValueError: ``by`` is not finite, or the path is not one.
            ConflictError: It does not apply to what this transaction has written.
        """
        self._patch(key, operation_at(Increment(by), path, str(key)), bucket, expires_in)

    def _patch(self, key: str | Ref, step: Step, bucket: str | None, expires_in: float | timedelta | None) -> None:
        name, in_bucket, literal, label = self._place(key, bucket)
        content = self._prepare_patch(in_bucket, literal, (step,), seconds_to_live(expires_in))
        self._workspace.patch(name, (in_bucket, literal), label, content)

    def delete(self, key: str | Ref, *, bucket: str | None = None) -> None:
        """Delete a key when the transaction commits.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            bucket: The key's bucket; the default bucket if ``None``.
        """
        self.put(key, DELETE, bucket=bucket)


class TransactionBlock:
    """What ``transaction`` returns: an async context manager that gives a `Transaction`.

    Attributes:
        commit: The commit, after the block; ``None`` if nothing was written.
    """

    def __init__(self, runner: TransactionRunner, make: Callable[[Workspace], Transaction]) -> None:
        self.commit: Commit | None = None
        self._runner = runner
        self._make = make
        self._workspace: Workspace | None = None
        self._nesting: Nesting | None = None

    async def __aenter__(self) -> Transaction:
        """Begin: all reads are of the state of this moment. Waits while the store does not answer.

        Raises:
            RuntimeError: A transaction is open in this task.
            ClosedError: The block was used before.
        """
        if self._workspace is not None:
            raise ClosedError("a transaction can be used once: create a new one")
        self._workspace = await self._runner.begin()
        self._nesting = Nesting()
        return self._make(self._workspace)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, unless the block has raised an exception.

        Raises:
            ConflictError: Another commit has changed a key that was read; nothing was written.
            MPS3Error: The commit failed.
        """
        if self._nesting is not None:
            self._nesting.end()
        if error is None and self._workspace is not None:
            self.commit = await self._runner.commit(self._workspace)
