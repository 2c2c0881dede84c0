"""Publishing: a new state is kept in the cache, and then shown to the listeners."""

from __future__ import annotations

import asyncio

from ..format.layers import is_partial_run
from ..format.run import Run
from ..format.state import EMPTY, added_commits, changed_names
from ..journal.protocol import Journal
from .context import ManifestContext
from .expiry import ExpiryTimer
from .listeners import Listeners
from .pipeline import CommitPipeline
from .state import ManifestState


class Publisher:
    """Shows the states of one manifest to its listeners."""

    def __init__(
        self,
        state: ManifestState,
        pipeline: CommitPipeline,
        listeners: Listeners,
        expiry: ExpiryTimer,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._pipeline = pipeline
        self._listeners = listeners
        self._expiry = expiry
        self._cache = context.cache
        self._observer = context.observer
        self._time = context.time

    async def publish(self, journal: Journal) -> None:
        """Publish what the journal has resolved.

        With a cache, the state is first saved, so that no later client shows an older one (R13).
        """
        state, view = self._state, journal.view
        if view is state.shown:
            return
        if self._cache is not None:
            saved, bucket = journal.save(), state.ref.bucket or ""
            # Of a run that is read in pieces, those are dropped first that were not used for the longest time.
            held = {run.sha256 for run in view.layers if isinstance(run, Run) and not is_partial_run(run)}
            runs = [(bucket, run.key) for run in saved.runs if run.sha256 in held]
            await self._cache.keep_state(state.ref, saved.encode(bucket, state.ref.key), saved.stamp, runs)
        before, state.shown = state.shown or EMPTY, view
        added = added_commits(before, view)
        self._observer.merged(
            state.ref,
            (
                (commit.session, commit.id, commit.modified)
                for commit in (view.commits if added is None else added)
                if commit.session != journal.session and not before.has(commit.session, commit.sequence)
            ),
            self._time.now,
        )
        self._pipeline.update_overlay()
        self._expiry.expire()
        self._listeners.offer(view)
        # A few at a time: waking ten thousand at once would block the event loop.
        for step, names in enumerate(changed_names(before, view, self._listeners.names)):
            if step:
                await asyncio.sleep(0)
            self._listeners.notify(names)

    def publish_restored(self, journal: Journal) -> None:
        """Publish a state that was read from the cache."""
        self._state.journal, self._state.shown = journal, journal.view
        self._pipeline.update_overlay()
        self._expiry.expire()
        self._listeners.offer(journal.view)
