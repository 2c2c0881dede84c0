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
from ..offline.protocol import DirectoryOwner, StoredSession
from ..offline.queue import OutboxQueue
from ..storage.identity import identity_of
from ..storage.locate import locate, manifest_label
from ..storage.notifications import notifications_of
from ..storage.url import parse
from ..support.environment import Environment
from ..text import printable
from ..types import Ref
from ..wake.waker import IDLE
from .collection import Collection
from .core import POLL_INTERVAL

FLUSH_TIMEOUT: Final = 30.0
"""Seconds that closing waits for pending writes."""
FLUSH_TIMEOUT_UNREACHABLE: Final = 3.0
"""Seconds that closing waits for them while the store does not answer."""


class Lifecycle(Collection):
    """The calls that open and close a client."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return a client for the store at a URL.

        Args:
            url: ``s3://bucket/manifest.json?endpoint_url=…&region_name=…``; ``gs://bucket/manifest.json`` for Google
                Cloud Storage and ``az://container/manifest.json?account_name=…`` for Azure Blob Storage by their own
                interfaces; ``file:///some/dir`` for a local directory; or ``memory:`` for a store that the clients of
                this process share until the last of them closes. Clients of a directory or of such a store hear of each
                other's commits without polls, and poll every 30 s if no interval is given.
            **options: Further arguments of `MPS3`; and ``storage_options``, a dictionary with more settings of a
                ``gs`` or ``az`` store, such as ``account_key``, which may be secret.

        Raises:
            ConfigurationError: The URL is invalid.
        """
        location = parse(url)
        storage_options = options.pop("storage_options", None)
        if storage_options is not None:
            location = location.with_options(storage_options)
        if location.scheme == "s3":
            options = {"s3_config": {**location.s3_config, **options.pop("s3_config", {})}, **options}
        elif "storage" not in options:
            options["storage"] = locate(location, options.get("environment") or Environment())
            given = options.keys() & {"poll_interval", "idle_poll_interval", "wake"}
            if not given and notifications_of(options["storage"]) is not None:
                options["idle_poll_interval"] = IDLE * POLL_INTERVAL
        return cls(location.bucket, location.manifest, **options)

    async def open(self) -> Self:
        """Open the client and return it, as ``async with`` does; `aclose` closes it.

        Use it where ``async with`` does not fit, as in a notebook or in the start and stop callbacks of a framework:
        ``client = await MPS3(…).open()``, or in short ``client = await MPS3(…)``.

        Raises:
            ClosedError: The client was opened before.
            ConfigurationError: The bucket does not exist, or lacks a required feature.
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is damaged.
            FormatError: A newer version of this library wrote the manifest.
            UnavailableError: The store does not answer, and the ``offline`` directory has no state of the manifest.
        """
        if self._state != "new":
            raise ClosedError("this client was opened before: create a new one")
        self._state = "open"
        self._affinity.bind()
        if self._switch.shut:
            self._connection.switched()
        try:
            await self._open_storage()
            sessions = await self._open_directory()
            manifests = {ref: self._make_manifest(ref) for ref in dict.fromkeys((self._default, *sessions))}
            for ref, manifest in manifests.items():
                manifest.recover(sessions.get(ref, ()))
            await manifests[self._default].open()
            for manifest in manifests.values():
                self._start(manifest)
            self._waker.start()
            if self._collect_every is not None:
                collect = partial(self.collect, buckets=self._collect_buckets)
                collecting = collect_in_background(collect, self._collect_every, self._environment, str(self._default))
                self._collector = asyncio.create_task(collecting, name=f"mps3 collector {self._default}")
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
        except UnavailableError as error:
            if self._directory is None:
                raise
            self._connection.record_response(error)  # the first request that reaches the store opens it
        self._storage_opened = True

    async def _open_directory(self) -> dict[Ref, list[tuple[StoredSession, OutboxQueue]]]:
        """Return the unfinished sessions of earlier clients, by manifest."""
        if self._directory is None:
            return {}
        identity = await asyncio.to_thread(identity_of, self._store)
        own, others = await self._directory.open(DirectoryOwner(identity, self._bucket, self._default, FORMAT))
        self._outbox_queues = [OutboxQueue(durable_outbox) for durable_outbox in (own, *others)]
        sessions: dict[Ref, list[tuple[StoredSession, OutboxQueue]]] = {}
        for outbox_queue, durable_outbox in zip(self._outbox_queues[1:], others, strict=True):
            for session in await durable_outbox.sessions():
                sessions.setdefault(session.manifest, []).append((session, outbox_queue))
        return sessions

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send the pending writes, then close the client.

        The client waits up to 30 seconds for pending writes, or up to 3 seconds while the store does not answer. Writes
        that are still pending fail with a `ClosedError`, which is logged if no caller awaits them. With ``offline`` the
        client waits only while the store answers: the directory keeps the writes, and the next client sends them.

        Raises:
            ConfigurationError: The client was opened in another event loop.
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
        timeout_offline = FLUSH_TIMEOUT_UNREACHABLE if self._directory is None else 0.0
        left, left_offline = FLUSH_TIMEOUT, timeout_offline
        step = 0.25
        try:
            while left > 0 and (left_offline > 0 or self._connection.is_online) and not drained.done():
                await asyncio.wait([drained], timeout=step)
                left -= step
                left_offline = timeout_offline if self._connection.is_online else left_offline - step
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
            await self._waker.aclose()
            for view in list(self._views):
                await view.aclose()
            for runner in self._runners.values():
                await runner.aclose()
            # At once: each may wait for its last checkpoint.
            closing = (manifest.aclose() for manifest in self._manifests.values())
            for failure in await asyncio.gather(*closing, return_exceptions=True):
                if failure is not None:
                    raise failure
            await self._contents.aclose()
        finally:
            self._connection.watchers.notify(ended=True)
            self._observer.closed()
            try:
                await self._close_directory()
            finally:
                if self._storage_opened:  # otherwise it may only be open for other clients
                    await self._storage.aclose()

    async def _close_directory(self) -> None:
        queues, self._outbox_queues = self._outbox_queues, []
        for outbox_queue in queues:
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
        return printable(f"<MPS3 {manifest_label(self._source, self._default)}, {self._state}>")
