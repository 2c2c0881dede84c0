"""Indexes of runs: what they say of blocks and keys, and when they are refused."""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import replace
from typing import Any

import pytest
from format.stored_runs import partly, run_of, small_blocks
from format.test_run import many, some_files
from hypothesis import given
from hypothesis import strategies as st

from mps3.format import limits
from mps3.format.run import NotAtHandError, open_run, read_block, read_index
from mps3.format.run_index import MARK, IndexedBlock, RunIndex, decode_index, encode_index, mark_of
from mps3.format.run_writer import encode_runs

blocks = st.lists(
    st.builds(
        lambda size, entries, expires: (size, entries, expires),
        st.integers(1, 2**40),
        st.integers(1, 5),
        st.none() | st.floats(0, 2**31),
    ),
    min_size=1,
    max_size=5,
)


def indexed(parts: Any) -> tuple[list[IndexedBlock], array[int]]:
    said = [IndexedBlock(f"{place:03}", *rest[:2], "0" * 64, rest[2]) for place, rest in enumerate(parts)]
    return said, array("H", range(sum(one.entries for one in said)))


def reference_of(said: list[IndexedBlock], body: bytes, **other: Any) -> Any:
    ends = [one.expires for one in said if one.expires is not None]
    return replace(
        REFERENCE,
        entries=sum(one.entries for one in said),
        size=sum(one.size for one in said) + len(body),
        index=len(body),
        first=said[0].first,
        last="z",
        expires=min(ends, default=None),
        **other,
    )


@given(blocks)
def test_an_index_is_read_as_it_was_written(parts):
    said, marks = indexed(parts)
    body = encode_index(said, marks)
    index = decode_index(body, reference_of(said, body))
    assert index.blocks == said
    assert encode_index(index.blocks, index._marks) == body
    end = 0
    for number, one in enumerate(said):
        assert index.span(number) == (end, end + one.size)
        end += one.size
        assert index.below(number) == (said[number + 1].first if number + 1 < len(said) else None)


def test_an_index_is_the_same_on_every_machine():
    said = [IndexedBlock("a", 300, 2, "ab" * 32, None), IndexedBlock("é", 9, 1, "cd" * 32, 1.5)]
    body = encode_index(said, array("H", [1, 0x1234, 0xFFFF]))
    digests = "ab" * 32, "cd" * 32
    line = f'{{"blocks":[["a",300,2,"{digests[0]}"],["é",9,1,"{digests[1]}",1.5]]}}\n'
    assert body == line.encode() + b"\x01\x00\x34\x12\xff\xff"
    assert mark_of("key/1") == 0xDDF8


@given(some_files, st.text(min_size=1), st.integers(1, 300))
def test_marks_never_hide_a_key(files, other, size):
    with small_blocks(size):
        run = run_of(files)
    index = run.pieces.index()
    for number, block in enumerate(run.blocks()):
        names = [name for name, _ in block.items()]
        assert index.has_marks_of(number, names)
        assert [index.block_of(name) for name in names] == [number] * len(names)
        assert not index.has_marks_of(number, [*names, other]) and not index.has_marks_of(number, names[1:])
    number = index.block_of(other)
    assert number is None or index.span(number)[0] < run.reference.size


def test_hardly_any_block_is_read_for_a_key_that_is_not_there():
    """Two bytes for each key: of absent ones, a block of 32 KiB is read for one of some hundreds."""
    whole = run_of(many(5000))
    run, _ = partly(whole)
    needed = 0
    for number in range(5000):
        try:
            assert run.get(f"key/{number:06}.absent", "none") == "none"
        except NotAtHandError:
            needed += 1
    assert needed < 5000 / 100


@given(some_files, st.text(), st.none() | st.text(), st.integers(1, 300))
def test_the_blocks_of_a_range(files, start, stop, size):
    with small_blocks(size):
        run = run_of(files)
    index = run.pieces.index()
    numbers = index.overlapping(start, stop)
    for number, block in enumerate(run.blocks()):
        if any(name >= start and (stop is None or name < stop) for name, _ in block.items()):
            assert number in numbers
    for number in numbers[1:]:
        assert index.blocks[number].first > start and (stop is None or index.blocks[number].first < stop)


# Indexes that are wrong

FILES = {f"k{number}": {"version": "1", "size": number} for number in range(4)}
with small_blocks(60):
    (PART,) = encode_runs(FILES | {"k5": {"version": "1", "expires": "1970-01-01T00:00:07.000Z"}}, 2**20)
REFERENCE = PART.reference


def signed(change: Any = None, *, marks: Any = None, **named: Any) -> tuple[Any, bytes]:
    """The same run, with another index whose digest is right."""
    body = PART.body
    line, _, rest = body[-REFERENCE.index :].partition(b"\n")
    raw = json.loads(line)
    if change is not None:
        changed = change(raw)
        raw = raw if changed is None else changed
    index = (raw if isinstance(raw, bytes) else json.dumps(raw).encode() + b"\n") + (rest if marks is None else marks)
    whole = body[: -REFERENCE.index] + index
    digest = hashlib.sha256(index).hexdigest()
    return replace(REFERENCE, **{"sha256": digest, "size": len(whole), "index": len(index), **named}), whole


def read_in_pieces(reference: Any, body: bytes) -> RunIndex:
    index = read_index(reference, body[reference.size - reference.index : reference.size])
    for number in range(len(index.blocks)):
        read_block(reference, index, number, body[slice(*index.span(number))])
    return index


