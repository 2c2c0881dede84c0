"""Random runs by the hundred thousand, for ``nox -s fuzz``: nothing but the errors that are promised, and no more memory.

python tests/fuzz_runs.py --documents 1000000 --seed 0
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import orjson
from fuzzing import fuzz

from mps3.format import block, limits
from mps3.format.block import line_of
from mps3.format.file_entry import FileEntry, check_file
from mps3.format.names import Names
from mps3.format.run import HeldPieces, NotAtHandError, Run, open_run, read_block, read_index
from mps3.format.run_index import MARK, RunIndex, mark_of
from mps3.format.run_merge import merged_lines
from mps3.format.run_reference import RunReference, encode_reference, read_references
from mps3.format.run_writer import RunWriter, WrittenPart, encode_runs
from mps3.types import Ref

KEYS = [
    "a",
    "b",
    "b/",
    "b/1",
    "b/2",
    "é",
    "\x00",
    "\n",
    '"',
    "\\",
    ",",
    ",a",
    "\U0010ffff",
    "\ud7ff",
    "s3://x",
    "m.runs/x",
    "z" * 1025,
]
TEXTS = [
    "",
    "a",
    "é",
    '"expires":',
    '",',
    "x" * 300,
    "0" * 64,
    "2026-01-31T12:00:00.000Z",
    "[" * 70,
    "1500-01-01T00:00:00Z",
]
NUMBERS: list[Any] = [0, 1, -1, 2**53, 2**63, 2**70, 1.5, -0.0, 1e308, True]
TIMES = [
    "1970-01-01T00:00:01.000Z",
    "2026-01-31T12:00:00.000Z",
    "2026-01-31T13:00:00+01:00",
    "9999-12-31T23:59:59.999Z",
]
NAMES = Names(Ref("m", "b"))
BOUND = 64 * 2**20
"""Bytes that reading one object of a run takes, whatever it holds."""
HOSTILE = 5000
"""Of so many documents, one is made to take memory."""
MOST = 30
"""Keys of a run."""


@dataclass
class Parts:
    """A run as whoever writes it may change it, before the digests are made.

    Attributes:
        blocks: The lines of each block.
        compressed: What is stored in the place of a block.
        lines: What the index says of each block, before its size and its digest.
        marks: Of each key.
        reference: How it is named; its sizes and its digest are made last.
        rest: What is behind the index.
    """

    blocks: list[bytes]
    compressed: dict[int, bytes]
    lines: list[list[Any]]
    marks: bytes
    reference: dict[str, Any]
    rest: bytes = b""


def anything(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.random()
    if kind < 0.4 or depth > 3:
        return dice.choice(TEXTS)
    if kind < 0.6:
        return dice.choice(NUMBERS)
    if kind < 0.7:
        return None
    if kind < 0.85:
        return [anything(dice, depth + 1) for _ in range(dice.randrange(3))]
    return {dice.choice(TEXTS): anything(dice, depth + 1) for _ in range(dice.randrange(3))}


def file(dice: random.Random) -> Any:
    """A file, nearly always one that is allowed."""
    if dice.random() < 0.15:
        return None
    said: dict[str, Any] = {"version": dice.choice(["v1", "v2"])}
    if dice.random() < 0.5:
        said |= {"value": anything(dice, 2), "size": 1}
    else:
        said |= {"sha256": "0" * 64, "size": dice.randrange(99)}
    if dice.random() < 0.3:
        said["expires"] = dice.choice(TIMES)
    if dice.random() < 0.05:
        said["unknown"] = anything(dice)
    return said


def some_files(dice: random.Random) -> dict[str, Any]:
    most = dice.choice([1, 2, 5, MOST])
    keys = [dice.choice(KEYS) + (str(dice.randrange(99)) if dice.random() < 0.7 else "") for _ in range(most)]
    # Of numbers that are too large, a reader makes others.
    return {key: orjson.loads(json.dumps(file(dice))) for key in keys}


def written(dice: random.Random, files: Mapping[str, Any]) -> list[WrittenPart]:
    """The objects of a run, with blocks of any size."""
    block.BLOCK = dice.choice([1, 100, 300, 2**15])
    return list(encode_runs(files, dice.choice([1, 200, 2**20])))


def named(reference: RunReference) -> RunReference:
    """How a run is named once it is stored, as a document says it."""
    (found,) = read_references(json.loads(json.dumps([encode_reference(replace(reference, key="m.runs/x"))])), "runs")
    return found


def garbled(dice: random.Random, body: bytes) -> bytes:
    where, until = dice.randrange(len(body) + 1), dice.randrange(len(body) + 1)
    return dice.choice(
        [
            body[:where],
            body[where:],
            body[:where] + dice.randbytes(2) + body[where:],
            body[:where] + dice.randbytes(1) + body[where + 1 :],
            body + body[where:until],
            body[:where] + body[until:],
        ]
    )


def damaged_reference(dice: random.Random, reference: RunReference) -> RunReference:
    """A reference that says something else, if that can be read."""
    raw = json.loads(json.dumps(encode_reference(reference)))
    for _ in range(dice.choice([1, 1, 2])):
        member = dice.choice([*list(raw), "expires", "continues"])
        old = raw.get(member)
        numbers = [old + 1, old - 1, old * 2] if type(old) in (int, float) else []
        raw[member] = dice.choice(
            [*numbers, dice.choice(KEYS), dice.choice(NUMBERS), anything(dice), dice.randrange(99)]
        )
    (found,) = read_references([raw], "runs")
    return found


def taken_apart(part: WrittenPart, reference: RunReference) -> Parts:
    index = read_index(reference, part.body[-reference.index :])
    stored = [part.body[slice(*index.span(number))] for number in range(len(index.blocks))]
    lines = [[one.first, one.entries, *([] if one.expires is None else [one.expires])] for one in index.blocks]
    marks = part.body[-MARK * reference.entries :]
    return Parts([zlib.decompress(one) for one in stored], {}, lines, marks, encode_reference(reference))


def put_together(parts: Parts) -> tuple[RunReference, bytes]:
    """Make the digests and the sizes anew, so that nothing but what is said is wrong."""
    stored = [parts.compressed.get(number, zlib.compress(lines, 1)) for number, lines in enumerate(parts.blocks)]
    said = []
    for number, (first, entries, *expires) in enumerate(parts.lines):
        body = stored[number] if number < len(stored) else b""
        said.append([first, len(body), entries, hashlib.sha256(body).hexdigest(), *expires])
    index = json.dumps({"blocks": said}).encode() + b"\n" + parts.marks
    body = b"".join([*stored, index, parts.rest])
    raw = {**parts.reference, "sha256": hashlib.sha256(index).hexdigest(), "bytes": len(body), "index": len(index)}
    (reference,) = read_references([raw], "runs")
    return reference, body


def forged(dice: random.Random, part: WrittenPart, reference: RunReference) -> tuple[RunReference, bytes]:
    """A run that somebody has made who means ill: something in it is wrong, and every digest is right."""
    parts = taken_apart(part, reference)
    number = dice.randrange(len(parts.blocks))
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        forge_one(dice, parts, number)
    if dice.random() < 0.4:
        make_true(parts)
    return put_together(parts)


def forge_one(dice: random.Random, parts: Parts, number: int) -> None:
    lines = parts.blocks[number].split(b"\n")
    place = dice.randrange(len(lines))
    match dice.randrange(12):
        case 0:
            lines.insert(place, dice.choice(lines))
        case 1:
            lines.pop(place)
        case 2:
            dice.shuffle(lines)
        case 3:
            lines[place] = json.dumps([dice.choice(KEYS), file(dice)], separators=(",", ":")).encode()
        case 4:
            lines[place] = garbled(dice, lines[place])
        case 5:
            lines[place] = json.dumps(anything(dice)).encode()
        case 6:
            parts.compressed[number] = garbled(dice, zlib.compress(parts.blocks[number], dice.randrange(10)))
        case 7:
            where = dice.randrange(len(parts.lines[number]))
            parts.lines[number][where] = dice.choice([anything(dice), dice.choice(KEYS), dice.randrange(9), 2**60])
        case 8:
            parts.marks = garbled(dice, parts.marks)
        case 9:
            dice.shuffle(parts.lines)
        case 10:
            member = dice.choice(["entries", "first", "last", "expires"])
            parts.reference[member] = dice.choice([dice.choice(KEYS), dice.randrange(99), inf, -1])
        case 11:
            parts.rest = dice.randbytes(dice.randrange(3))
    parts.blocks[number] = b"\n".join(lines)


def make_true(parts: Parts) -> None:
    """Let the index and the reference say what there is, as far as it can be read, so that only the lines are wrong."""
    try:
        pairs = [[json.loads(line) for line in lines.split(b"\n")] for lines in parts.blocks]
        parts.lines = [[one[0][0], len(one), *said[2:]] for one, said in zip(pairs, parts.lines, strict=True)]
        names = [name for one in pairs for name, _ in one]
        marks = array("H", map(mark_of, names))
    except (ValueError, LookupError, TypeError, AttributeError):
        return
    if sys.byteorder == "big":
        marks.byteswap()
    parts.marks = marks.tobytes()
    parts.reference |= {"entries": len(names), "first": names[0], "last": names[-1]}


def read_in_pieces(reference: RunReference, body: bytes, names: Names | None) -> Run:
    """A run of which each piece was read for itself."""
    index = read_index(reference, body[reference.size - reference.index : reference.size])
    spans = [index.span(number) for number in range(len(index.blocks))]
    read = [read_block(reference, index, number, body[start:end], names) for number, (start, end) in enumerate(spans)]
    return Run(reference, HeldPieces(index, read))


class Missing:
    """Pieces of a run, of which a block is missing."""

    def __init__(self, run: Run, number: int) -> None:
        self._pieces = run.pieces
        self._number = number

    def index(self) -> RunIndex | None:
        return self._pieces.index()

    def block(self, number: int) -> Any:
        return None if number == self._number else self._pieces.block(number)


def check_run(dice: random.Random, run: Run) -> None:
    """What was read says one thing, however it is asked, and can be written again."""
    items = list(run.items())
    keys = [key for key, _ in items]
    assert keys == sorted(set(keys)) == run.names(), "in order, each once"
    said: dict[str, FileEntry | None] = dict(items)
    for key, one in items:
        assert run.reference.first <= key <= run.reference.last
        assert run.get(key, "none") == one, "what is listed is found"
        if one is not None:
            check_file(one, key)
    assert run.lines()[1] == [line_of(key, one) for key, one in items]
    for key in (*KEYS, dice.choice(KEYS) + str(dice.randrange(99))):
        assert run.get(key, "none") == said.get(key, "none")
    prefix, start, stop = dice.choice(["", *KEYS]), dice.choice(["", *KEYS]), dice.choice([None, *KEYS])
    within = {key: one for key, one in said.items() if key >= start and (stop is None or key < stop)}
    assert dict(run.items(prefix, start, stop)) == {key: one for key, one in within.items() if key.startswith(prefix)}
    assert run.lines(start, stop)[0] == list(within)
    moments = {key: moment for moment, key in run.expiring(inf)}
    assert moments.keys() == {key for key, one in items if one is not None and one.get("expires") is not None}
    if items:
        writer = RunWriter(2**30)
        (again,) = [*writer.add(*merged_lines([run], oldest=False)), *writer.end()]
        assert dict(open_run(again.reference, again.body).items()) == said
    number = dice.randrange(len(run.blocks()))
    partial = Run(run.reference, Missing(run, number))
    try:
        partial.blocks()
    except NotAtHandError as error:
        assert error.wanted == {run: [number]}  # noqa: PT017
    else:
        raise AssertionError("a block is missing")


def try_one(dice: random.Random) -> str:
    """Write a run, spoil it in one way or another, and read it."""
    files = some_files(dice)
    parts = written(dice, files)
    part = dice.choice(parts)
    reference, body = named(part.reference), part.body
    names = NAMES if dice.random() < 0.5 else None
    kind = dice.choice(["intact", "damaged", "misnamed", "forged", "forged", "forged"])
    try:
        match kind:
            case "damaged":
                body = garbled(dice, body)
            case "misnamed":
                reference = damaged_reference(dice, reference)
            case "forged":
                reference, body = forged(dice, part, reference)
    except ValueError:
        return f"{kind}: not written"  # not even the document that names it would be read
    whole = outcome(lambda: open_run(reference, body, names))
    pieces = outcome(lambda: read_in_pieces(reference, body, names))
    if not isinstance(whole, Run):
        assert kind != "intact", whole
        # Of a run that is read in pieces, what is between them, and behind them, is not looked at.
        assert not isinstance(pieces, Run) or len(body) != reference.size, (whole, pieces)
        return f"{kind}: refused"
    assert isinstance(pieces, Run), pieces
    assert list(whole.items()) == list(pieces.items()) and list(whole.expiring(inf)) == list(pieces.expiring(inf))
    # What was verified before is trusted: only the digests are looked at, and nothing else becomes of it.
    assert list(open_run(reference, body, names, trusted=True).items()) == list(whole.items())
    if kind in ("intact", "damaged"):
        assert body == part.body
        if names is None:
            assert [pair for one in parts for pair in open_run(one.reference, one.body).items()] == sorted(
                files.items()
            )
    check_run(dice, whole)
    return f"{kind}: read"


def outcome(read: Callable[[], Run]) -> Run | str:
    try:
        return read()
    except ValueError as error:
        assert str(error), "an error that says nothing"  # noqa: PT017
        return str(error)


def bombs(dice: random.Random) -> tuple[Sequence[bytes], bytes]:
    """The blocks of a run that is small, and takes much memory if nobody looks out; or its index."""
    unit = dice.choice([b"[],", b"{},", b'"",', b"1.5,", b'["a",null]\n', b'["a",{"b":', b"\x00", b"\\u0000", b"["])
    size = dice.choice([limits.BLOCK - 1, limits.BLOCK, limits.BLOCK + 1, 8 * limits.BLOCK])
    lines = (unit * (size // len(unit) + 1))[:size]
    many = dice.choice([1, 2, 30])
    if dice.random() < 0.5:
        head = dice.choice([b'["a",{"version":"1","value":[', b'["a",{"version":"1","unknown":['])
        lines = (head + lines)[: size - 4].rstrip(b",") + b"]}]"
    index = (b'{"blocks":[' + unit * (limits.RUN_INDEX // len(unit)) + b"]}\n") if dice.random() < 0.3 else b""
    return [zlib.compress(lines, 9)] * many, index[: limits.RUN_INDEX]


def made_to_take_memory(dice: random.Random) -> tuple[RunReference, bytes]:
    """A run that is small, and takes much memory if nobody looks out."""
    if dice.random() < 0.3:  # as large as possible, and nothing in it is wrong
        value = dice.choice(["x", [], {}, 1.5, ""])
        most = (limits.INLINE - 9) // (len(json.dumps(value, separators=(",", ":"))) + 1)
        block.BLOCK = dice.choice([2**15, limits.BLOCK - limits.INLINE - 100])
        number = dice.choice([10, 60, 200, 250, 260, 500])
        files = {f"{key:03}": {"version": "1", "value": [value] * most, "size": 1} for key in range(number)}
        (part,) = encode_runs(files, 2**30)
        return part.reference, part.body
    stored, index = bombs(dice)
    digests = [hashlib.sha256(one).hexdigest() for one in stored]
    said = [
        [f"a{number}" if number else "a", len(one), 1, digest]
        for number, (one, digest) in enumerate(zip(stored, digests, strict=True))
    ]
    index = index or json.dumps({"blocks": said}).encode() + b"\n" + bytes(MARK * len(said))
    body = b"".join([*stored, index])
    return RunReference("x", hashlib.sha256(index).hexdigest(), len(said), len(body), len(index), "a", "z"), body


def try_bomb(dice: random.Random) -> str:
    """Read a run that takes as much memory as possible, and measure."""
    reference, body = made_to_take_memory(dice)
    tracemalloc.start()
    try:
        found = outcome(lambda: open_run(reference, body, NAMES))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= BOUND, (peak, found)
    return "bomb: refused" if isinstance(found, str) else "bomb: read"


def try_number(dice: random.Random, number: int) -> list[str]:
    return [try_bomb(dice) if number % HOSTILE == HOSTILE - 1 else try_one(dice)]


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "runs", try_number))
