"""Opening: the first read of a manifest, or a start from the cache while the store cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from ..errors import CorruptionError, MPS3Error, UnavailableError
from ..format.document import Kind
from ..journal.protocol import Journal
from ..journal.snapshot import JournalSnapshot
from ..support.environment import wait_for_event
from .context import ManifestContext
from .listeners import Listeners
from .poller import Poller
from .publisher import Publisher
from .reachability import StoreReachability, silent
from .state import ManifestState

OPENING: Final = 5.0
"""Seconds that opening waits for the store where it could start from the cache."""

_log = logging.getLogger("mps3")


class OpenJournal(Protocol):
    """Creates the journal of a manifest."""

    async def __call__(self, known: Kind | None, *, early: bool = False) -> Journal:
        """Return the journal.

        Args:
            known: Its kind; ``None`` to find it out.
            early: Whether to read the newest state while finding it out.
        """
        ...


class Opener:
    """Opens one manifest.

    ``open_journal`` creates the journal that orders its commits.
    """

    def __init__(
        self,
        open_journal: OpenJournal,
        state: ManifestState,
        reachability: StoreReachability,
        poller: Poller,
        publisher: Publisher,
        listeners: Listeners,
        context: ManifestContext,
    ) -> None:
        self._open_journal = open_journal
        self._state = state
        self._reachability = reachability
        self._poller = poller
        self._publisher = publisher
        self._listeners = listeners
        self._context = context
        self._environment = context.environment

    async def open(self) -> None:
        """Read the manifest for the first time, or start from the cache when the store cannot be reached.

        Raises:
            MPS3Error: It cannot be read.
        """
        ref, saved = self._state.ref, await self._recall()
        try:
            async with asyncio.timeout(None if saved is None else OPENING):
                journal, started = await self._first_read(saved)
        except (TimeoutError, UnavailableError) as error:
            if saved is not None and await self._restore(saved):
                self._reachability.failures = 1
                self._context.on_response(error if isinstance(error, UnavailableError) else silent(ref, OPENING))
                self._reachability.lost()
            elif isinstance(error, TimeoutError):
                await self._begin(*await self._first_read(None))
            elif self._context.cache is None:
                raise
            else:
                raise UnavailableError(
                    f"{error}. The manifest s3://{ref.bucket}/{ref.key} cannot be opened offline, because "
                    "it has never been read with this directory: open it once while the store can be reached",
                    bucket=ref.bucket,
                    key=ref.key,
                    operation=error.operation,
                ) from error
        else:
            await self._begin(journal, started)
        self._notify_all()

    async def open_in_background(self) -> None:
        """Open the manifest if it is not open, and try until the store has been read once.

        Raises:
            MPS3Error: It cannot be read, although the store answers.
        """
        state, reachability = self._state, self._reachability
        if state.journal is None:
            saved = await self._recall()
            if saved is not None and await self._restore(saved):
                self._notify_all()
        while not state.verified:
            known, now = state.journal, self._environment.monotonic()
            state.awake.clear()
            try:
                with reachability.time_limit():
                    found = await self._first_read(None if known is None else known.save())
                await self._begin(*found)
            except UnavailableError as error:
                reachability.failures += 1
                self._context.on_response(error)
                self._context.observer.polled(state.ref, now, error=error)
                reachability.lost()
                reachability.answer_all(error if known is None else None)
                await wait_for_event(state.awake, self._environment.backoff(reachability.failures))
            except MPS3Error as error:
                self._context.on_response(error)
                raise
            else:
                self._notify_all()

    def _notify_all(self) -> None:
        self._listeners.notify(list(self._listeners.names))

    async def _first_read(self, saved: JournalSnapshot | None) -> tuple[Journal, float]:
        """Find the journal and resolve, starting from a snapshot if there is one; and when that began."""
        journal = await self._open_journal(None, early=saved is None)
        started = self._environment.monotonic()
        if saved is not None and journal.kind == saved.kind:
            with contextlib.suppress(CorruptionError):  # the cache is damaged: read everything
                await journal.restore(saved)
        await journal.resolve()
        return journal, started

    async def _begin(self, journal: Journal, started: float) -> None:
        self._state.journal, self._state.verified = journal, True
        self._reachability.resolved(started)
        self._poller.plan()
        await self._publisher.publish(journal)

    async def _recall(self) -> JournalSnapshot | None:
        """Return the snapshot in the cache."""
        if self._context.cache is None:
            return None
        ref = self._state.ref
        body = await self._context.cache.state(ref)
        try:
            return None if body is None else JournalSnapshot.decode(body, ref.bucket or "", ref.key)
        except ValueError as error:
            _log.warning("the cached state of %s cannot be used: %s", ref, error)
            return None

    async def _restore(self, saved: JournalSnapshot) -> bool:
        """Show a snapshot until the store can be reached."""
        journal = await self._open_journal(saved.kind)
        try:
            await journal.restore(saved)
        except MPS3Error as error:
            _log.warning("the cached state of %s cannot be used: %s", self._state.ref, error)
            return False
        self._context.time.observe(saved.stamp)
        self._publisher.publish_restored(journal)
        return True
