"""Blocks of runs, and runs of which only some blocks are at hand."""

from __future__ import annotations

import zlib
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from format.stored_runs import SomePieces, partly, run_of, runs_of, small_blocks
from format.test_document import file_entries
from format.test_run import many, some_files
from hypothesis import assume, given
from hypothesis import strategies as st

from mps3 import Ref
from mps3.format import limits
from mps3.format.block import check_block, compress, decompress, line_of, open_block
from mps3.format.layers import look_up, require_at_hand
from mps3.format.names import Names
from mps3.format.run import NotAtHandError, Run
from mps3.format.run_merge import merged_lines
from mps3.format.schema import format_time

moments = st.none() | st.integers(1, 99)


def lines_of(files: dict[str, Any]) -> bytes:
    return b"\n".join(line_of(name, files[name]) for name in sorted(files))


# One block


@given(some_files)
def test_a_block_is_read_as_it_was_written(files):
    lines = lines_of(files)
    assert decompress(compress(lines)) == lines
    assert check_block(lines) == sorted(files)
    block = open_block(lines)
    assert dict(block.items()) == files
    assert block.lines() == (sorted(files), lines.split(b"\n"))
    assert {name: block.get(name, "none") for name in files} == files


@given(some_files, st.text(min_size=1))
def test_a_key_that_is_not_in_a_block(files, name):
    assert open_block(lines_of(files)).get(name, "none") == files.get(name, "none")


@given(st.dictionaries(st.text(min_size=1, max_size=3), moments, min_size=1))
def test_a_block_knows_what_expires_in_it(ends):
    files = {
        name: {"version": "1", **({} if end is None else {"expires": format_time(end)})} for name, end in ends.items()
    }
    expected = [(float(end), name) for name, end in sorted(ends.items()) if end is not None]
    assert list(open_block(lines_of(files)).expiring) == expected


@pytest.mark.parametrize("name", [",", ",,", ",a", '"', '",', "\\", "[", "]", "\n", ",null]"])
def test_keys_that_look_like_the_rest_of_a_line(name):
    block = open_block(lines_of({name: None, "~": {"version": "1"}}))
    assert block.lines()[0] == [name, "~"] and dict(block.items()).keys() == {name, "~"}
    assert block.get(name, "none") is None


def test_names_that_no_key_can_have_are_left_out():
    files = {name: {"version": "1", "expires": format_time(5)} for name in ("a", "m.runs/x", "s3://", "x" * 1025, "z")}
    block = open_block(lines_of(files), Names(Ref("m", "b")))
    assert set(block.skipped) == {"m.runs/x", "s3://", "x" * 1025}
    assert dict(block.items()) == {"a": files["a"], "z": files["z"]}
    assert block.lines()[0] == ["a", "z"] == [line[2:3].decode() for line in block.lines()[1]]
    assert list(block.expiring) == [(5.0, "a"), (5.0, "z")]
    assert block.get("m.runs/x", "none") == "none"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"\n", id="empty lines"),
        pytest.param(b"[]", id="an empty line"),
        pytest.param(b'["a",{"version":"1"}]\n', id="a line feed at the end"),
        pytest.param(b'["a",{}]', id="a file without a version"),
        pytest.param(b'["a",1]', id="no file"),
        pytest.param(b'["a"]', id="no file at all"),
        pytest.param(b'["",null]', id="an empty key"),
        pytest.param(b"[1,null]", id="a key that is no text"),
        pytest.param(b'["a",null,1]', id="more than a file"),
        pytest.param(b'{"a":1,"b":2}', id="an object"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'["a", null]', id="a space"),
        pytest.param(b'["a",null],["b",null]', id="two in a line"),
        pytest.param(b'["\\u0061",null]', id="escaped without need"),
        pytest.param(b'["b",null]\n["a",null]', id="not sorted"),
        pytest.param(b'["a",null]\n["a",null]', id="twice the same key"),
        pytest.param(b'["a",{"version":"1","sha256":"0","size":1}]', id="no SHA-256"),
        pytest.param(b'["a",[' + b"[]," * limits.PARTS + b"[]]]", id="more parts than anybody writes"),
    ],
)
def test_lines_that_are_none_are_refused(lines):
    with pytest.raises(ValueError):
        check_block(lines)


def test_a_block_has_a_most():
    most = b"x" * limits.BLOCK
    assert decompress(compress(most)) == most
    for more in (limits.BLOCK + 1, 100 * limits.BLOCK):
        with pytest.raises(ValueError, match=f"more than {limits.BLOCK} bytes"):
            decompress(zlib.compress(b"x" * more))


@given(some_files, st.data())
def test_what_was_compressed_is_read_whole_or_not_at_all(files, data):
    stored = compress(lines_of(files))
    place = data.draw(st.integers(0, len(stored) - 1))
    for wrong in (stored[:place], stored + b"x", stored + stored, b""):
        with pytest.raises(ValueError, match=r"cut|compressed"):
            decompress(wrong)


# A run of which some blocks are at hand


def wanted(read: Any) -> Any:
    """What has to be fetched first; ``None`` if nothing has to."""
    try:
        read()
    except NotAtHandError as error:
        return error.wanted
    return None


@st.composite
def partial_runs(draw: Any) -> tuple[dict[str, Any], Run, Run, SomePieces]:
    """What is in a run, the run, the same with only some of its pieces, and which."""
    files = draw(st.dictionaries(st.text("abcé", min_size=1, max_size=3), st.none() | file_entries(), min_size=1))
    with small_blocks(draw(st.integers(1, 200))):
        whole = run_of(files)
    numbers = draw(st.sets(st.integers(0, len(whole.blocks()) - 1)))
    return files, whole, *partly(whole, numbers, index=draw(st.booleans()))


