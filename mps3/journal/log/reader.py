"""Reading slots and checkpoints, and listing them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from ...errors import CorruptionError, UnavailableError
from ...format.document import LIMIT, Document
from ...format.names import LOG_SUFFIX
from ...format.schema import whole_milliseconds
from ...format.slot import LAST, NOBODY, SlotName, checkpoint_key, slot_key
from ...storage.pagination import PageProgress
from ...storage.protocol import Absence, Object, Page, Storage
from ...storage.verification import read_verified
from ...support.gather import map_concurrently
from ..document_io import read_document
from ..runs import Runs

CONCURRENCY: Final = 32
"""Slots that are read at once."""
NEWEST: Final = 160
"""Objects that the first page of a listing has: more than there usually are since the newest checkpoint."""
AGAIN: Final = 2
"""How often a page of a listing is asked for again."""
SMALL: Final = 2**20
"""Bytes of a slot or a checkpoint that is read at once with others. Larger ones are read one after another: a writer
stores a change of more than 64 KiB as a run, but somebody else could make every slot as large as a manifest may be."""


class _LargeError(Exception):
    """An object has more than `SMALL` bytes."""


@dataclass(frozen=True, slots=True)
class ReadSlot:
    """A slot as it was read.

    Attributes:
        document: What it holds.
        modified: The store's time stamp as `stamp_of` returns it.
        size: In bytes.
    """

    document: Document
    modified: float
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The newest part of a log, as it was listed.

    Attributes:
        checkpoints: The numbers of its checkpoints, the newest first.
        slots: The numbers of its slots.
        stamps: When each checkpoint was written, in seconds since 1970.
    """

    checkpoints: tuple[int, ...]
    slots: frozenset[int]
    stamps: dict[int, float]


class LogReader:
    """Reads the log of one manifest.

    Args:
        storage: Where it is kept.
        bucket: Its bucket.
        key: The key of the manifest.
        runs: Its runs.
    """

    def __init__(self, storage: Storage, bucket: str, key: str, runs: Runs) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._runs = runs
        self._large = asyncio.Lock()

    async def slot(self, number: int) -> ReadSlot | None:
        """Read a slot; ``None`` if it does not exist.

        Raises:
            CorruptionError: It is not a slot.
        """
        if number > LAST:
            return None
        return await self._read(slot_key(self._key, number))

    async def slots(self, numbers: Iterable[int]) -> dict[int, ReadSlot]:
        """Read several slots at once. Those that do not exist are not in the result.

        The bytes that are in memory at once are at most `CONCURRENCY` times `SMALL`, and those of one larger slot.

        Raises:
            MPS3Error: One could not be read.
        """
        wanted = list(numbers)
        found = await map_concurrently(self.slot, wanted, CONCURRENCY)
        return {number: slot for number, slot in zip(wanted, found, strict=True) if slot is not None}

    async def checkpoint(self, number: int) -> ReadSlot | None:
        """Read a checkpoint; ``None`` if it does not exist.

        Raises:
            CorruptionError: It is not the checkpoint of this slot.
        """
        key = checkpoint_key(self._key, number)
        found = await self._read(key)
        if found is None:
            return None
        document = found.document
        if document.session != NOBODY or document.sequence != number or not _is_slot(document, number):
            raise CorruptionError(
                f"s3://{self._bucket}/{key} is not the checkpoint of slot {number}",
                bucket=self._bucket,
                key=key,
                operation="GetObject",
            )
        return found

    async def _read(self, key: str) -> ReadSlot | None:
        try:
            return await self._read_up_to(SMALL, key)
        except _LargeError:
            async with self._large:
                return await self._read_up_to(LIMIT, key)

    async def _read_up_to(self, limit: int, key: str) -> ReadSlot | None:
        async def ask() -> Object | Absence:
            try:
                return await self._storage.get(self._bucket, key, limit=limit)
            except CorruptionError as error:
                if limit == LIMIT:
                    raise
                raise _LargeError from error

        async def check(found: Object | Absence) -> ReadSlot | None:
            if not isinstance(found, Object):
                return None
            document = await read_document(
                "log", self._runs, found.body, bucket=self._bucket, key=self._key, version=key, known={}
            )
            return ReadSlot(document, stamp_of(found.modified), len(found.body))

        return await read_verified(ask, check, self._runs.etags)

    async def list_newest(self) -> Listing:
        """List the slots since the newest checkpoint.

        A store that lists in order shows the newest first, so one page is enough. Of any other, all pages are read.
        """
        return await self._list(whole=False)

    async def list_all(self) -> Listing:
        """List all slots and checkpoints."""
        return await self._list(whole=True)

    async def list_slots(self, count: int) -> list[int] | None:
        """Return the numbers of the newest slots, as far as a page has them; ``None`` if the store lists in no order.

        Args:
            count: Objects that the page has.
        """
        async for page, ordered in self._pages(count):
            return [name.number for name, _ in page if not name.is_checkpoint] if ordered else None
        return []

    async def _list(self, *, whole: bool) -> Listing:
        slots: set[int] = set()
        stamps: dict[int, float] = {}
        async for page, ordered in self._pages(None if whole else NEWEST):
            slots.update(name.number for name, _ in page if not name.is_checkpoint)
            stamps.update((name.number, modified) for name, modified in page if name.is_checkpoint)
            if stamps and ordered and not whole:
                break
        return Listing(tuple(sorted(stamps, reverse=True)), frozenset(slots), stamps)

    async def _pages(self, first: int | None) -> AsyncIterator[tuple[list[tuple[SlotName, float]], bool]]:
        """List page by page, and whether everything was in order so far; ``first`` limits the first page."""
        prefix, start, last, ordered = self._key + LOG_SUFFIX, None, "", True
        pages = PageProgress(self._bucket, prefix, "ListObjectsV2")
        while True:
            page = await self._page(prefix, start, first if start is None else None)
            for entry in page.entries:
                ordered, last = ordered and entry.key > last, entry.key
            names = ((SlotName.parse(self._key, entry.key), stamp_of(entry.modified)) for entry in page.entries)
            yield [(name, modified) for name, modified in names if name is not None], ordered
            start = pages.forward(page.next)
            if start is None:
                return

    async def _page(self, prefix: str, start: str | None, limit: int | None) -> Page:
        """List one page. One that follows others is asked for again, so that long listings come to an end."""
        for _ in range(0 if start is None else AGAIN):
            with contextlib.suppress(UnavailableError):
                return await self._storage.list(self._bucket, prefix, start=start, limit=limit)
        return await self._storage.list(self._bucket, prefix, start=start, limit=limit)


def stamp_of(modified: float | None) -> float:
    """Return a time stamp in seconds since 1970 as documents keep it, in whole milliseconds; zero if there is none.

    So a stamp is the same wherever it comes from, and a revision is found by the time that it is said to have.
    """
    return 0.0 if modified is None else whole_milliseconds(modified) / 1000


def _is_slot(document: Document, most: int) -> bool:
    """Return whether a checkpoint says which slot its last commit has."""
    version = document.log[-1].version if len(document.log) == 1 else ""
    return version.isascii() and version.isdigit() and len(version) <= len(str(LAST)) and 0 < int(version) <= most
