"""Opening and closing a client."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Generator
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from ..collect.background import collect_in_background
from ..errors import ClosedError, UnavailableError
from ..format.document import FORMAT
from ..offline.protocol import Store, StoredSession
from ..offline.queue import OutboxQueue
from ..storage.identity import identity_of
from ..storage.locate import described, locate
from ..storage.url import parse
from ..support.environment import Environment
from ..text import printable
from ..types import Ref
from .collection import Collection

FLUSH_TIMEOUT: Final = 30.0
"""Seconds that closing waits for pending writes."""
FLUSH_TIMEOUT_UNREACHABLE: Final = 3.0
"""Seconds that closing waits for them while the store does not answer."""


class Lifecycle(Collection):
    """The calls that open and close a client."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """A client for a store named by a URL.

        Args:
            url: ``s3://bucket/manifest.json?endpoint_url=…&region_name=…``, ``file:///some/dir`` for a
                directory of this machine, or ``memory:`` for a store that the clients of this process share
                and that is empty again when the last of them has closed.
            **options: Further arguments of `MPS3`.

        Raises:
            ConfigurationError: The URL is not one of these.
        """
        location = parse(url)
        if location.scheme == "s3":
            options = {"s3_config": {**location.s3_config, **options.pop("s3_config", {})}, **options}
        elif "storage" not in options:
            options["storage"] = locate(location, options.get("environment") or Environment())
        return cls(location.bucket, location.manifest, **options)

    async def open(self) -> Self:
        """Open the client, as ``async with`` does; `aclose` closes it.

        Where there is no block to put it into, in a notebook or where a framework says when it starts and stops:
        ``client = await MPS3(…).open()``, or in short ``client = await MPS3(…)``.

        Returns:
            The client.

        Raises:
            ClosedError: It was opened before.
            ConfigurationError: There is no such bucket, or it cannot do what is needed.
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is not one.
            FormatError: A newer version of this library wrote the manifest.
            UnavailableError: The store does not answer, and the manifest has never been read with the directory
                that was given as ``offline``, or none was given.
        """
        if self._state != "new":
            raise ClosedError("this client was opened before: make a new one")
        self._state = "open"
        self._affinity.bind()
        if self._switch.shut:
            self._connection.switched()
        try:
            await self._open_storage()
            lines = await self._open_directory()
            manifests = {ref: self._make_manifest(ref) for ref in dict.fromkeys((self._default, *lines))}
            for ref, manifest in manifests.items():
                manifest.recover(lines.get(ref, ()))
            await manifests[self._default].open()
            for manifest in manifests.values():
                self._start(manifest)
            if self._collect_every is not None:
                collect = partial(self.collect, buckets=self._collect_buckets)
                every = collect_in_background(collect, self._collect_every, self._environment, str(self._default))
                self._collector = asyncio.create_task(every, name=f"mps3 collector {self._default}")
        except BaseException:
            await self._stop()
            raise
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        """Open the client, as `open` does."""
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        """Open the client, as `open` does."""
        return await self.open()

    async def _open_storage(self) -> None:
        try:
            await self._storage.open()
            self._holds_storage = True
        except UnavailableError as error:
            if self._directory is None:
                raise
            self._holds_storage = True
            self._connection.contact(error)  # it is opened by the first request that can be

    async def _open_directory(self) -> dict[Ref, list[tuple[StoredSession, OutboxQueue]]]:
        """What clients that are no more have left to do, for each manifest."""
        if self._directory is None:
            return {}
        place = await asyncio.to_thread(identity_of, self._store)
        own, others = await self._directory.open(Store(place, self._bucket, self._default, FORMAT))
        self._keepers = [OutboxQueue(durable_outbox) for durable_outbox in (own, *others)]
        lines: dict[Ref, list[tuple[StoredSession, OutboxQueue]]] = {}
        for outbox_queue, durable_outbox in zip(self._keepers[1:], others, strict=True):
            for line in await durable_outbox.lines():
                lines.setdefault(line.manifest, []).append((line, outbox_queue))
        return lines

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is pending, then stop everything.

        It waits for pending writes up to 30 seconds, and while the store does not answer up to 3. What
        is still pending then fails with a `ClosedError`, and is logged if nobody awaits it. With ``offline`` it
        waits only while the store answers: pending writes are kept, and the next client goes on with them.

        Raises:
            ConfigurationError: It was opened in another event loop.
        """
        if self._state != "open":
            return
        self._affinity.check()
        self._state = "closing"
        if self._collector is not None:
            self._collector.cancel()
        try:
            await self._flush()
        finally:
            await self._stop()

    async def _flush(self) -> None:
        drained = asyncio.gather(*(manifest.drained() for manifest in self._manifests.values()))
        patience = FLUSH_TIMEOUT_UNREACHABLE if self._directory is None else 0.0
        left, left_offline = FLUSH_TIMEOUT, patience
        step = 0.25
        try:
            while left > 0 and (left_offline > 0 or self._connection.is_online) and not drained.done():
                await asyncio.wait([drained], timeout=step)
                left -= step
                left_offline = patience if self._connection.is_online else left_offline - step
        finally:
            drained.cancel()
            await asyncio.gather(drained, return_exceptions=True)

    async def _stop(self) -> None:
        self._state = "closed"
        self._affinity.unbind()
        try:
            if self._collector is not None:
                self._collector.cancel()
                await asyncio.gather(self._collector, return_exceptions=True)
            for runner in self._runners.values():
                await runner.aclose()
            for manifest in self._manifests.values():
                await manifest.aclose()
            await self._contents.aclose()
        finally:
            self._connection.watchers.tell(ended=True)
            self._observer.closed()
            try:
                await self._close_directory()
            finally:
                if self._holds_storage:  # others may have it open, though it could not be opened for this one
                    await self._storage.aclose()

    async def _close_directory(self) -> None:
        keepers, self._keepers = self._keepers, []
        for outbox_queue in keepers:
            await outbox_queue.aclose()
        if self._directory is not None:
            await self._directory.aclose()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") in ("open", "closing"):
            warnings.warn(
                f"{self!r} was not closed: use `async with`, or call `aclose()`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return printable(f"<MPS3 {described(self._source, self._default)}, {self._state}>")
