"""A store that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from ..content.value import MINTED
from ..errors import AccessError, MPS3Error, UnavailableError
from ..storage.memory import MemoryStorage
from ..storage.protocol import Storage
from ..storage.wrapper import StorageWrapper

T = TypeVar("T")

Operation = Literal[
    "GetBucketVersioning", "GetObject", "PutObject", "HeadObject", "DeleteObject", "ListObjectVersions", "ListObjects"
]
"""The operations of a store, as errors and events name them."""
OPERATIONS: Final = frozenset(Operation.__args__)  # type: ignore[attr-defined]
_WRITES: Final = frozenset({"PutObject", "DeleteObject"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a store.

    Attributes:
        operation: The operation, as S3 names it.
        bucket: The bucket.
        key: The key; for listings the prefix; ``None`` for the bucket itself.
    """

    operation: str
    bucket: str
    key: str | None

    def matches(self, operation: str | None, key: str | None) -> bool:
        """Return whether it is of an operation and of a key; ``None`` stands for any.

        The key of a value matches its versions too, where those have keys of their own.
        """
        if operation not in (None, self.operation):
            return False
        return key is None or (self.key is not None and self.key.partition(f"@{MINTED}")[0] == key)


@dataclass(slots=True)
class _Call:
    """A request, and the storage that answers it; ``None``: the usual one."""

    request: Request
    storage: Storage | None = None


class Fault:
    """A fault of a `FaultyStorage`: it affects a number of requests, or all until it is ended.

    As a context manager it ends with the block.

    Attributes:
        met: How many requests it has affected.
    """

    def __init__(self, inject: _Inject, times: int | None, operation: str | None, key: str | None) -> None:
        if times is not None and times < 1:
            raise ValueError(f"times is a positive number, or None until the fault is ended, not {times!r}")
        if operation is not None and operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {', '.join(sorted(OPERATIONS))}")
        self.met = 0
        self._inject = inject
        self._times = times
        self._operation = operation
        self._key = key
        self._running = 0
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def active(self) -> bool:
        """Whether it may affect another request."""
        return not self._ended.is_set() and (self._times is None or self.met < self._times)

    def end(self) -> None:
        """End it: it affects no other request, and requests that hang go on."""
        self._ended.set()

    async def wait(self, times: int = 1) -> None:
        """Wait until it has affected ``times`` requests."""
        while self.met < times:
            self._changed.clear()
            await self._changed.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def __repr__(self) -> str:
        return f"<Fault, met {self.met} times, {'active' if self.active else 'over'}>"

    @property
    def _over(self) -> bool:
        """Whether it affects no request now or later."""
        return self._ended.is_set() or not (self.active or self._running)

    def _affects(self, request: Request) -> bool:
        return self.active and request.matches(self._operation, self._key)

    async def _run(self, call: _Call, send: _Send) -> Any:
        self.met += 1
        self._running += 1
        self._changed.set()
        try:
            return await self._inject(self, call, send)
        finally:
            self._running -= 1


_Send = Callable[[], Awaitable[Any]]
_Inject = Callable[[Fault, _Call, _Send], Awaitable[Any]]


