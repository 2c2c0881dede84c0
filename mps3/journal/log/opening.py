"""Opening a log: one listing, then the newest checkpoint and the slots after it at once (L7)."""

from __future__ import annotations

import asyncio
from typing import Final

from ...errors import CorruptionError, UnavailableError
from ..run_reader import MissingRunError
from .reader import Listing, LogReader
from .tail import LogTail

TRIES: Final = 5
"""Listings, at the most, of a log that is collected at the same time."""
HOLES: Final = 256
"""Slots that are absent before the first that is there, at the most, while many clients write at once."""
AT_ONCE: Final = 256
"""Slots that are held at once before they are taken in."""


async def open_log(reader: LogReader, tail: LogTail) -> None:
    """Read the newest state into an empty tail.

    Raises:
        CorruptionError: The beginning of the log is missing.
        UnavailableError: Objects that were listed were gone when they were read, several times.
        MissingRunError: A run is missing that the only checkpoint names.
    """
    missing: MissingRunError | None = None
    for _ in range(TRIES):
        # After the newest checkpoint was found to be damaged by a collection, the one before it is needed.
        listing = await (reader.list_newest() if missing is None else reader.list_all())
        try:
            if await _read(reader, tail, listing):
                return
        except MissingRunError as error:
            missing = error
    if missing is not None:
        raise missing
    raise UnavailableError("the log was collected again and again while it was read", operation="GetObject")


async def _read(reader: LogReader, tail: LogTail, listing: Listing) -> bool:
    """Read what was listed. Return whether everything was there."""
    failure: MissingRunError | None = None
    for checkpoint in (*listing.checkpoints, None):
        number = checkpoint or 0
        numbers = _dense(listing.slots, number)
        first = numbers[:AT_ONCE]
        if checkpoint is None:
            found, slots = None, await reader.slots(first)
        else:
            found, slots = await asyncio.gather(reader.checkpoint(checkpoint), reader.slots(first))
            if found is None:
                return False
        try:
            await tail.begin(found, number)
        except MissingRunError as error:
            # It came so late that what it names was collected: the one before it and the slots are still there.
            failure = error
            continue
        if checkpoint is None and failure is not None and not numbers:
            break
        if checkpoint is None and not numbers and min(listing.slots, default=0) > HOLES:
            raise CorruptionError(
                f"the log of the manifest begins with slot {min(listing.slots)}, and there is no checkpoint: somebody "
                "has deleted a part of it. Restore that, or use another manifest",
                operation="ListObjectsV2",
            )
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            if start:
                slots = await reader.slots(part)
            for one in part:
                read = slots.get(one)
                if read is None:
                    return False
                await tail.extend(one, read)
        return True
    if failure is not None:
        raise failure
    return True


def _dense(slots: frozenset[int], after: int) -> list[int]:
    """Return the slots that follow a number without a hole."""
    found = []
    while after + 1 in slots:
        after += 1
        found.append(after)
    return found
