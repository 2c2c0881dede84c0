"""A run: an immutable sorted segment of settled files, as bytes, in memory as it is in the store. Pure.

A line a key, ``["key",{file}]`` or ``["key",null]`` for a deleted one, sorted by key, exactly as `encode_run`
writes it. It stays as bytes: as Python objects, a million files would take a gigabyte.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import Final, TypeVar

import orjson

from . import limits
from .file_entry import FileEntry, check_file, expires_of, is_plain
from .names import Names
from .run_reference import RunReference

BLOCK: Final = 2 * 2**10
"""Bytes between two lines whose keys are held apart, for finding others."""
PAUSE: Final = 16
"""Blocks to check without a pause."""
BATCH: Final = 16 * PAUSE
"""Blocks to pass over, or lines to write, without a pause."""
D = TypeVar("D")


class Run:
    """A run whose content was checked.

    Args:
        sha256: Of its content.
        body: Its bytes.
        marks: The first key of each block.
        offsets: Where the blocks begin, and where the last one ends.
        expiring: When keys are to expire, in seconds since 1970, and which.
        skipped: Names in it that are none: it says nothing of them.
    """

    __slots__ = ("__weakref__", "_barred", "_marks", "_offsets", "body", "expiring", "sha256", "skipped")

    def __init__(
        self,
        sha256: str,
        body: bytes,
        marks: list[str],
        offsets: array[int],
        expiring: Sequence[tuple[float, str]] = (),
        skipped: Sequence[str] = (),
    ) -> None:
        self.skipped = skipped
        self._barred = frozenset(skipped)
        self.expiring = expiring
        self.sha256 = sha256
        self.body = body
        self._marks = marks
        self._offsets = offsets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def get(self, name: str, default: D) -> FileEntry | D | None:
        """What it says of a key; ``None`` if it is deleted; ``default`` if it says nothing."""
        block = bisect_right(self._marks, name) - 1
        if block < 0 or name in self._barred:
            return default
        start, end = self._offsets[block], self._offsets[block + 1]
        beginning = b"[" + orjson.dumps(name) + b","
        if not self.body.startswith(beginning, start):
            before = self.body.find(b"\n" + beginning, start, end)
            if before < 0:
                return default
            start = before + 1
        stop = self.body.find(b"\n", start, end)
        line: tuple[str, FileEntry | None] = orjson.loads(self.body[start : end if stop < 0 else stop])
        return line[1]

    def lines(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """The keys that begin with ``prefix``, in order, and their lines."""
        first = max(0, bisect_right(self._marks, prefix) - 1)
        for block in range(first, len(self._marks)):
            if self._marks[block] > prefix and not self._marks[block].startswith(prefix):
                return
            body = self.body[self._offsets[block] : self._offsets[block + 1]].rstrip(b"\n")
            names = [name for name, _ in orjson.loads(b"[" + body.replace(b"\n", b",") + b"]")]
            for name, line in zip(names, body.split(b"\n"), strict=True):
                if name.startswith(prefix):
                    if name not in self._barred:
                        yield name, line
                elif name > prefix:
                    return

    def long_names(self, pause: Callable[[], object] = lambda: None) -> Iterator[str]:
        """The keys that may have more bytes than any, in order."""
        start = 0
        for number, end in enumerate(self._offsets):
            if number % BATCH == 0:
                pause()
            if end - start > limits.KEY:  # blocks end with the line that is under way after their size
                for line in self.body[start:end].split(b"\n"):
                    if len(line) > limits.KEY:
                        yield orjson.loads(line)[0]
            start = end

    def items(self, prefix: str = "") -> Iterator[tuple[str, FileEntry | None]]:
        """The keys that begin with ``prefix``, in order, and what is said of them."""
        for _, line in self.lines(prefix):
            name, file = orjson.loads(line)
            yield name, file


def encode_runs(
    files: Mapping[str, FileEntry | None], most: int, pause: Callable[[], object] = lambda: None
) -> Iterator[tuple[RunReference, bytes]]:
    """Runs that hold ``files``, each of some ``most`` bytes at the most; ``pause`` is called now and then."""

    def lines() -> Iterator[bytes]:
        for number, name in enumerate(sorted(files)):
            if number % BATCH == 0:
                pause()
            yield orjson.dumps((name, files[name]), default=dict)

    return _parts(lines(), most)


def merge_runs(
    runs: Sequence[Run],
    most: int,
    *,
    oldest: bool,
    expired: float | None = None,
    pause: Callable[[], object] = lambda: None,
) -> Iterator[tuple[RunReference, bytes]]:
    """What several runs say together.

    Args:
        runs: One over the other, the newest last.
        most: Bytes of each part of the result at the most.
        oldest: Whether nothing lies under them, so that deleted keys need not be mentioned.
        expired: Keys that expired until then are deleted, in seconds since 1970; ``None``: none are.
        pause: Called now and then, to let others work; what it raises ends the merge.
    """

    def aged(age: int, run: Run) -> Iterator[tuple[str, int, bytes]]:
        for name, line in run.lines():
            yield name, age, line

    def newest() -> Iterator[bytes]:
        last: str | None = None
        merged = heapq.merge(*(aged(-age, run) for age, run in enumerate(runs)))
        while batch := list(islice(merged, BATCH)):
            pause()
            for name, _, said in batch:
                line = said if expired is None or not _over(said, expired) else orjson.dumps((name, None))
                if name != last and not (oldest and line.endswith(b",null]")):
                    yield line
                last = name

    return _parts(newest(), most)


def _parts(lines: Iterable[bytes], most: int) -> Iterator[tuple[RunReference, bytes]]:
    part, batch, size = _PartWriter(continues=False), list[bytes](), 0
    for line in lines:
        if size and size + len(line) > most:
            yield part.end(batch)
            part, batch, size = _PartWriter(continues=True), [], 0
        batch.append(line)
        size += len(line) + 1
        if len(batch) == BATCH:
            part.add(batch)
            batch = []
    if size:
        yield part.end(batch)


class _PartWriter:
    """A run that is put together piece by piece: nobody else can work while many lines are joined at once."""

    def __init__(self, *, continues: bool) -> None:
        self._continues = continues
        self._body = BytesIO()
        self._sha256 = hashlib.sha256()
        self._entries = 0

    def add(self, lines: Sequence[bytes]) -> None:
        piece = b"\n".join(lines if not self._entries else (b"", *lines))
        self._body.write(piece)
        self._sha256.update(piece)
        self._entries += len(lines)

    def end(self, lines: Sequence[bytes]) -> tuple[RunReference, bytes]:
        self.add(lines)
        body = self._body.getvalue()
        return RunReference("", self._sha256.hexdigest(), self._entries, len(body), self._continues), body


def index_run(sha256: str, body: bytes, names: Names | None = None, pause: Callable[[], object] = lambda: None) -> Run:
    """Make a run of bytes that this client has written itself, or checked, ready to be looked up.

    Args:
        sha256: Of its content.
        body: Its content.
        names: Which names it may have for keys; ``None``: all.
        pause: Called now and then, to let others work.
    """
    marks: list[str] = []
    offsets = array("Q")
    expiring: list[tuple[float, str]] = []
    for number, (position, end) in enumerate(_blocks(body)):
        if number % BATCH == 0:
            pause()
        marks.append(_name_at(body, position))
        offsets.append(position)
        expiring += _expiring(body, position, end)
    offsets.append(len(body))
    run = Run(sha256, body, marks, offsets, expiring)
    if names is None or not (skipped := _invalid_names(run, names, pause)):
        return run
    expiring = [(moment, name) for moment, name in expiring if name not in skipped]
    return Run(sha256, body, marks, offsets, expiring, tuple(skipped))


def _invalid_names(run: Run, names: Names, pause: Callable[[], object]) -> dict[str, None]:
    """Return the invalid names in a run. Only those are read that may be invalid: nearly all have other prefixes."""
    invalid: dict[str, None] = {}
    for prefix in names.prefixes_to_check():
        for number, (name, _) in enumerate(run.lines(prefix)):
            if number % BATCH == 0:
                pause()
            if name not in names:
                invalid[name] = None
    invalid.update(dict.fromkeys(name for name in run.long_names(pause) if name not in names))
    return invalid


_EXPIRES: Final = b'"expires":'


def _expiring(body: bytes, start: int, stop: int) -> Iterator[tuple[float, str]]:
    """The keys of a block that are to expire, and when. Most have none, and of those no line is read."""
    position = start
    while (position := body.find(_EXPIRES, position, stop)) >= 0:
        first = body.rfind(b"\n", start, position) + 1 or start
        end = body.find(b"\n", position, stop)
        position = stop if end < 0 else end
        name, file = orjson.loads(body[first:position])
        if (moment := expires_of(file)) is not None:
            yield moment, name


def _over(line: bytes, expired: float) -> bool:
    """Whether a line speaks of a key that has expired at this moment."""
    moment = expires_of(orjson.loads(line)[1]) if _EXPIRES in line else None
    return moment is not None and moment <= expired


def _name_at(body: bytes, position: int) -> str:
    """The key of the line that begins there."""
    end = body.find(b'",', position + 2)
    name = body[position + 2 : end]
    if b"\\" not in name:
        return name.decode()
    stop = body.find(b"\n", position)
    found: str = orjson.loads(body[position : len(body) if stop < 0 else stop])[0]
    return found


def check_run(body: bytes, entries: int, pause: Callable[[], object] = lambda: None) -> None:
    """Check every line of a run.

    Args:
        body: Its content.
        entries: How many lines it should have.
        pause: Called now and then, to let others work.

    Raises:
        ValueError: It is not one. The error says what is wrong.
    """
    last, lines = "", 0
    for number, (position, end) in enumerate(_blocks(body)):
        if number % PAUSE == 0:
            pause()
        names = _check_block(body[position:end], lines)
        for line, name in enumerate(names, lines):
            if name <= last:
                raise ValueError(f"line {line} is not in order")
            last = name
        lines += len(names)
    if lines != entries:
        raise ValueError(f"it has {lines} lines, not {entries}")


def _blocks(body: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(body):
        end = body.find(b"\n", position + BLOCK)
        end = len(body) if end < 0 else end
        yield position, end
        position = end + 1


def _check_block(block: bytes, first: int) -> list[str]:
    # Parsed together, which is much faster; written again, it must be what it was.
    pairs = orjson.loads(b"[" + block.replace(b"\n", b",") + b"]")
    names = []
    for number, pair in enumerate(pairs, first):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
            raise ValueError(f"line {number} is not a key and its file")
        if pair[1] is not None and not is_plain(pair[1]):
            check_file(pair[1], f"line {number}")
        names.append(pair[0])
    if b"\n".join(map(orjson.dumps, pairs)) != block:
        raise ValueError(f"lines {first} to {first + len(pairs)} are not written as mps3 writes them")
    return names
