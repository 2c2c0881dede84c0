"""Reading, changing and writing that loses no update: a part of the client."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, overload

from ..content.value import Content
from ..format.names import check_not_own, name_in
from ..manifest.transaction import TransactionRunner, Workspace
from ..types import JSON, KEPT, Kept, Ref
from .core import ClientCore
from .lifetime import lifetime
from .transaction import Transaction, TransactionBlock

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")


class Transactions(ClientCore):
    """The part of a client that reads and writes as one."""

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
