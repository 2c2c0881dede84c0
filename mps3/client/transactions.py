"""Reading, changing and writing that loses no update: a part of the client."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..content.reader import for_all
from ..content.store import Content, Contents
from ..errors import ClosedError
from ..format.entries import FileEntry, expires_of
from ..format.names import check_not_own, name_in
from ..manifest.manifest import Manifest
from ..manifest.nesting import Nesting
from ..manifest.transaction import TransactionRunner
from ..manifest.workspace import Workspace
from ..support.environment import Environment
from ..types import DELETE, JSON, KEPT, Commit, Delete, Kept, Ref
from .lifetime import lifetime

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")

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


class Transactions:
    """The part of a client that reads and writes as one."""

    if TYPE_CHECKING:  # what the client has
        _bucket: str
        _default: Ref
        _contents: Contents
        _environment: Environment
        _transactors: dict[Manifest, TransactionRunner]

        def _check_open(self) -> None: ...
        def _manifest(self, ref: Ref) -> Manifest: ...
        def _manifest_ref(self, manifest: str | Ref) -> Ref: ...
        def _place(self, key: str | Ref, bucket: str | None) -> tuple[str, str]: ...
        def _label(self, bucket: str, key: str) -> str: ...

    @overload
    async def update(
        self,
        key: str | Ref,
        function: Callable[[Any], Awaitable[T]],
        default: Any = None,
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> T: ...

    @overload
    async def update(
        self,
        key: str | Ref,
        function: Callable[[Any], T],
        default: Any = None,
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> T: ...

    async def update(
        self,
        key: str | Ref,
        function: Callable[[Any], Any],
        default: Any = None,
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> Any:
        """Change a value by what it is: read, call ``function``, write, and again if somebody came in between.

        Updates that one client makes at the same time go out as one commit. With the merge journal it takes the
        manifest's window (3 s) until it is certain that nobody came in between. That is waited for, and so is a store
        that does not answer.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            function: Called with the value, returns the new one, or `DELETE`; may be a coroutine function. It may be
                called several times, and should do nothing else. What it raises is raised here, and nothing is written.
                ``None`` is taken for a new value only if it was called with ``None``: a function that changes a
                value in place returns that, too. To set null, use `transact` and `Transaction.put`.
            default: What stands for the value if there is no such key.
            expires_in: Seconds, or a timedelta, until the key vanishes by itself, as for `MPS3.put`. ``None``: it
                stays. Without it the key vanishes when it was to vanish before; if it was not to, it stays.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.

        Returns:
            What was written, when it is durable.

        Raises:
            TypeError: The new value is not JSON, or the function returned ``None`` for what was not ``None``.
            RuntimeError: A transaction is under way in this task.
            MPS3Error: It cannot be committed.
        """
        return await self._update(
            key, lambda value: changed(function, value, key), default, expires_in, bucket, manifest
        )

    async def _update(
        self,
        key: str | Ref,
        function: Callable[[Any], Awaitable[Any]],
        default: Any,
        expires_in: float | timedelta | Kept | None,
        bucket: str | None,
        manifest: str | Ref | None,
    ) -> Any:
        if expires_in is not KEPT:
            lifetime(expires_in)  # a wrong one is wrong before anything is read

        async def change(transaction: Transaction) -> Any:
            value = await function(await transaction.get(key, default, bucket=bucket))
            transaction.put(key, value, bucket=bucket, expires_in=expires_in)
            return value

        return await self.transact(change, manifest=manifest)

    async def transact(
        self, function: Callable[[Transaction], Awaitable[T]], *, manifest: str | Ref | None = None
    ) -> T:
        """Read and write several keys as one, again and again until nobody came in between.

        Args:
            function: Called with a `Transaction`. It may be called several times, and should do nothing else. What it
                raises is raised here, and nothing is written.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Returns:
            What ``function`` returned, when its writes are durable.

        Raises:
            TypeError: ``function`` is not a coroutine function.
            RuntimeError: A transaction is under way in this task.
            MPS3Error: It cannot be committed.
        """
        transactor, make = self._transacting(manifest)

        async def run(workspace: Workspace) -> T:
            made = function(make(workspace))
            if not inspect.isawaitable(made):
                raise TypeError(
                    f"the function of a transaction has to be a coroutine function (async def), but {function!r} "
                    f"returned {type(made).__qualname__}: nothing is written"
                )
            return await made

        return await transactor.run(run)

    def transaction(self, *, manifest: str | Ref | None = None) -> TransactionBlock:
        """Read and write several keys as one, in an ``async with`` block.

        The writes are committed at its end, if nobody has changed what it has read. Otherwise a `ConflictError` is
        raised, and nothing is written: do it again, or use `transact`, which does. Within the block no other
        transaction is begun: entering one, `update` and `transact` raise a `RuntimeError`.

        Args:
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            ClosedError: The client is not open.
        """
        return TransactionBlock(*self._transacting(manifest))

    def _transacting(self, manifest: str | Ref | None) -> tuple[TransactionRunner, Callable[[Workspace], Transaction]]:
        self._check_open()
        ref = self._default if manifest is None else self._manifest_ref(manifest)
        opened = self._manifest(ref)
        transactor = self._transactors.get(opened)
        if transactor is None:
            transactor = self._transactors[opened] = TransactionRunner(opened, self._contents, self._environment)

        def place(key: str | Ref, bucket: str | None) -> tuple[str, str, str, str]:
            in_bucket, literal = self._place(key, bucket)
            check_not_own(ref, in_bucket, literal)
            return name_in(ref, in_bucket, literal), in_bucket, literal, self._label(in_bucket, literal)

        def prepare(bucket: str, key: str, value: JSON, expires_in: float | None) -> Content:
            return self._contents.prepare(bucket, key, value, (ref,), expires_in)

        return transactor, lambda workspace: Transaction(workspace, place, prepare)


async def changed(function: Callable[[Any], Any], value: Any, key: str | Ref) -> Any:
    """What a function makes of a value, for the updates of clients.

    Raises:
        TypeError: It has made ``None`` of what was not: it has changed the value in place, most likely.
    """
    made = function(value)
    if inspect.isawaitable(made):
        made = await made
    if made is None and value is not None:
        raise TypeError(
            f"the function that updates {str(key)!r} returned None for a value that was not None: nothing is written. "
            "Return the new value, also where it was changed in place. To delete the key return mps3.DELETE; to set "
            "it to null, use transact(), and put(key, None) there"
        )
    return made


def _keep_expiry(content: Content, before: Content | FileEntry | None) -> None:
    """Let a value expire when the one was to that it takes the place of."""
    if isinstance(before, Content):
        content.expires_in, content.until = before.expires_in, before.until
    else:
        content.until = expires_of(before)
