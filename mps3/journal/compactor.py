"""Keeping documents small while commits go on: spilling settled files, merging runs, beside the commits."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from ..errors import MPS3Error
from ..format import limits
from ..format.expiry import expired_for_all
from ..format.file_entry import Files
from ..format.state import View
from ..support.environment import Environment
from . import levels
from .levels import Merge, Spill, Stack
from .runs import Runs, StoredRun

RESULTS: Final = 4
"""Results that wait for a commit to name them, at the most."""

_Result: TypeAlias = tuple[Spill | Merge, StoredRun]
_Due: TypeAlias = Callable[[Stack], Stack]

_log = logging.getLogger("mps3")


class Compactor:
    """Stores spilled and merged runs in the background; the next commit names them.

    Only one thing is done at a time. A result that does not fit the manifest any more, because another client was
    faster, is dropped: the objects that it left are garbage, and harm nobody.

    Args:
        runs: Where runs are stored.
        environment: Time, chance and names.
        whole: Whether documents are written seldom and hold more, so that only merging is done between them.
    """

    def __init__(self, runs: Runs, environment: Environment, *, whole: bool = False) -> None:
        self._runs = runs
        self._environment = environment
        self._whole = whole
        self._task: asyncio.Task[None] | None = None
        self._results: list[_Result] = []

    def consider(self, view: View) -> None:
        """After a commit: start what is due, unless something is being done already.

        Of several busy writers, one on average begins.
        """
        writers = len({commit.session for commit in view.commits}) or 1
        self._start(view, levels.due, 1 / writers)

    def consolidate(self, view: View) -> bool:
        """When nobody commits: start what leaves few runs, unless something is being done; return whether it did."""
        return self._start(view, levels.to_consolidate)

    def _start(self, view: View, due: _Due, chance: float = 1.0) -> bool:
        document = view.document
        if document is None or self.is_busy or len(self._results) >= RESULTS:
            return False
        files, runs = self._applied(document.files, document.runs)
        spills = not self._whole and levels.size_of(files) > levels.SPILL
        sources = () if spills else due(runs)
        if not (spills or sources) or self._environment.random.random() >= chance:
            return False
        if spills:
            do = partial(self._spill, files, runs)
        else:
            do = partial(self._merge, sources, expired_for_all(document), runs)
        self._task = asyncio.get_running_loop().create_task(self._background(do))
        return True

    @property
    def is_busy(self) -> bool:
        """Whether something is being done in the background."""
        return self._task is not None

    @property
    def has_results(self) -> bool:
        """Whether something waits for a commit to name it."""
        return bool(self._results)

    async def apply(
        self, files: Files, runs: Stack, expired: float = -math.inf, *, quiet: bool = False
    ) -> tuple[Files, Stack, float | None]:
        """Before a commit: the same settled state, with all that was stored meanwhile in its place.

        Where the background work cannot keep up, or never gets its turn since clients come and go, it is done now.

        Args:
            files: The settled files.
            runs: What they lie over.
            expired: What expired until then is absent for everyone, in seconds since 1970.
            quiet: Whether nobody commits, so that there is time to have few runs.

        Returns:
            The files, the runs, and up to when what expired may have been left out of those.
        """
        await self._renew(files, runs)
        files, runs = self._applied(files, runs)
        if self._has_overflown(files, runs):
            files, runs = self._add(await self._spill(files, runs), files, runs)
        sources = levels.to_consolidate(runs) if quiet else levels.due(runs, levels.OVERDUE * levels.FANOUT)
        if sources:
            files, runs = self._add(await self._merge(sources, expired, runs), files, runs)
        left_out = (result.expired for result, _ in self._results if isinstance(result, Merge))
        return files, runs, max((moment for moment in left_out if moment is not None), default=None)

    async def aclose(self) -> None:
        """Stop. What was stored and not named is garbage."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew(self, files: Files, runs: Stack) -> None:
        """Store again what was stored long ago and still fits: who seldom commits would never get to name it."""
        self._applied(files, runs)
        for result in [result for result in self._results if not self._runs.is_fresh(result[1])]:
            again: StoredRun | None = None
            try:
                again = await self._runs.renew(result[1])
            except MPS3Error as error:
                _log.debug("could not store a run again: %s", error)
            if result not in self._results:
                continue  # a commit has dropped it meanwhile
            place = self._results.index(result)
            renewed = [] if again is None else [(replace(result[0], runs=again.references), again)]
            self._results[place : place + 1] = renewed

    def _add(self, result: _Result, files: Files, runs: Stack) -> tuple[Files, Stack]:
        """Keep one more result, and apply it to what it was made of; the others have been."""
        self._results.append(result)
        applied = result[0].apply(files, runs)
        assert applied is not None  # noqa: S101 - it was made of just these
        return applied

    def _applied(self, files: Files, runs: Stack) -> tuple[Files, Stack]:
        for result in list(self._results):
            applied = result[0].apply(files, runs)
            if applied is None:
                self._results.remove(result)
            else:
                files, runs = applied
        return files, runs

    def _has_overflown(self, files: Files, runs: Stack) -> bool:
        if self._whole:
            most = levels.CHECKPOINT_OVER_RUNS if runs else levels.CHECKPOINT
        else:
            most = levels.OVERDUE * levels.SPILL
        return levels.size_of(files) > most or len(files) > limits.FILES // 2

    async def _background(self, do: Callable[[], Awaitable[_Result]]) -> None:
        try:
            self._results.append(await do())
        except MPS3Error as error:
            # The next commit that must not wait any longer does it itself, and says what is wrong.
            _log.debug("could not store a run: %s", error)
        finally:
            self._task = None

    async def _spill(self, files: Files, runs: Stack) -> _Result:
        saved = await self._runs.save(files)
        return Spill(files, runs, saved.references), saved

    async def _merge(self, sources: Stack, expired: float, among: Stack) -> _Result:
        oldest = among[0] is sources[0]
        held = await self._runs.load(sources)
        runs = [held[source.sha256] for source in sources]
        ends = (source.expires for source in sources)
        over = expired if any(moment is not None and moment <= expired for moment in ends) else None
        saved = await self._runs.merge(runs, oldest=oldest, expired=over)
        return Merge(sources, oldest, saved.references, over), saved
