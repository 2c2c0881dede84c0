"""The base of the iterators over changes, and the iterator over the value of a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self

from ..content.fetcher import MissingError
from ..content.value import PendingValue
from ..errors import ClosedError, CorruptionError, UnavailableError, ValidationError
from ..format.file_entry import FileEntry
from ..format.file_entry import version_of as file_version
from ..manifest.listeners import Listener
from ..manifest.manifest import Manifest
from ..support.environment import Environment, wait_for_event
from ..types import T_co


class Subscription(AsyncIterator[T_co], Generic[T_co]):
    """What ``subscribe`` and ``watch`` return: an iterator over the present, and then over changes.

    A subscription survives the loss of the network. It ends when the client closes, and raises permanent errors.

    It observes changes from the call that created it. Iterate it from one task at a time. Closing it, with ``aclose()``
    or ``async with``, is optional: it holds no resource besides its entry in a list.
    """

    def __init__(self, manifest: Manifest, listener: Listener, environment: Environment) -> None:
        self._manifest = manifest
        self._listener = listener
        self._environment = environment
        self._closed = False
        self._refreshed: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        """Wait for the next item.

        Raises:
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest or the value is damaged.
            FormatError: A newer version of this library wrote the manifest.
            ExpiredError: The commit to resume a watch after is not kept any more.
            ValidationError: The value does not fit the type. The iteration can be continued.
            ConfigurationError: The client is in another event loop.
        """
        raise NotImplementedError

    async def _refresh(self) -> None:
        """Wait until the manifest is as new as this call."""
        failures = 0
        while not self._closed:
            self._refreshed = self._manifest.ask()
            try:
                await self._refreshed
            except UnavailableError:
                failures += 1
                await wait_for_event(self._listener.changed, self._environment.backoff(failures))
            except ClosedError:
                return
            else:
                return

    def _end(self) -> T_co:
        error = self._listener.error
        self._detach()
        if error is None or isinstance(error, ClosedError):
            raise StopAsyncIteration
        raise error

    def _remove_listener(self) -> None:
        """Remove the listener from the manifest."""
        raise NotImplementedError

    def _detach(self) -> None:
        self._closed = True
        if self._refreshed is not None and not self._refreshed.done():
            self._refreshed.set_result(None)
        self._remove_listener()
        self._listener.changed.set()

    async def aclose(self) -> None:
        """End the iteration. A pending wait for the next item ends."""
        self._manifest.affinity.check()
        self._detach()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class ValueSubscription(Subscription[T_co]):
    """The value of a key now, and then the newest value after each change.

    A slow reader skips to the newest value. It gets values in the order of the commits.
    """

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        read: Callable[[PendingValue | FileEntry | None], Awaitable[T_co]],
        environment: Environment,
    ) -> None:
        super().__init__(manifest, Listener(), environment)
        self._name = name
        self._read = read
        self._started = False
        self._last: PendingValue | FileEntry | None = None
        manifest.listeners.add(name, self._listener)

    async def __anext__(self) -> T_co:
        """Wait for the next value."""
        if self._closed:
            raise StopAsyncIteration
        manifest = self._manifest
        manifest.affinity.check()
        if not self._started and not manifest.is_pending(self._name):
            await self._refresh()
        failures = 0
        while True:
            if self._closed or self._listener.error is not None:
                return self._end()
            self._listener.changed.clear()
            try:
                found = await manifest.find(self._name)
            except ClosedError:
                return self._end()
            except UnavailableError:
                failures += 1
                await wait_for_event(self._listener.changed, self._environment.backoff(failures))
                continue
            if self._started and _is_same_version(found, self._last):
                await self._listener.changed.wait()
                continue
            try:
                value = await self._read_refreshed(found)
            except ClosedError:
                return self._end()
            except ValidationError:
                self._started, self._last = True, found
                raise
            except UnavailableError:
                failures += 1
                await wait_for_event(self._listener.changed, self._environment.backoff(failures))
                continue
            except CorruptionError:
                if _is_same_version(found, await manifest.find(self._name)):
                    raise
                continue
            self._started, self._last = True, found
            return value

    async def _read_refreshed(self, found: PendingValue | FileEntry | None) -> T_co:
        try:
            return await self._read(found)
        except CorruptionError as error:
            # The value may have been superseded and collected while it was read.
            await self._manifest.refresh()
            if isinstance(error, MissingError):
                self._manifest.require_reachable()
            raise

    def _remove_listener(self) -> None:
        self._manifest.listeners.remove(self._name, self._listener)


def _is_same_version(one: PendingValue | FileEntry | None, other: PendingValue | FileEntry | None) -> bool:
    version = version_of(one)
    return one is other or (version is not None and version == version_of(other))


def version_of(found: PendingValue | FileEntry | None) -> str | None:
    """Return the version of a stored or pending value."""
    return found.version if isinstance(found, PendingValue) else file_version(found)
