"""Writing checkpoints (L6), and building the state upon newer ones."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from ...errors import AccessError, ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ...format.document import Document
from ...format.layers import is_partial_run
from ...format.slot import NOBODY, checkpoint_key
from ...storage.protocol import Storage
from ...support.environment import Environment
from .. import levels
from ..compactor import Compactor
from ..document_io import encode_document
from ..runs import Runs
from ..settle import settle
from .fold import COLLECTS, collection
from .reader import LogReader
from .tail import LogTail

QUIET: Final = ((5.0, 8), (30.0, 3))
"""Seconds without another commit after which a checkpoint of so many slots is written, so that opening is cheap."""
MARGIN: Final = 1.0
"""Seconds by which a pause looks longer by the store's stamps than it was for the client that waited."""
LEFT: Final = 3
"""Slots that are worth a checkpoint when a client that has made one of them is closed."""
CLOSING: Final = 2.0
"""Seconds that closing waits for it."""
FAILURES: Final = 3
"""Checkpoints in a row that could not be written, after which that is a warning: opening takes longer and longer."""
KEPT: Final = 64
"""Commits that the state holds at least above its checkpoint, so that a lost answer is recognised and watches go on."""
MOST: Final = 512
"""Commits after which the state is built upon another checkpoint: one that was written, or else one that this client
makes, and does not write."""

KEEPING_UP = 1800.0
"""Seconds after which a client that reads runs in pieces looks for a newer checkpoint: less than any retention."""

_log = logging.getLogger("mps3")


