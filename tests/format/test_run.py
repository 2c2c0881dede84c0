"""Runs: sorted segments of files, in compressed blocks."""

from __future__ import annotations

import hashlib
from itertools import chain, pairwise
from math import inf

import pytest
from format.stored_runs import merge, opened, run_of, runs_of, small_blocks
from format.test_document import SHA256, file_entries
from hypothesis import given
from hypothesis import strategies as st

from mps3.format import block
from mps3.format.block import line_of
from mps3.format.run import end_of
from mps3.format.run_merge import merged_lines
from mps3.format.run_writer import RunWriter, encode_runs

some_files = st.dictionaries(st.text(min_size=1), st.none() | file_entries(), min_size=1)
small = st.dictionaries(
    st.sampled_from("abcdef"), st.none() | st.builds(lambda n: {"version": str(n)}, st.integers(0, 9))
)


def many(number):
    return {f"key/{index:06}": {"version": f"v{index}", "sha256": SHA256, "size": index} for index in range(number)}


@given(some_files, st.integers(1, 300))
def test_a_run_is_read_as_it_was_written(files, size):
    with small_blocks(size):
        (part,) = encode_runs(files, 2**30)
    reference = part.reference
    assert part.sha256 == hashlib.sha256(part.body).digest()
    assert reference.sha256 == hashlib.sha256(part.body[-reference.index :]).hexdigest()
    assert (reference.size, reference.entries) == (len(part.body), len(files))
    assert (reference.first, reference.last) == (min(files), max(files))
    (run,) = opened([part])
    assert dict(run.items()) == files
    assert run.names() == sorted(files)
    assert run.lines() == (sorted(files), [line_of(name, files[name]) for name in sorted(files)])
    assert {name: run.get(name, "none") for name in files} == files


@given(some_files)
def test_equal_runs_have_equal_bytes(files):
    assert list(encode_runs(files, 99)) == list(encode_runs(dict(reversed(files.items())), 99))


@given(some_files, st.text(min_size=1))
def test_a_key_that_is_not_in_a_run(files, name):
    assert run_of(files).get(name, "none") == files.get(name, "none")


@given(some_files, st.integers(1, 300))
def test_a_run_in_parts(files, most):
    parts = list(encode_runs(files, most))
    references = [part.reference for part in parts]
    assert [one.continues for one in references] == [False] + [True] * (len(parts) - 1)
    assert all(one.last < other.first for one, other in pairwise(references))
    runs = opened(parts)
    for run in runs:
        _, lines = run.lines()
        assert sum(map(len, lines)) + len(lines) - 1 <= most or len(lines) == 1
    assert [pair for run in runs for pair in run.items()] == sorted(files.items())


def test_a_run_of_many_blocks():
    files = many(2000)
    run = run_of(files)
    assert len(run.blocks()) == len(run.pieces.index().blocks) > 5
    assert all(block.BLOCK <= len(one.body) <= block.BLOCK + 200 for one in run.blocks()[:-1])
    for name, file in files.items():
        assert run.get(name, None) == file
        assert run.get(name + "x", "none") == "none"
        assert run.get(name[:-1], "none") == "none"
    assert run.get("a", "none") == run.get("z", "none") == "none"


@pytest.mark.parametrize(
    "prefix", ["", "key/", "key/00", "key/0001", "key/000999", "key/001", "k", "l", "a", "key/0003"]
)
def test_the_keys_with_a_prefix(prefix):
    files = many(1000)
    run = run_of(files)
    assert [name for name, _ in run.items(prefix)] == [name for name in files if name.startswith(prefix)]


@given(some_files, st.text(), st.text(), st.none() | st.text(), st.integers(1, 300))
def test_the_keys_of_a_range(files, prefix, start, stop, size):
    with small_blocks(size):
        run = run_of(files)
    expected = [
        (name, file)
        for name, file in sorted(files.items())
        if name.startswith(prefix) and name >= start and (stop is None or name < stop)
    ]
    assert list(run.items(prefix, start, stop)) == expected
    assert run.names(prefix) == sorted(name for name in files if name.startswith(prefix))
    assert run.lines(start, stop)[0] == [name for name, _ in run.items("", start, stop)]
    assert not any(start <= name and (stop is None or name < stop) for name in files) or run.overlaps(start, stop)