def blocks_with(run: Run, keys: Any) -> set[int]:
    """The blocks of a run that have some keys."""
    return {number for number, block in enumerate(run.blocks()) for name, _ in block.items() if name in keys}


@given(
    partial_runs(), st.text("abcé", max_size=3), st.text("abcé", max_size=2), st.none() | st.text("abcé", max_size=3)
)
def test_what_is_missing_is_named_and_then_everything_is_read(made, prefix, start, stop):
    files, whole, run, pieces = made
    within = {name: file for name, file in files.items() if name >= start and (stop is None or name < stop)}
    prefixed = {name: file for name, file in within.items() if name.startswith(prefix)}
    reads: list[Any] = [
        (lambda: list(run.items(prefix, start, stop)), sorted(prefixed.items()), prefixed),
        (lambda: run.lines(start, stop)[0], sorted(within), within),
        (lambda: run.names(prefix), sorted(name for name in files if name.startswith(prefix)), ()),
        (lambda: run.blocks(start, stop), whole.blocks(start, stop), within),
        (lambda: list(zip(*merged_lines([run], start, stop, oldest=False), strict=True)), None, within),
    ]
    had = (set(pieces.numbers), pieces.has_index)
    for read, expected, keys in reads:
        pieces.numbers, pieces.has_index = set(had[0]), had[1]
        first = wanted(read)
        if first is not None and not pieces.has_index:
            assert first == {run: ()}
            pieces.has_index = True
            first = wanted(read)
        if first is None:
            assert blocks_with(whole, keys) <= pieces.numbers
        else:
            ((one, numbers),) = first.items()
            assert one is run
            assert list(numbers) == sorted(set(numbers) - pieces.numbers), "what is missing, and nothing else"
            assert blocks_with(whole, keys) <= {*numbers, *pieces.numbers}, "all that is missing, at once"
            pieces.numbers.update(numbers)
            assert wanted(read) is None, "and no more"
        assert expected is None or read() == expected


@given(partial_runs(), st.text("abcé", min_size=1, max_size=3))
def test_a_key_needs_one_block_at_the_most(made, name):
    files, whole, run, pieces = made
    if not run.reference.first <= name <= run.reference.last:
        pieces.has_index = False
        assert run.get(name, "none") == "none", "which is known without its index"
        return
    if not pieces.has_index:
        assert wanted(lambda: run.get(name, "none")) == {run: ()}
        pieces.has_index = True
    first = wanted(lambda: run.get(name, "none"))
    if first is not None:
        ((one, (number,)),) = first.items()
        assert one is run and number not in pieces.numbers
        assert blocks_with(whole, {name}) <= {number}
        pieces.numbers.add(number)
    assert run.get(name, "none") == files.get(name, "none")


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), moments, min_size=1),
    st.integers(1, 200),
    st.integers(0, 99),
)
def test_only_blocks_in_which_something_expires_are_needed(ends, size, until):
    files = {
        name: {"version": "1", **({} if end is None else {"expires": format_time(end)})} for name, end in ends.items()
    }
    with small_blocks(size):
        whole = run_of(files)
    run, pieces = partly(whole, index=False)
    due = {name for name, end in ends.items() if end is not None and end <= until}
    if due:
        assert wanted(lambda: run.expiring(until)) == {run: ()}
        pieces.has_index = True
        needed = sorted(blocks_with(whole, due))
        assert wanted(lambda: run.expiring(until)) == {run: needed}
        pieces.numbers.update(needed)
    assert {name for _, name in run.expiring(until)} == due


@given(st.lists(some_files, min_size=1, max_size=3), st.sets(st.text(min_size=1), max_size=4), st.integers(1, 200))
def test_keys_are_looked_up_after_few_rounds(layers, absent, size):
    with small_blocks(size):  # runs that say the same have the same pieces
        whole = list(dict.fromkeys(run for layer in layers for run in runs_of(layer)))
    layers = [dict(run.items()) for run in whole]
    some = [partly(run, index=False) for run in whole]
    runs = [run for run, _ in some]
    pieces = dict(some)
    names = absent.union(*layers)
    rounds = 0
    while (missing := wanted(lambda: require_at_hand(runs, names))) is not None:
        rounds += 1
        for run, numbers in missing.items():
            assert (not numbers) == (not pieces[run].has_index)
            assert not pieces[run].numbers & set(numbers)
            pieces[run].has_index = True
            pieces[run].numbers.update(numbers)
    assert rounds <= 2 * len(layers)
    for name in names:
        assert look_up(name, reversed(runs)) == look_up(name, reversed(whole))


@given(st.integers(1, 3), st.integers(0, 1999))
def test_a_block_that_was_fetched_answers_for_all_keys_near_it(far, place):
    files = many(2000)
    run, pieces = partly(RUN)
    name = list(files)[place]
    ((_, (number,)),) = wanted(lambda: run.get(name, None)).items()
    pieces.numbers.add(number)
    near = [one for one, _ in RUN.blocks()[number].items()]
    assume(len(near) > far)
    assert all(run.get(one, None) == files[one] for one in near[::far])
    for one, other in pairwise(near):
        assert run.lines(one, other)[0] == [one], "a range inside of it, too"
    assert list(run.expiring(inf)) == []


RUN = run_of(many(2000))
