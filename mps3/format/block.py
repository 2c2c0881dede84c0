"""A block: some lines of a run, which are compressed, verified, read and kept together. Pure.

A line a key, ``["key",{file}]`` or ``["key",null]`` for a deleted one, sorted by key, exactly as `line_of` writes it.
In memory a block stays as bytes: as Python objects, a million files would take a gigabyte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import orjson

from . import limits
from .file_entry import FileEntry, check_file, expires_of, is_plain
from .json_text import is_richer
from .names import Names

BLOCK = 32 * 2**10
"""Bytes of lines after which a block ends."""
LEVEL: Final = 1
"""How hard the compressor tries. More takes several times as long, and saves a few percent."""
D = TypeVar("D")
_EXPIRES: Final = b'"expires":'


class Block:
    """A block whose content was checked.

    Args:
        body: Its lines.
        expiring: When keys are to expire, in seconds since 1970, and which.
        skipped: Names in it that are none: it says nothing of them.
    """

    __slots__ = ("__weakref__", "_barred", "body", "expiring", "skipped")

    def __init__(self, body: bytes, expiring: Sequence[tuple[float, str]] = (), skipped: Sequence[str] = ()) -> None:
        self.body = body
        self.expiring = expiring
        self.skipped = skipped
        self._barred = frozenset(skipped)

    def get(self, name: str, default: D) -> FileEntry | D | None:
        """Return what it says of a key; ``None`` if it is deleted; ``default`` if it says nothing."""
        if name in self._barred:
            return default
        beginning = b"[" + orjson.dumps(name) + b","
        start = 0
        if not self.body.startswith(beginning):
            before = self.body.find(b"\n" + beginning)
            if before < 0:
                return default
            start = before + 1
        stop = self.body.find(b"\n", start)
        line: tuple[str, FileEntry | None] = orjson.loads(self.body[start : len(self.body) if stop < 0 else stop])
        return line[1]

    def lines(self) -> tuple[list[str], list[bytes]]:
        """Return its keys, in order, and their lines."""
        lines = self.body.split(b"\n")
        if b"\\" in self.body:
            names = [name for name, _ in _parse(self.body)]
        else:
            names = [line[2 : line.index(b'",', 2)].decode() for line in lines]
        if self._barred:
            kept = [place for place, name in enumerate(names) if name not in self._barred]
            return [names[place] for place in kept], [lines[place] for place in kept]
        return names, lines

    def items(self) -> Iterator[tuple[str, FileEntry | None]]:
        """Return its keys, in order, and what is said of them."""
        return ((name, file) for name, file in _parse(self.body) if name not in self._barred)


def line_of(name: str, file: FileEntry | None) -> bytes:
    """Return the line of a key."""
    return orjson.dumps((name, file), default=dict)


def expires_in(line: bytes) -> float | None:
    """Return when the key of a line is to expire, in seconds since 1970; ``None`` if it is not to.

    Most have no such member, and of those no line is parsed.
    """
    return expires_of(orjson.loads(line)[1]) if _EXPIRES in line else None


def compress(lines: bytes) -> bytes:
    """Return the lines of a block as they are stored."""
    return zlib.compress(lines, LEVEL)


def decompress(stored: bytes) -> bytes:
    """Return the lines of a block that is stored, however many a hostile one would come to.

    Raises:
        ValueError: It is damaged, or has too many bytes.
    """
    reader = zlib.decompressobj()
    try:
        lines = reader.decompress(stored, limits.BLOCK)
    except zlib.error as error:
        raise ValueError(f"it is not compressed as mps3 does: {error}") from None
    if reader.unconsumed_tail:
        raise ValueError(f"its lines have more than {limits.BLOCK} bytes")
    if not reader.eof or reader.unused_data:
        raise ValueError("it is cut, or continues behind its end")
    return lines


def open_block(lines: bytes, names: Names | None = None) -> Block:
    """Return a block of lines that this client has written itself, or checked, ready to be looked up.

    Args:
        lines: They.
        names: Which names it may have for keys; ``None``: all.
    """
    skipped = () if names is None else tuple(_invalid_names(lines, names))
    expiring = tuple((moment, name) for moment, name in expiring_in(lines) if name not in skipped)
    return Block(lines, expiring, skipped)


def check_block(lines: bytes) -> list[str]:
    """Return the keys of a block.

    Raises:
        ValueError: It is not one. The error says what is wrong.
    """
    if is_richer(lines, limits.PARTS):
        raise ValueError(f"it has more than {limits.PARTS} arrays, objects and commas")
    # Parsed together, which is much faster; written again, it must be what it was.
    pairs = _parse(lines)
    names: list[str] = []
    last = ""
    for number, pair in enumerate(pairs):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
            raise ValueError(f"line {number} is not a key and its file")
        if pair[1] is not None and not is_plain(pair[1]):
            check_file(pair[1], f"line {number}")
        if pair[0] <= last:
            raise ValueError(f"line {number} is not in order")
        last = pair[0]
        names.append(last)
    if b"\n".join(map(orjson.dumps, pairs)) != lines:
        raise ValueError("its lines are not written as mps3 writes them")
    return names


def _parse(lines: bytes) -> list[tuple[str, FileEntry | None]]:
    found: list[tuple[str, FileEntry | None]] = orjson.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    return found


def expiring_in(lines: bytes) -> Iterator[tuple[float, str]]:
    """Return the keys that are to expire, and when. Most blocks have none, and of those no line is parsed."""
    position = 0
    while (position := lines.find(_EXPIRES, position)) >= 0:
        first = lines.rfind(b"\n", 0, position) + 1
        end = lines.find(b"\n", position)
        position = len(lines) if end < 0 else end
        name, file = orjson.loads(lines[first:position])
        if (moment := expires_of(file)) is not None:
            yield moment, name


def _invalid_names(lines: bytes, names: Names) -> dict[str, None]:
    """The names that are none. Only those are read that may be: nearly all have other prefixes, and are short."""
    found: dict[str, None] = {}
    suspects = [b'["' + orjson.dumps(prefix)[1:-1] for prefix in names.prefixes_to_check()]
    if any(lines.startswith(one) or b"\n" + one in lines for one in suspects) or b"\n" not in lines:
        candidates = lines.split(b"\n")
    else:
        candidates = [line for line in lines.split(b"\n") if len(line) > limits.KEY]
    for line in candidates:
        name = orjson.loads(line)[0]
        if name not in names:
            found[name] = None
    return found
