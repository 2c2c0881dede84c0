"""A store that misbehaves on demand."""

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
"""What may be asked of a store, as errors and events call it."""
OPERATIONS: Final = frozenset(Operation.__args__)  # type: ignore[attr-defined]
_WRITES: Final = frozenset({"PutObject", "DeleteObject"})


@dataclass(frozen=True, slots=True)
class Request:
    """Something that was asked of a store.

    Attributes:
        operation: As S3 calls it.
        bucket: Of which bucket.
        key: Of which object; for listings what the keys begin with; ``None`` for the bucket itself.
    """

    operation: str
    bucket: str
    key: str | None

    def matches(self, operation: str | None, key: str | None) -> bool:
        """Whether it is such a request.

        Args:
            operation: ``None`` for any.
            key: ``None`` for any. The key of a value stands for its versions too, where those have keys of their own.
        """
        if operation not in (None, self.operation):
            return False
        return key is None or (self.key is not None and self.key.partition(f"@{MINTED}")[0] == key)


@dataclass(slots=True)
class _Asked:
    """A request on its way.

    Attributes:
        source: Whom to ask instead.
    """

    request: Request
    source: Storage | None = None


class Fault:
    """Something that goes wrong with requests, until it has gone wrong often enough or is ended.

    What the methods of a `FaultyStorage` return. As a context manager it ends with the block.

    Attributes:
        met: How many requests it has befallen.
    """

    def __init__(self, befall: _Befall, times: int | None, operation: str | None, key: str | None) -> None:
        if times is not None and times < 1:
            raise ValueError(f"times is a positive number, or None for as long as it is not ended, not {times!r}")
        if operation is not None and operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {', '.join(sorted(OPERATIONS))}")
        self.met = 0
        self._befall = befall
        self._times = times
        self._operation = operation
        self._key = key
        self._befallen = 0
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def active(self) -> bool:
        """Whether it may befall another request."""
        return not self._ended.is_set() and (self._times is None or self.met < self._times)

    def end(self) -> None:
        """Let it befall no other request. Requests that hang go on."""
        self._ended.set()

    async def wait(self, times: int = 1) -> None:
        """Wait until it has befallen so many requests.

        Args:
            times: How many.
        """
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
        """Whether nothing happens any more if it is ended."""
        return self._ended.is_set() or not (self.active or self._befallen)

    def _concerns(self, request: Request) -> bool:
        return self.active and request.matches(self._operation, self._key)

    async def _do(self, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:
        self.met += 1
        self._befallen += 1
        self._changed.set()
        try:
            return await self._befall(self, asked, send)
        finally:
            self._befallen -= 1


_Befall = Callable[[Fault, _Asked, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class FaultyStorage(StorageWrapper):
    """A store that does what a store may do to its clients, when it is told to.

    Each method makes a fault, which concerns the requests of one ``operation``, as S3 names it (``"PutObject"``,
    ``"GetObject"`` …), and of one ``key``, or of any; the next so many ``times``, or with ``None`` until it is ended.
    Several may befall one request.

    Args:
        storage: Where the objects are: one of its own in memory if ``None``. Several may share one, so that the
            network fails for one client and not for another.

    Attributes:
        requests: What it was asked so far, also what failed.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        super().__init__(MemoryStorage() if storage is None else storage)
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._away: Fault | None = None

    @property
    def storage(self) -> Storage:
        """Where the objects are."""
        return self._storage

    @property
    def online(self) -> bool:
        """Whether it was not told to be offline."""
        return self._away is None

    def count(self, operation: Operation | None = None, key: str | None = None) -> int:
        """How many requests of an operation, of a key, or of both it was asked."""
        return sum(request.matches(operation, key) for request in self.requests)

    def go_offline(self) -> None:
        """Fail every request, until `go_online`, as if there were no network. Those under way are finished."""
        if self._away is None:
            self._away = self.fail(times=None)

    def go_online(self) -> None:
        """Answer again."""
        if self._away is not None:
            self._away.end()
            self._away = None

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
        """Let requests fail before they take effect.

        Args:
            times: How many; ``None`` for all, until it is ended.
            operation: Of which operation.
            key: Of which key.
            error: How; ``None`` for an `UnavailableError`.
        """

        async def befall(_: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001
            raise error or _unavailable(asked.request, "it was told to fail")

        return self._add(befall, times, operation, key)

    def refuse(self, times: int | None = None, *, operation: Operation | None = None, key: str | None = None) -> Fault:
        """Refuse access, with an `AccessError`.

        Args:
            times: How often; ``None`` for as long as it is not ended.
            operation: Of which operation.
            key: Of which key.
        """

        async def befall(_: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001
            raise AccessError(_said(asked.request, "it was told to refuse"), **_about(asked.request))

        return self._add(befall, times, operation, key)

    def lose_answers(
        self, times: int | None = 1, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Let requests take effect, and fail all the same: nobody can know that they did.

        Args:
            times: How many; ``None`` for all, until it is ended.
            operation: Of which operation.
            key: Of which key.
        """

        async def befall(_: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:
            await send()
            raise _unavailable(asked.request, "it was told to lose the answer")

        return self._add(befall, times, operation, key)

    def delay(
        self, seconds: float, times: int | None = None, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Let requests take longer.

        Args:
            seconds: How much longer.
            times: How many; ``None`` for all, until it is ended.
            operation: Of which operation.
            key: Of which key.
        """

        async def befall(_: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001
            await asyncio.sleep(seconds)
            return await send()

        return self._add(befall, times, operation, key)

    def hang(
        self,
        times: int | None = None,
        *,
        operation: Operation | None = None,
        key: str | None = None,
        after_effect: bool = False,
    ) -> Fault:
        """Let requests wait until the fault is ended, and then go on.

        Args:
            times: How many; ``None`` for all.
            operation: Of which operation.
            key: Of which key.
            after_effect: Whether they take effect before.
        """

        async def befall(fault: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001
            answer = await send() if after_effect else None
            await fault._ended.wait()  # noqa: SLF001 - one of ours
            return answer if after_effect else await send()

        return self._add(befall, times, operation, key)

    def answer_older(
        self, times: int | None = None, *, operation: Operation | None = None, key: str | None = None
    ) -> Fault:
        """Answer reads with what is there now, whatever is written from now on: like a cache that is behind.

        Args:
            times: How many; ``None`` for all, until it is ended.
            operation: Of which operation.
            key: Of which key.

        Raises:
            TypeError: The objects are not in a `MemoryStorage`.
        """
        if not isinstance(self._storage, MemoryStorage):
            raise TypeError(f"older answers need a MemoryStorage, not {type(self._storage).__qualname__}")
        if operation in _WRITES:
            raise ValueError(f"{operation} reads nothing that could be older")
        older = self._storage.copy()

        async def befall(_: Fault, asked: _Asked, send: Callable[[], Awaitable[Any]]) -> Any:
            if asked.request.operation not in _WRITES:
                asked.source = older
            return await send()

        return self._add(befall, times, operation, key)

    def _add(self, befall: _Befall, times: int | None, operation: str | None, key: str | None) -> Fault:
        fault = Fault(befall, times, operation, key)
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
        asked = _Asked(Request(operation, bucket, key))
        self.requests.append(asked.request)
        faults = list(self._faults)

        def ask() -> Awaitable[T]:
            usual = self._storage
            self._storage = asked.source or usual
            try:
                return request()  # takes hold of the storage; nothing else runs before it is back
            finally:
                self._storage = usual

        def send(left: int) -> Awaitable[Any]:
            if left == len(faults):
                return ask()
            if faults[left]._concerns(asked.request):  # noqa: SLF001 - one of ours
                return faults[left]._do(asked, lambda: send(left + 1))  # noqa: SLF001
            return send(left + 1)

        answer: T = await send(0)
        return answer


def _about(request: Request) -> dict[str, Any]:
    return {"bucket": request.bucket, "key": request.key, "operation": request.operation}


def _said(request: Request, why: str) -> str:
    what = f"s3://{request.bucket}" + (f"/{request.key}" if request.key is not None else "")
    return f"{request.operation} of {what} failed: {why}"


def _unavailable(request: Request, why: str) -> UnavailableError:
    return UnavailableError(_said(request, why), **_about(request))
