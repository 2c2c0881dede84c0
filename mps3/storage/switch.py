"""The way to the store, which can be closed: what is asked while it is makes no request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..errors import UnavailableError
from .protocol import Storage
from .wrapper import StorageWrapper

T = TypeVar("T")

WHY: Final = "the client is offline on purpose: call go_online()"


class OfflineError(UnavailableError):
    """Nothing was asked, because the client was told to be offline."""


class OfflineSwitch(StorageWrapper):
    """A storage that passes everything on to another one, while it is open.

    The other one is opened by the first request that passes, so that a client which starts offline asks nobody for
    anything.

    Args:
        storage: The store.
        shut: Whether to start closed.

    Attributes:
        shut: Whether requests are refused. Those under way are finished.
    """

    def __init__(self, storage: Storage, *, shut: bool = False) -> None:
        super().__init__(storage)
        self.shut = shut
        self._opening = asyncio.Lock()
        self._tried = False
        self._opened = False

    async def open(self) -> None:
        """Open the store, unless the gate is closed."""
        if not self.shut:
            await self._open()

    async def aclose(self) -> None:
        """Close the store, if it was opened: others may be using it."""
        if self._tried:
            self._tried = self._opened = False
            await self._storage.aclose()

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                self._tried = True
                await self._storage.open()
                self._opened = True

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        if self.shut:
            raise OfflineError(WHY, bucket=bucket, key=key, operation=operation)
        if not self._opened:
            await self._open()
        return await super()._ask(operation, bucket, key, request, sent=sent)
