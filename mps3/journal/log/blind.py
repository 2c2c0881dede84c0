"""Acknowledging a commit before those below it were read (L12), where many write at once.

A commit that sets and deletes keys, whatever they were, counts wherever it stands. So it is enough to know that all
slots below it exist, which one listing tells. What they say is read later, from the next checkpoint where there is one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final

from ...errors import MPS3Error
from ...format.document import Document
from ...format.slot import LAST
from ...storage.pagination import page_size
from ...support.gather import gather_bounded
from ..attempt import Attempt
from ..outcome import note
from ..run_reader import MissingRunError
from .reader import CONCURRENCY, ReadSlot
from .survey import lacks
from .tail import EVERY, LogTail
from .writer import SLOW, SlotWriter

MARGIN: Final = 24
"""How many more slots are listed than are known after the first hole, besides twice what others create meanwhile."""
MAKING: Final = 8
"""How many PUTs it takes from when a checkpoint is due until it is looked for: so long does it take who makes it."""
BACK: Final = 3
"""How many checkpoints are looked for, one after the other, by who makes the next."""
AGAIN: Final = 16
"""Slots after which a checkpoint that was missing is looked for again."""
PATIENCE: Final = 2
"""How often holes are looked at again before they are filled."""
REACH: Final = 1024
"""Slots above the last known one that others may be writing to: what is further above has somebody else put there."""
TRIES: Final = 32
"""Slots that are lost one after the other, at the most, until others are read first again: listings do not help..."""
PAUSE: Final = 60.0
"""...for so many seconds."""
OLD: Final = 3.0
"""How many times the length of a PUT it takes until what was listed is old."""

_log = logging.getLogger("mps3")


class BlindWriter(SlotWriter):
    """Writes commits into slots, and reads others later where that is good enough."""

    async def _write_blindly(self, attempt: Attempt, document: Document, body: bytes) -> bool:
        """Create a free slot, and make sure that all below it exist.

        Returns:
            Whether it was possible; if not, listings do not help here, and others have to be read first.
        """
        survey, monotonic = self._survey, self._environment.monotonic
        survey.saw(self._ahead)
        survey.expect(self._crowd.others)
        if monotonic() - self._listed_at > self._long:
            await self._list_slots()
        tries = 0
        while (read := await self._try_a_free_slot(attempt, document, body)) is None:
            attempt.lost += 1
            tries += 1
            survey.lost()
            note(attempt, self.view)
            if tries >= TRIES:
                self._read_first_until = monotonic() + PAUSE
                return False
        slot = attempt.slot
        assert slot is not None  # noqa: S101 - it was given
        survey.won()
        if slot <= self._tail.number:
            self._conclude(attempt, None)
            return True
        self._ahead[slot] = read
        await self._close_holes(slot)
        if any(number % EVERY == 0 for number in (slot, *self._created)):
            # A checkpoint is due, and it is this client that makes it: one reads for all.
            for back in range(BACK):
                if await self._skip(slot - 1 - back * EVERY):
                    break
            self._conclude(attempt, await self._confirm(slot, read))
        else:
            attempt.doubtful, attempt.unanswered, attempt.ahead = False, 0, True
            self._unread.update((slot, *self._created))
        return True

    async def _try_a_free_slot(self, attempt: Attempt, document: Document, body: bytes) -> ReadSlot | None:
        """Try to create one of the first free slots, and look around meanwhile; as `_put`."""
        self._survey.know(self._tail.number)
        slot, started = self._survey.choose(self._environment.random), self._environment.monotonic()
        if slot > LAST:
            raise self._full()
        self._lookahead.begin([slot])
        beside = asyncio.get_running_loop().create_task(self._look(), name="mps3 listing")
        try:
            read = await self._put(attempt, slot, document, body)
            self._put_took = self._environment.monotonic() - started
            await asyncio.wait([beside], timeout=self._patience)
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
        self._survey.saw([slot])
        return read

    @property
    def _patience(self) -> float:
        """Seconds that a listing is waited for: it only makes other requests fewer."""
        return max(SLOW, self._long)

    @property
    def _long(self) -> float:
        """Seconds after which what was listed is old; how long a PUT takes is not known before the first."""
        return OLD * self._put_took or SLOW

    async def _look(self) -> None:
        """While a slot is created: list the newest ones, and go on from a newer checkpoint if one should be there."""
        fresh = self._environment.monotonic() - self._listed_at <= self._long
        found, _ = await asyncio.gather(self._list_slots(), self._skip_to_newest())
        # Without a count, the estimate goes down: a writer that reads others counts them.
        self._crowd.saw(found if fresh and found is not None else 0, fresh=True)

    async def _list_slots(self) -> int | None:
        """List the newest slots; return how many were not known, or ``None`` where that fails: less is known then."""
        asked, survey = self._environment.monotonic(), self._survey
        known = survey.above
        try:
            async with asyncio.timeout(self._patience):
                found = await self._reader.list_slots(page_size(len(known) + MARGIN + 2 * self._crowd.others))
        except (MPS3Error, TimeoutError) as error:
            _log.debug("could not list the slots of s3://%s/%s: %s", self._bucket, self._key, error)
            return None
        if found is None or lacks(found, known):
            self._read_first_until = math.inf if found is None else asked + PAUSE
            return None
        self._listed_at = asked
        return survey.saw(number for number in found if number <= survey.floor + REACH)

    async def _close_holes(self, slot: int) -> None:
        """Make sure that all slots below one of this client exist, so that it counts (L2): fill those that do not."""
        for _ in range(PATIENCE):
            if self._survey.holes(slot):
                await self._list_slots()  # others have filled most of them meanwhile
        for result in await gather_bounded(self._fill_or_read, self._survey.holes(slot), CONCURRENCY):
            if isinstance(result, BaseException):
                raise result
        await self._require_contact()
        self._survey.know(slot)

    async def _fill_or_read(self, number: int) -> None:
        if number not in self._ahead:
            await self._fill(number)
        await self._read_or_fill(number)

    async def _skip_to_newest(self) -> None:
        """Go on from the newest checkpoint that should be there, if it is not long since it was looked for."""
        to = self._survey.floor - max(EVERY, MAKING * self._crowd.others)
        if to >= self._skip_from and not await self._skip(to):
            self._skip_from = to + AGAIN

    async def _skip(self, to: int) -> bool:
        """Go on from the checkpoint that is due up to a slot, in the place of all slots below it; return whether."""
        number = to - to % EVERY
        if number <= self._tail.number:
            return True
        fresh = LogTail(self._runs, self._window)
        try:
            async with asyncio.timeout(self._patience):
                if (found := await self._reader.checkpoint(number)) is None:
                    return False
                await fresh.begin(found, number)
        except (MPS3Error, MissingRunError, TimeoutError) as error:
            _log.debug("could not go on from a checkpoint of s3://%s/%s: %s", self._bucket, self._key, error)
            return False
        await self._tail.become(fresh)
        self._survey.know(number)
        return True