class FaultyStorage(StorageWrapper):
    """A store that fails on demand, in the ways in which a store may fail.

    Each method that makes a fault takes ``times``, how many requests it affects (``None``: all until it is ended);
    ``operation``, as S3 names it (``"PutObject"``, ``"GetObject"`` …); and ``key``. It affects only requests of that
    operation and that key, if they are given. Several faults may affect one request.

    Args:
        storage: The store behind it; ``None``: one of its own in memory. Several may share one, so that the network
            fails for one client and not for another.

    Attributes:
        requests: All requests so far, also those that failed.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        super().__init__(MemoryStorage() if storage is None else storage)
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._offline: Fault | None = None

    @property
    def storage(self) -> Storage:
        """The store behind it."""
        return self._storage

    @property
    def online(self) -> bool:
        """Whether it is not offline."""
        return self._offline is None

    def count(self, operation: Operation | None = None, key: str | None = None) -> int:
        """Return how many requests there were so far, of an operation, of a key, or of both."""
        return sum(request.matches(operation, key) for request in self.requests)

    def go_offline(self) -> None:
        """Fail every request until `go_online`, as without a network. Requests that have begun are finished."""
        if self._offline is None:
            self._offline = self.fail(times=None)

    def go_online(self) -> None:
        """Answer again."""
        if self._offline is not None:
            self._offline.end()
            self._offline = None

    def heal(self) -> None:
        """End all faults."""
        self.go_online()
        for fault in self._faults:
            fault.end()

    def fail(
        self,
        times: int | None = 1,
        *,
        operation: Operation | None = None,
        key: str | None = None,
        error: MPS3Error | None = None,
    ) -> Fault:
        """Fail requests before they take effect, with an ``error``; by default it is an `UnavailableError`."""

        async def inject(_: Fault, call: _Call, send: _Send) -> Any:  # noqa: ARG001
            raise error or _unavailable(call.request, "it was told to fail")

        return self._add(inject, times, operation, key)

    def refuse(self, times: int | None = None, *, operation: Operation | None = None, key: str | None = None) -> Fault:
        """Refuse requests, with an `AccessError`."""

        async def inject(_: Fault, call: _Call, send: _Send) -> Any:  # noqa: ARG001
            raise AccessError(_message(call.request, "it was told to refuse"), **_about(call.request))

        return self._add(inject, times, operation, key)

    def lose_answers(
        self, times: int | None = 1, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Let requests take effect, and then fail: the client cannot know whether they did."""

        async def inject(_: Fault, call: _Call, send: _Send) -> Any:
            await send()
            raise _unavailable(call.request, "it was told to lose the answer")

        return self._add(inject, times, operation, key)

    def delay(
        self, seconds: float, times: int | None = None, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Let requests take some seconds longer."""

        async def inject(_: Fault, call: _Call, send: _Send) -> Any:  # noqa: ARG001
            await asyncio.sleep(seconds)
            return await send()

        return self._add(inject, times, operation, key)

    def hang(
        self,
        times: int | None = None,
        *,
        operation: Operation | None = None,
        key: str | None = None,
        after_effect: bool = False,
    ) -> Fault:
        """Let requests wait until the fault is ended: before they take effect, or ``after_effect``."""

        async def inject(fault: Fault, call: _Call, send: _Send) -> Any:  # noqa: ARG001
            answer = await send() if after_effect else None
            await fault._ended.wait()  # noqa: SLF001 - one of ours
            return answer if after_effect else await send()

        return self._add(inject, times, operation, key)

    def answer_older(
        self, times: int | None = None, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Answer reads with the objects of this moment, whatever is written later: like a cache that is behind.

        Raises:
            TypeError: The objects are not in a `MemoryStorage`.
        """
        if not isinstance(self._storage, MemoryStorage):
            raise TypeError(f"older answers need a MemoryStorage, not {type(self._storage).__qualname__}")
        if operation in _WRITES:
            raise ValueError(f"{operation} reads nothing that could be older")
        older = self._storage.copy()

        async def inject(_: Fault, call: _Call, send: _Send) -> Any:
            if call.request.operation not in _WRITES:
                call.storage = older
            return await send()

        return self._add(inject, times, operation, key)

    def _add(self, inject: _Inject, times: int | None, operation: str | None, key: str | None) -> Fault:
        fault = Fault(inject, times, operation, key)
        self._faults = [one for one in self._faults if not one._over]  # noqa: SLF001 - one of ours
        self._faults.append(fault)
        return fault

    async def _ask(
        self,
        operation: str,
        bucket: str,
        key: str | None,
        request: Callable[[], Awaitable[T]],
        *,
        sent: int = 0,  # noqa: ARG002
    ) -> T:
        call = _Call(Request(operation, bucket, key))
        self.requests.append(call.request)
        faults = list(self._faults)

        def ask() -> Awaitable[T]:
            usual = self._storage
            self._storage = call.storage or usual
            try:
                return request()  # reads `_storage` before anything else can run
            finally:
                self._storage = usual

        def send(index: int) -> Awaitable[Any]:
            if index == len(faults):
                return ask()
            if faults[index]._affects(call.request):  # noqa: SLF001 - one of ours
                return faults[index]._run(call, lambda: send(index + 1))  # noqa: SLF001
            return send(index + 1)

        answer: T = await send(0)
        return answer


def _about(request: Request) -> dict[str, Any]:
    return {"bucket": request.bucket, "key": request.key, "operation": request.operation}


def _message(request: Request, why: str) -> str:
    what = f"s3://{request.bucket}" + (f"/{request.key}" if request.key is not None else "")
    return f"{request.operation} of {what} failed: {why}"


def _unavailable(request: Request, why: str) -> UnavailableError:
    return UnavailableError(_message(request, why), **_about(request))
