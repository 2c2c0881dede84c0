"""A storage wrapper that can be switched off: while it is, no request reaches the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import UnavailableError
from .protocol import Storage
from .wrapper import StorageWrapper

T = TypeVar("T")


class OfflineError(UnavailableError):
    """No request was made, because the client is offline on purpose."""


class OfflineSwitch(StorageWrapper):
    """A storage that forwards every call to another storage, unless it is shut.

    The first request that passes opens the other storage, so that a client that starts offline makes no request.

    Args:
        storage: The store.
        shut: Whether to start shut.

    Attributes:
        shut: Whether new requests are refused. Requests under way finish.
    """

    def __init__(self, storage: Storage, *, shut: bool = False) -> None:
        super().__init__(storage)
        self.shut = shut
        self._opening = asyncio.Lock()
        self._open_attempted = False
        self._opened = False

    async def open(self) -> None:
        """Open the store, unless the switch is shut."""
        if not self.shut:
            await self._open()

    async def aclose(self) -> None:
        """Close the store, if this switch has opened it: other clients may use it."""
        if self._open_attempted:
            self._open_attempted = self._opened = False
            await self._storage.aclose()

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                self._open_attempted = True
                await self._storage.open()
                self._opened = True

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        if self.shut:
            raise OfflineError(
                "the client is offline on purpose: call go_online()", bucket=bucket, key=key, operation=operation
            )
        if not self._opened:
            await self._open()
        return await super()._ask(operation, bucket, key, request, sent=sent)
