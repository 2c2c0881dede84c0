"""A storage wrapper that creates its storage when it is opened.

Importing the SDK takes longer than importing everything else. A client of a directory never imports it, and a client
of S3 imports it in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ..errors import ClosedError
from .protocol import Storage
from .wrapper import StorageWrapper

T = TypeVar("T")


class LazyStorage(StorageWrapper):
    """A storage that forwards every call to another storage, which it creates when it is opened.

    Args:
        make: Creates the other storage. Runs in a thread, and may import modules.
        identity: As `mps3.storage.identity.Identified.identity`, without the other storage.
        scheme: The scheme of its URLs, for messages.
    """

    def __init__(self, make: Callable[[], Storage], identity: Callable[[], str], *, scheme: str | None = None) -> None:
        # The other storage does not exist yet, so the wrapper is initialised in open().
        self._make = make
        self._identity = identity
        self._made = False
        self.scheme = scheme

    @property
    def vendor(self) -> Any:
        """The vendor of the other storage, if it has one."""
        return getattr(self._storage, "vendor", None) if self._made else None

    @property
    def server_headers(self) -> Mapping[str, str]:
        """The `mps3.storage.s3.storage.S3Storage.server_headers` of the other storage, if it has some."""
        return getattr(self._storage, "server_headers", {}) if self._made else {}

    def clock(self) -> float | None:
        """As `StorageWrapper.clock`; ``None`` before it is open."""
        return super().clock() if self._made else None

    def identity(self) -> str:
        """As `StorageWrapper.identity`, whether it is open or not."""
        return self._identity()

    async def open(self) -> None:
        """Create the other storage if needed, and open it."""
        if not self._made:
            storage = await asyncio.to_thread(self._make)
            if not self._made:  # another task may have been faster
                super().__init__(storage)
                self._made = True
        await self._storage.open()

    async def aclose(self) -> None:
        """Close the other storage, if there is one."""
        if self._made:
            await self._storage.aclose()

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        if not self._made:
            raise ClosedError("the store is not open yet", bucket=bucket, key=key, operation=operation)
        return await super()._ask(operation, bucket, key, request, sent=sent)