def say(number: int, place: int, what: Any) -> Any:
    def change(raw: Any) -> None:
        line = raw["blocks"][number]
        line[place:] = [what(line[place]) if callable(what) else what, *line[place + 1 :]]

    return change


def sizes(raw: Any) -> None:
    raw["blocks"][0][1] += 1
    raw["blocks"][1][1] -= 1


def entries(raw: Any) -> None:
    raw["blocks"][0][2] += 1
    raw["blocks"][1][2] -= 1


def reverse(raw: Any) -> None:
    raw["blocks"].reverse()


def test_the_run_of_these_tests_has_several_blocks():
    assert list(open_run(*signed()).items()) == list(open_run(REFERENCE, PART.body).items())
    assert [one.entries for one in open_run(*signed()).pieces.index().blocks] == [2, 2, 1]


BLOCK = r"^block {} is malformed: "
LIES = {
    "no JSON": (lambda _: b"{", {}, "index"),
    "no line": (lambda _: b"", {"marks": b""}, "index is cut"),
    "an array": (lambda _: [], {}, "its index is not an object"),
    "no blocks": (lambda _: {}, {}, "its index is not an array"),
    "nothing": (lambda _: {"blocks": []}, {}, "does not begin with the key"),
    "a block of another form": (lambda raw: raw["blocks"].append({}), {}, "block 3 of its index is not an array"),
    "a block without a digest": (lambda raw: raw["blocks"][1].__delitem__(slice(3, None)), {}, "block 1 of its index"),
    "more of a block": (lambda raw: raw["blocks"][2].append(1), {}, "block 2 of its index"),
    "an empty block": (say(1, 2, 0), {}, "block 1 of its index is empty"),
    "a block of no bytes": (say(1, 1, 0), {}, "block 1 of its index is empty"),
    "a key that is none": (say(1, 0, 1), {}, "block 1 of its index is not a text"),
    "a digest that is none": (say(1, 3, "x"), {}, "block 1 of its index is not a SHA-256"),
    "an expiry that is none": (say(2, 4, "soon"), {}, "block 2 of its index is not a moment"),
    "another first key": (say(0, 0, "a"), {}, "does not begin with the key that the manifest names"),
    "another order": (reverse, {"first": "k5"}, "blocks of its index are not in order"),
    "more blocks": (lambda raw: raw["blocks"].append(raw["blocks"][2]), {}, "not in order"),
    "a block missing": (lambda raw: raw["blocks"].__delitem__(1), {}, "does not name all of its blocks"),
    "a size": (say(0, 1, lambda size: size + 1), {}, "does not name all of its blocks"),
    "two sizes": (sizes, {}, BLOCK.format(0) + "its content does not have the SHA-256"),
    "a digest": (say(1, 3, "0" * 64), {}, BLOCK.format(1) + "its content does not have the SHA-256"),
    "a number of keys": (say(1, 2, 3), {}, "does not have 5 keys"),
    "two numbers of keys": (entries, {}, BLOCK.format(0) + "it has 2 lines, not 3"),
    "a first key": (say(1, 0, "k11"), {}, BLOCK.format(1) + "it does not begin with the key that the index names"),
    "a first key too low": (say(1, 0, "k00"), {}, BLOCK.format(0) + "it ends with another key than its place allows"),
    "an expiry": (say(2, 4, 8.0), {}, "do not expire when the manifest says"),
    "an expiry in both": (say(2, 4, 8.0), {"expires": 8.0}, BLOCK.format(2) + "its keys do not expire when"),
    "an expiry that is missing": (
        lambda raw: raw["blocks"][2].__delitem__(4),
        {"expires": None},
        BLOCK.format(2) + "its keys",
    ),
    "an expiry too many": (lambda raw: raw["blocks"][0].append(7.0), {}, BLOCK.format(0) + "its keys do not expire"),
    "marks of other keys": (None, {"marks": bytes(MARK * 5)}, BLOCK.format(0) + "the index does not have the marks"),
    "marks that are missing": (None, {"marks": bytes(MARK * 4)}, "its index does not have 5 keys"),
    "half a mark": (None, {"marks": bytes(MARK * 5 - 1)}, "its index does not have 5 keys"),
    "another last key": (None, {"last": "k6"}, BLOCK.format(2) + "it ends with another key"),
    "a last key too low": (None, {"last": "k0"}, "not in order"),
    "more parts than anybody writes": (
        lambda _: b'{"blocks":[' + b"[]," * limits.PARTS + b"[]]}\n",
        {},
        f"its index has more than {limits.PARTS}",
    ),
    "more blocks than anybody writes": (
        lambda _: {"blocks": [[]] * (limits.RUN_BLOCKS + 1)},
        {},
        f"more than {limits.RUN_BLOCKS}",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_is_refused(lie):
    change, how, why = LIES[lie]
    reference, body = signed(change, **how)
    with pytest.raises(ValueError, match=why):
        open_run(reference, body)
    with pytest.raises(ValueError, match=why):
        read_in_pieces(reference, body)


def test_a_run_has_no_more_lines_than_anybody_writes(monkeypatch):
    monkeypatch.setattr(limits, "RUN", 100)
    with pytest.raises(ValueError, match="its lines have more than 100 bytes"):
        open_run(REFERENCE, PART.body)