@given(st.text(max_size=4), st.text(max_size=5))
def test_the_end_of_the_keys_with_a_prefix(prefix, name):
    end = end_of(prefix)
    if end is None:
        assert name < prefix or name.startswith(prefix)
    else:
        assert (prefix <= name < end) == name.startswith(prefix)
        end.encode()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff" * 2, None),
        ("\ud7ff", "\ue000"),
        ("\uffff", "\U00010000"),
        ("a/", "a0"),
    ],
)
def test_the_end_of_special_prefixes(prefix, end):
    assert end_of(prefix) == end


@given(st.lists(small, min_size=1, max_size=5), st.booleans(), st.integers(1, 200), st.integers(1, 100))
def test_merged_runs_say_what_they_said_one_over_the_other(layers, oldest, most, size):
    layers = [layer for layer in layers if layer]
    together: dict = {}
    for layer in layers:
        together.update(layer)
    with small_blocks(size):
        parts = merge([run for layer in layers for run in runs_of(layer)], most, oldest=oldest)
    found = [pair for run in opened(parts) for pair in run.items()]
    assert found == sorted((name, file) for name, file in together.items() if file is not None or not oldest)
    assert all(one[0] < other[0] for one, other in pairwise(found))


@given(
    st.lists(small.filter(bool), min_size=1, max_size=5),
    st.booleans(),
    st.lists(st.text("abcdefg", max_size=2), max_size=4),
    st.integers(1, 100),
)
def test_ranges_of_a_merge_are_the_merge(layers, oldest, bounds, size):
    with small_blocks(size):
        runs = [run for layer in layers for run in runs_of(layer, 60)]
    places = ["", *sorted(set(bounds) - {""}), None]
    found = [merged_lines(runs, start or "", stop, oldest=oldest) for start, stop in pairwise(places)]
    whole = merged_lines(runs, oldest=oldest)
    assert tuple(list(chain.from_iterable(one)) for one in zip(*found, strict=True)) == whole


def test_what_merges_to_nothing_is_no_run():
    assert merge([run_of({"a": {"version": "1"}}), run_of({"a": None})], oldest=True) == []


def test_null_is_a_value_and_not_a_deletion():
    files = {"a": {"version": "1", "value": None, "size": 4}, "b": {"size": 4, "version": "1", "value": None}}
    (run,) = opened(merge([run_of(files)], oldest=True))
    assert dict(run.items()) == files


@given(some_files, st.lists(st.integers(0, 20), max_size=5), st.integers(1, 300), st.integers(1, 300))
def test_it_does_not_matter_how_many_lines_are_added_at_once(files, cuts, most, size):
    names = sorted(files)
    lines = [line_of(name, files[name]) for name in names]
    with small_blocks(size):
        writer, found = RunWriter(most), []
        for start, stop in pairwise([0, *sorted(cuts), len(names)]):
            found += writer.add(names[start:stop], lines[start:stop])
        found += writer.end()
        assert found == list(encode_runs(files, most))


def test_writing_can_be_stopped():
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(encode_runs(many(3), 2**30, stop))


def test_what_expires_first_is_known_of_each_block_and_part():
    files = {f"{number}": {"version": "1", "expires": f"1970-01-01T00:00:0{number}.000Z"} for number in range(1, 6)}
    with small_blocks(1):
        (run,) = runs_of({**files, "a": {"version": "1"}})
    assert [one.expires for one in run.pieces.index().blocks] == [1.0, 2.0, 3.0, 4.0, 5.0, None]
    assert run.reference.expires == 1.0
    assert list(run.expiring(inf)) == [(float(name), name) for name in files]
    assert list(run.expiring(2.5)) == [(1.0, "1"), (2.0, "2")]
    with small_blocks(1):
        parts = list(encode_runs({"a": {"version": "1"}, **files}, 60))
    assert [part.reference.expires for part in parts] == [1.0, 2.0, 3.0, 4.0, 5.0, None]
