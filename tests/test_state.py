"""The state of a manifest: runs, overlaid with files, overlaid with commits."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_document import SHA256, file_entries

from mps3.document import Document, Entry, RunReference
from mps3.state import EMPTY, Run, apply_update, build_view, changed_names, decode_run, encode_run, look_up

names = st.sampled_from("abcd")
small_files = st.builds(lambda number: {"version": str(number)}, st.integers(0, 5))
layers = st.dictionaries(names, st.none() | small_files)


def run(files: dict) -> Run:
    return Run(RunReference("manifest.json.runs/x", SHA256, len(files), 1), files)


def commit(number: int, files: dict) -> Entry:
    return Entry("s", number, f"v{number}", float(number), None, {"files": files})


def document(**parts: object) -> Document:
    return Document("merge", 3, "s", 0, None, {"files": {}}, **parts)


def overlaid(*over: dict) -> dict:
    state: dict = {}
    for layer in over:
        state.update(layer)
    return {name: file for name, file in state.items() if file is not None}


@given(st.dictionaries(st.text(min_size=1), st.none() | file_entries(), min_size=1))
def test_runs_are_read_as_they_were_written(files):
    assert decode_run(encode_run(files)) == files


@given(st.dictionaries(st.text(min_size=1), small_files, min_size=1))
def test_equal_runs_have_equal_bytes_and_are_sorted(files):
    body = encode_run(files)
    assert body == encode_run(dict(reversed(files.items())))
    assert list(decode_run(body)) == sorted(files)


@pytest.mark.parametrize("body", [b"", b"\n", b"[]", b'["a",{"version":"1"}]\n', b'["a",{}]', b"\xff", b"[" * 100_000])
def test_a_malformed_run_is_a_value_error(body):
    with pytest.raises(ValueError):
        decode_run(body)


@given(layers, st.lists(layers, max_size=3), st.lists(layers, max_size=4))
def test_newer_layers_hide_older_ones(files, under, commits):
    view = build_view(document(files=files), "head", tuple(map(commit, range(4), commits)), tuple(map(run, under)), 0.0)
    expected = overlaid(*under, files, *commits)
    assert {name: view.look_up(name) for name in "abcd" if view.look_up(name)} == expected
    assert sorted(view.names()) == sorted(expected)


@given(layers, st.lists(layers, max_size=2), layers)
def test_building_a_view_changes_nothing_else(files, under, change):
    base, runs, commits = document(files=files), tuple(map(run, under)), (commit(1, change),)
    before = copy.deepcopy((files, under, change))
    first = build_view(base, "head", commits, runs, 0.0)
    assert (files, under, change) == before
    assert build_view(base, "head", commits, runs, 0.0) == first


def test_deleting_leaves_a_tombstone_only_over_a_run():
    files = {"a": {"version": "1"}, "b": {"version": "1"}}
    apply_update({"files": {"a": None, "absent": None}}, files, ())
    assert files == {"b": {"version": "1"}}
    apply_update({"files": {"b": None, "c": None}}, files, (run({"b": {"version": "0"}}),))
    assert files == {"b": None, "c": None}
    assert look_up("b", files, (run({"b": {"version": "0"}}),)) is None


def test_a_newer_run_hides_an_older_one():
    runs = (run({"a": {"version": "1"}, "b": {"version": "1"}}), run({"a": None, "b": {"version": "2"}}))
    assert look_up("a", {}, runs) is None
    assert look_up("b", {}, runs) == {"version": "2"}
    assert look_up("c", {}, runs) is None


def test_an_update_is_a_merge_patch():
    files = {"a": {"version": "1", "sha256": SHA256, "size": 1, "future": {"x": 1, "y": 2}}}
    apply_update({"files": {"a": {"version": "2", "sha256": None, "future": {"x": None, "z": 3}}}}, files, ())
    assert files == {"a": {"version": "2", "size": 1, "future": {"y": 2, "z": 3}}}


def test_a_merge_patch_does_not_reach_into_what_it_patches():
    old = {"version": "1", "future": {"x": 1}}
    runs = (run({"a": old}),)
    files: dict = {}
    apply_update({"files": {"a": {"version": "2", "future": {"x": 2}}}}, files, runs)
    assert files == {"a": {"version": "2", "future": {"x": 2}}}
    assert old == {"version": "1", "future": {"x": 1}}


def test_a_merge_patch_is_not_reached_into_afterwards():
    patch = {"files": {"a": {"version": "1", "future": {"x": 1}}}}
    files: dict = {}
    apply_update(patch, files, ())
    apply_update({"files": {"a": {"version": "2", "future": {"x": 2}}}}, files, ())
    assert patch == {"files": {"a": {"version": "1", "future": {"x": 1}}}}


def test_an_update_without_files_changes_nothing():
    files = {"a": {"version": "1"}}
    apply_update({"future": 1}, files, ())
    assert files == {"a": {"version": "1"}}


def test_a_view_knows_its_commits():
    view = build_view(document(sessions={"t": 4}), "head", (commit(7, {}),), (), 0.0)
    assert view.has("t", 4) and not view.has("t", 5)
    assert view.has("s", 7) and not view.has("s", 8)
    assert not view.has("u", 0)
    assert not EMPTY.has("s", 0)
    assert EMPTY.look_up("a") is None
    assert list(EMPTY.names()) == []


@given(layers, st.lists(layers, max_size=2), layers, st.lists(layers, max_size=2), st.sets(names))
def test_the_names_that_changed(old_files, old_runs, new_files, new_runs, among):
    old = build_view(document(files=old_files), "1", (), tuple(map(run, old_runs)), 0.0)
    new = build_view(document(files=new_files), "2", (), tuple(map(run, new_runs)), 0.0)
    expected = sorted(name for name in among if old.look_up(name) != new.look_up(name))
    assert sorted(changed_names(old, new, dict.fromkeys(among))) == expected
    assert changed_names(old, old, dict.fromkeys(among)) == []