class Checkpoints:
    """Writes the checkpoints of one client in the background. Nobody waits for them.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        tail: The state.
        reader: Finds the newest checkpoint.
        runs: Stores runs.
        compactor: Keeps files and runs few.
        environment: The clock.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        tail: LogTail,
        reader: LogReader,
        runs: Runs,
        compactor: Compactor,
        environment: Environment,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._tail = tail
        self._reader = reader
        self._runs = runs
        self._compactor = compactor
        self._environment = environment
        self._task: asyncio.Task[None] | None = None
        self._quiet: asyncio.TimerHandle | None = None
        self._newest: Document | None = None
        self._committed = False
        self._written = 0
        self._failed = 0
        self._shorten_from = 0
        self._kept_up_at: float | None = None
        self._making = asyncio.Lock()

    def consider(self, created: AbstractSet[int]) -> None:
        """After a commit of this client: write a checkpoint if one is due at its slot, or later when things go quiet.

        Each slot has one writer, so each checkpoint has one.

        Args:
            created: The slots that this client has created for the commit.
        """
        self._committed = True
        if self._quiet is not None:
            self._quiet.cancel()
        if created.isdisjoint(self._tail.lately_due):
            self._wait(self._tail.number, *QUIET)
        else:
            self._write()

    def _wait(self, number: int, first: tuple[float, int], *later: tuple[float, int]) -> None:
        def is_quiet() -> None:
            if self._tail.number != number:
                return
            if self._uncovered >= some:
                self._write(quiet=True)
            elif later:
                self._wait(number, *later)
            elif number > self._written and levels.to_consolidate(self._tail.base.runs):
                self._write(quiet=True)

        seconds, some = first
        self._quiet = asyncio.get_running_loop().call_later(seconds, is_quiet)

    @property
    def _uncovered(self) -> int:
        """How many slots come after the last checkpoint that is written, being written, or to be expected of others.

        Whoever made the commit before a pause has written one, by the same rule.
        """
        tail = self._tail
        covered, before = max(self._written, tail.due, tail.base.sequence), math.inf
        number = covered
        for commit in tail.view.commits:
            pause = commit.modified - before
            if any(pause > seconds + MARGIN and number - covered >= some for seconds, some in QUIET):
                covered = number
            number, before = int(commit.version), commit.modified
        return tail.number - covered

    def _write(self, *, quiet: bool = False) -> None:
        if self._task is None:
            checkpoint = self._checkpoint(quiet=quiet)
            self._task = asyncio.get_running_loop().create_task(checkpoint, name="mps3 checkpoint")

    async def shorten(self) -> None:
        """Build the state upon a newer checkpoint where it holds many commits. Where that fails, it stays as it is."""
        tail = self._tail
        if self._newest is not None and self._newest.sequence <= tail.base.sequence:
            self._newest = None
        try:
            if self._newest is None and any(map(is_partial_run, tail.view.layers)):
                await self._keep_up()
            if self._newest is None:
                if len(tail.view.commits) >= max(MOST, self._shorten_from):
                    # Another client's, first: to make one may take runs, which readers may not be allowed to store.
                    self._newest = await self._find(MOST // 2) or await self._make()
                    self._shorten_from = 0 if self._newest is not None else len(tail.view.commits) + MOST
            elif tail.number - self._newest.sequence >= KEPT:
                document, self._newest = self._newest, None
                await tail.rebase(document)
                self._shorten_from = 0
        except MPS3Error as error:
            if self._committed and isinstance(error, AccessError | ConfigurationError):
                raise  # nor could it write a checkpoint
            self._shorten_from = len(tail.view.commits) + MOST
            _log.debug("could not build s3://%s/%s upon a newer checkpoint: %s", self._bucket, self._key, error)

    async def _keep_up(self) -> None:
        """Build upon the newest checkpoint now and then: an old one may need runs that are to be collected."""
        now = self._environment.monotonic()
        if self._kept_up_at is not None and now < self._kept_up_at + KEEPING_UP:
            return
        before, self._kept_up_at = self._kept_up_at, now
        if before is not None and (found := await self._find(1)) is not None:
            await self._tail.rebase(found)

    async def _find(self, least: int) -> Document | None:
        """Return the newest checkpoint that was written, if so many commits at least are no longer needed with it."""
        tail = self._tail
        listing = await self._reader.list_newest()
        for number in listing.checkpoints:
            if not tail.base.sequence + least <= number <= tail.number:
                continue
            if (found := await self._reader.checkpoint(number)) is not None:
                return found.document
        return None

    async def _make(self, *, announced: bool = False, quiet: bool = False) -> Document | None:
        """Return the checkpoint of the newest state; ``None`` before the first commit, and where none may be made."""
        async with self._making:
            return await self._compose(quiet=quiet) if await self._follow_collection(announced=announced) else None

    async def _follow_collection(self, *, announced: bool) -> bool:
        """After a collection, build upon the newest checkpoint: runs that only an older one names may be deleted.

        Nor does a collection know of a state that this client has built upon itself, and of what runs that has.

        Returns:
            Whether a checkpoint may be built upon the one that the state is built upon now.
        """
        tail = self._tail
        if tail.base.collected == collection(tail.view):
            return True
        listing = await self._reader.list_newest()
        for number in listing.checkpoints:
            if tail.base.sequence < number <= tail.number and (found := await self._reader.checkpoint(number)):
                await tail.rebase(found.document)
                return True
        if not tail.base.runs or tail.base.sequence in listing.stamps:
            return True
        # The one who collects keeps what its own state needs, but for what was announced before.
        return announced and sum(commit.update.get(COLLECTS) is True for commit in tail.view.commits) == 1

    async def _compose(self, *, quiet: bool) -> Document | None:
        tail = self._tail
        stamp, number, view, base = tail.stamp(), tail.number, tail.view, tail.base
        if stamp is None or view.document is None:
            return None
        into = await settle(base, view.commits, view, self._runs, self._compactor, quiet=quiet)
        files, runs = await self._runs.whole(into.files, into.runs)
        return replace(
            base,
            session=NOBODY,
            sequence=number,
            previous=stamp.version,
            update={},
            log=(stamp,),
            files=files,
            sessions=into.sessions,
            recent=into.recent,
            runs=runs,
            collected=view.document.collected,
            expired=into.expired,
        )

    async def write(self, *, announced: bool = False, quiet: bool = False) -> None:
        """Write a checkpoint of the newest state.

        Args:
            announced: Whether this client has just announced a collection, which the checkpoint has to precede.
            quiet: As in `Compactor.apply`.

        Raises:
            MPS3Error: It could not be written.
        """
        document = await self._make(announced=announced, quiet=quiet)
        if document is None:
            if announced:
                raise UnavailableError("another collection has begun meanwhile: collect again", operation="PutObject")
            return
        number = document.sequence
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
        try:
            await self._storage.put(self._bucket, checkpoint_key(self._key, number), body, if_none_match=True)
        except ConflictError:
            return  # somebody else has written it
        self._written = number
        self._newest = self._newest or document  # a newer one each time would never be old enough to build upon
        self._runs.named()

    async def _checkpoint(self, *, quiet: bool) -> None:
        try:
            await self.write(quiet=quiet)
            self._failed = 0
        except MPS3Error as error:
            # The log goes on without it, and another one is written later.
            self._failed += 1
            level = logging.WARNING if self._failed == FAILURES else logging.DEBUG
            _log.log(level, "could not write a checkpoint of s3://%s/%s: %s", self._bucket, self._key, error)
        finally:
            self._task = None

    async def aclose(self) -> None:
        """Write a last checkpoint, if there is much to read without it, and stop."""
        if self._quiet is not None:
            self._quiet.cancel()
        if self._committed and self._uncovered >= LEFT:
            self._write()
        if (task := self._task) is not None:
            try:
                await asyncio.wait([task], timeout=CLOSING)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
