"""Runs: sorted segments of files, kept as bytes."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from format.test_document import SHA256, file_entries
from hypothesis import given
from hypothesis import strategies as st

from mps3.format.run import BLOCK, check_run, encode_runs, index_run, merge_runs

some_files = st.dictionaries(st.text(min_size=1), st.none() | file_entries(), min_size=1)
small = st.dictionaries(
    st.sampled_from("abcdef"), st.none() | st.builds(lambda n: {"version": str(n)}, st.integers(0, 9))
)


def runs_of(files, most=2**30):
    return [index_run(reference.sha256, body) for reference, body in encode_runs(files, most)]


def many(number):
    return {f"key/{index:06}": {"version": f"v{index}", "sha256": SHA256, "size": index} for index in range(number)}


@given(some_files)
def test_a_run_is_read_as_it_was_written(files):
    ((reference, body),) = encode_runs(files, 2**30)
    check_run(body, reference.entries)
    assert (reference.sha256, reference.size) == (hashlib.sha256(body).hexdigest(), len(body))
    run = index_run(reference.sha256, body)
    assert dict(run.items()) == files
    assert [name for name, _ in run.lines()] == sorted(files)
    assert {name: run.get(name, "none") for name in files} == files


@given(some_files)
def test_equal_runs_have_equal_bytes(files):
    assert list(encode_runs(files, 99)) == list(encode_runs(dict(reversed(files.items())), 99))


@given(some_files, st.text(min_size=1))
def test_a_key_that_is_not_in_a_run(files, name):
    (run,) = runs_of(files)
    assert run.get(name, "none") == files.get(name, "none")


@given(some_files, st.integers(1, 300))
def test_a_run_in_parts(files, most):
    parts = list(encode_runs(files, most))
    assert [reference.continues for reference, _ in parts] == [False] + [True] * (len(parts) - 1)
    assert all(len(body) <= most or reference.entries == 1 for reference, body in parts)
    found = [run.items() for run in runs_of(files, most)]
    assert [pair for part in found for pair in part] == sorted(files.items())


def test_a_run_of_many_blocks():
    files = many(1000)
    (run,) = runs_of(files)
    assert len(run.body) > 5 * BLOCK
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
    (run,) = runs_of(files)
    assert [name for name, _ in run.items(prefix)] == [name for name in files if name.startswith(prefix)]


@given(st.lists(small, min_size=1, max_size=5), st.booleans(), st.integers(1, 200))
def test_merged_runs_say_what_they_said_one_over_the_other(layers, oldest, most):
    layers = [layer for layer in layers if layer]
    together: dict = {}
    for layer in layers:
        together.update(layer)
    parts = list(merge_runs([run for layer in layers for run in runs_of(layer)], most, oldest=oldest))
    for reference, body in parts:
        check_run(body, reference.entries)
    found = [pair for reference, body in parts for pair in index_run(reference.sha256, body).items()]
    assert found == sorted((name, file) for name, file in together.items() if file is not None or not oldest)
    assert all(one[0] < other[0] for one, other in pairwise(found))


def test_what_merges_to_nothing_is_no_run():
    assert list(merge_runs(runs_of({"a": {"version": "1"}}) + runs_of({"a": None}), 99, oldest=True)) == []


def test_a_merge_can_be_stopped():
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(merge_runs(runs_of(many(500)), 2**30, oldest=True, pause=stop))


@pytest.mark.parametrize(
    "body",
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
    ],
)
def test_a_malformed_run_is_refused(body):
    with pytest.raises(ValueError):
        check_run(body, body.count(b"\n") + 1)


def test_a_run_with_lines_missing_is_refused():
    ((reference, body),) = encode_runs(many(3), 2**20)
    with pytest.raises(ValueError, match="2 lines, not 3"):
        check_run(body.rsplit(b"\n", 1)[0], reference.entries)


def test_an_empty_run_is_refused():
    with pytest.raises(ValueError):
        check_run(b"", 1)
