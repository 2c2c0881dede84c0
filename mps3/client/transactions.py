"""The calls that read and write in transactions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, overload

from ..content.patch import PendingPatch
from ..content.value import PendingValue
from ..format.names import check_not_own, name_in
from ..format.operations import Step
from ..manifest.transaction import TransactionRunner
from ..manifest.workspace import Workspace
from ..types import JSON, KEPT, Kept, Ref
from .reads import Reads
from .time_to_live import seconds_to_live
from .transaction import Transaction, TransactionBlock

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")


class Transactions(Reads):
    """The calls that read and write in one transaction."""

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
        """Update a value: read it, call ``function``, write the result. Repeats that after a conflict.

        Concurrent updates of one client share a commit. With the merge journal, it takes the manifest's window (3 s)
        until no conflict is possible any more. The call waits for that, and while the store does not answer.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            function: Called with the value; returns the new one, or `DELETE`; may be a coroutine function. It may be
                called several times, and should have no side effects. An exception of it is raised here, and nothing
                is written. It may return ``None`` only if it was called with ``None``: a function that changes a value
                in place has to return it, too. To set null, use `transact` and `Transaction.put`.
            default: The value to call it with if the key does not exist.
            expires_in: Seconds, or a timedelta, until the key expires, as for `MPS3.put`. ``None``: it does not
                expire. If it is not given, the key keeps its expiry.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.

        Returns:
            The value that was written, when it is durable.

        Raises:
            TypeError: The new value is not JSON, or the function returned ``None`` for a value that was not ``None``.
            RuntimeError: A transaction is open in this task.
            MPS3Error: The commit failed.
        """
        return await self._update(
            key, lambda value: call_update(function, value, key), default, expires_in, bucket, manifest
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
            seconds_to_live(expires_in)  # check it before anything is read

        async def change(transaction: Transaction) -> Any:
            value = await function(await transaction.get(key, default, bucket=bucket))
            transaction.put(key, value, bucket=bucket, expires_in=expires_in)
            return value

        return await self.transact(change, manifest=manifest)

    async def transact(
        self, function: Callable[[Transaction], Awaitable[T]], *, manifest: str | Ref | None = None
    ) -> T:
        """Read and write several keys in one transaction. Repeats it after a conflict.

        Args:
            function: Called with a `Transaction`. It may be called several times, and should have no side effects. An
                exception of it is raised here, and nothing is written.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Returns:
            The result of ``function``, when its writes are durable.

        Raises:
            TypeError: ``function`` is not a coroutine function.
            RuntimeError: A transaction is open in this task.
            MPS3Error: The commit failed.
        """
        runner, make = self._begin(manifest)

        async def run(workspace: Workspace) -> T:
            result = function(make(workspace))
            if not inspect.isawaitable(result):
                raise TypeError(
                    f"the function of a transaction has to be a coroutine function (async def), but {function!r} "
                    f"returned {type(result).__qualname__}: nothing is written"
                )
            return await result

        return await runner.run(run)

    def transaction(self, *, manifest: str | Ref | None = None) -> TransactionBlock:
        """Read and write several keys in one transaction, in an ``async with`` block.

        The writes are committed at the end of the block, if no other commit has changed a key that was read.
        Otherwise a `ConflictError` is raised, and nothing is written: repeat the block, or use `transact`. Inside the
        block no other transaction can begin: entering one, `update` and `transact` raise a `RuntimeError`.

        Args:
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            ClosedError: The client is not open.
        """
        return TransactionBlock(*self._begin(manifest))

    def _begin(self, manifest: str | Ref | None) -> tuple[TransactionRunner, Callable[[Workspace], Transaction]]:
        self._check_open()
        ref = self._manifest_ref(manifest)
        opened = self._manifest(ref)
        runner = self._runners.get(opened)
        if runner is None:
            runner = self._runners[opened] = TransactionRunner(opened, self._contents, self._environment)

        def place(key: str | Ref, bucket: str | None) -> tuple[str, str, str, str]:
            in_bucket, literal = self._place(key, bucket)
            check_not_own(ref, in_bucket, literal)
            return name_in(ref, in_bucket, literal), in_bucket, literal, self._label(in_bucket, literal)

        def prepare(
            bucket: str, key: str, value: JSON, expires_in: float | None, *, may_be_inline: bool
        ) -> PendingValue:
            return self._contents.prepare(bucket, key, value, (ref,), expires_in, may_be_inline=may_be_inline)

        def prepare_patch(bucket: str, key: str, steps: Sequence[Step], expires_in: float | None) -> PendingPatch:
            return self._contents.prepare_patch(bucket, key, steps, (ref,), expires_in)

        return runner, lambda workspace: Transaction(workspace, place, prepare, prepare_patch)


async def call_update(function: Callable[[Any], Any], value: Any, key: str | Ref) -> Any:
    """Return the result of an update function.

    Raises:
        TypeError: It returned ``None`` for a value that was not ``None``: most likely it changed the value in place.
    """
    result = function(value)
    if inspect.isawaitable(result):
        result = await result
    if result is None and value is not None:
        raise TypeError(
            f"the function that updates {str(key)!r} returned None for a value that was not None: nothing is written. "
            "Return the new value, also where it was changed in place. To delete the key return mps3.DELETE; to set "
            "it to null, use transact(), and put(key, None) there"
        )
    return result
