"""The state of a manifest: runs, overlaid with files, overlaid with commits."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import chain

import pytest
from format.stored_runs import hold, partly, run_of
from format.test_document import SHA256
from hypothesis import given
from hypothesis import strategies as st

from mps3.format.document import CommitEntry, Document
from mps3.format.layers import FrozenLayers, look_up
from mps3.format.run import NotAtHandError
from mps3.format.run_reference import RunReference, encode_reference
from mps3.format.run_writer import encode_runs
from mps3.format.state import EMPTY, STEP, build_view, changed_names
from mps3.format.update import apply_update, is_whole, names_needed, patched

names = st.sampled_from("abcd")
small_files = st.builds(lambda number: {"version": str(number)}, st.integers(0, 5))
layers = st.dictionaries(names, st.none() | small_files)


class Held(dict):
    """Runs by their names, as they are held in memory."""

    def add(self, files: dict) -> tuple[RunReference, ...]:
        return hold(self, encode_runs(files, 60))


def commit(number: int, files: dict, runs: tuple[RunReference, ...] = ()) -> CommitEntry:
    named = {"runs": [encode_reference(replace(reference, key="x")) for reference in runs]} if runs else {}
    return CommitEntry("s", number, f"v{number}", float(number), None, {"files": files, **named})


def document(**parts: object) -> Document:
    return Document("merge", 3, "s", 0, None, {"files": {}}, **parts)


def overlaid(*over: dict) -> dict:
    state: dict = {}
    for layer in over:
        state.update(layer)
    return {name: file for name, file in state.items() if file is not None}


@given(layers, st.lists(layers, max_size=3), st.lists(layers, max_size=4))
def test_newer_layers_hide_older_ones(files, under, commits):
    held = Held()
    runs = tuple(part for layer in under for part in held.add(layer))
    view = build_view(document(files=files, runs=runs), "head", tuple(map(commit, range(4), commits)), held, 0.0)
    expected = overlaid(*under, files, *commits)
    assert {name: view.look_up(name) for name in "abcd" if view.look_up(name)} == expected
    assert dict(view.items()) == expected
    assert list(view.names()) == sorted(expected)


@given(layers, st.lists(layers, max_size=2), st.lists(layers, max_size=4), st.integers(0, 15))
def test_a_commit_may_be_stored_as_a_run(files, under, commits, large):
    held = Held()
    runs = tuple(part for layer in under for part in held.add(layer))
    entries = tuple(
        commit(number, {}, held.add(change)) if large >> number & 1 else commit(number, change)
        for number, change in enumerate(commits)
    )
    view = build_view(document(files=files, runs=runs), "head", entries, held, 0.0)
    assert dict(view.items()) == overlaid(*under, files, *commits)


@given(layers, st.lists(layers, max_size=2), layers)
def test_building_a_view_changes_nothing_else(files, under, change):
    held = Held()
    base = document(files=files, runs=tuple(part for layer in under for part in held.add(layer)))
    before = copy.deepcopy((files, under, change))
    first = build_view(base, "head", (commit(1, change),), held, 0.0)
    assert (files, under, change) == before
    assert build_view(base, "head", (commit(1, change),), held, 0.0) == first


def test_deleting_leaves_a_tombstone_only_over_a_run():
    files = {"a": {"version": "1"}, "b": {"version": "1"}}
    apply_update({"files": {"a": None, "absent": None}}, files, FrozenLayers(()))
    assert files == {"b": {"version": "1"}}
    apply_update({"files": {"b": None, "c": None}}, files, FrozenLayers((run_of({"b": {"version": "0"}}),)))
    assert files == {"b": None, "c": None}
    assert look_up("b", (files, run_of({"b": {"version": "0"}}))) is None


def test_a_newer_run_hides_an_older_one():
    runs = (run_of({"a": {"version": "1"}, "b": {"version": "1"}}), run_of({"a": None, "b": {"version": "2"}}))
    assert look_up("a", reversed(runs)) is None
    assert look_up("b", reversed(runs)) == {"version": "2"}
    assert look_up("c", reversed(runs)) is None


def test_an_update_is_a_merge_patch():
    files = {"a": {"version": "1", "sha256": SHA256, "size": 1, "future": {"x": 1, "y": 2}}}
    apply_update(
        {"files": {"a": {"version": "2", "sha256": None, "future": {"x": None, "z": 3}}}}, files, FrozenLayers(())
    )
    assert files == {"a": {"version": "2", "size": 1, "future": {"y": 2, "z": 3}}}


def test_a_merge_patch_does_not_reach_into_what_it_patches():
    old = {"version": "1", "future": {"x": 1}}
    runs = (run_of({"a": old}),)
    files: dict = {}
    apply_update({"files": {"a": {"version": "2", "future": {"x": 2}}}}, files, FrozenLayers(runs))
    assert files == {"a": {"version": "2", "future": {"x": 2}}}
    assert old == {"version": "1", "future": {"x": 1}}


def test_a_merge_patch_is_not_reached_into_afterwards():
    patch = {"files": {"a": {"version": "1", "future": {"x": 1}}}}
    files: dict = {}
    apply_update(patch, files, FrozenLayers(()))
    apply_update({"files": {"a": {"version": "2", "future": {"x": 2}}}}, files, FrozenLayers(()))
    assert patch == {"files": {"a": {"version": "1", "future": {"x": 1}}}}


def test_an_update_without_files_changes_nothing():
    files = {"a": {"version": "1"}}
    apply_update({"future": 1}, files, FrozenLayers(()))
    assert files == {"a": {"version": "1"}}


def test_a_view_knows_its_commits():
    view = build_view(document(sessions={"t": 4}), "head", (commit(7, {}),), {}, 0.0)
    assert view.has("t", 4) and not view.has("t", 5)
    assert view.has("s", 7) and not view.has("s", 8)
    assert not view.has("u", 0)
    assert not EMPTY.has("s", 0)
    assert EMPTY.look_up("a") is None
    assert list(EMPTY.names()) == []


changes = st.lists(layers, max_size=3)


@given(layers, st.lists(layers, max_size=2), changes, changes, st.sets(names), st.booleans())
def test_the_names_that_changed(files, under, earlier, later, among, settled):
    held = Held()
    runs = tuple(part for layer in under for part in held.add(layer))
    old = build_view(document(files=files, runs=runs), "1", tuple(map(commit, range(3), earlier)), held, 0.0)
    if settled:  # all that was there, in a run, in a view of somebody who had not seen the last commit
        base = document(files={}, runs=(*runs, *held.add(overlaid_with_tombstones(files, *earlier))), sessions={"s": 3})
    else:
        base = document(files=files, runs=runs)
    kept = () if settled else tuple(map(commit, range(3), earlier))
    new = build_view(base, "2", (*kept, *map(commit, range(4, 7), later)), held, 0.0)
    expected = sorted(name for name in among if old.look_up(name) != new.look_up(name))
    assert sorted(chain(*changed_names(old, new, dict.fromkeys(among)))) == expected
    assert list(chain(*changed_names(old, old, dict.fromkeys(among)))) == []


def overlaid_with_tombstones(*over: dict) -> dict:
    return {name: file for layer in over for name, file in layer.items()}


def test_many_names_are_compared_in_steps():
    files = {f"k{number}": {"version": "1"} for number in range(10 * STEP)}
    old, new = (build_view(document(files=one), version, (), {}, 0.0) for version, one in (("1", {}), ("2", files)))
    steps = list(changed_names(old, new, files))
    assert sorted(chain(*steps)) == sorted(files)
    assert max(map(len, steps)) == STEP


# Inline values

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
expiries = st.just({}) | st.just({"expires": "2026-01-31T12:00:30.000Z"})
inline = st.builds(
    lambda value, version, more: {"value": value, "size": 1, "version": version, **more},
    json_values,
    st.sampled_from("ijk"),
    expiries,
)
stored = st.builds(
    lambda version, more: {"version": version, "sha256": SHA256, "size": 2, **more}, st.sampled_from("stu"), expiries
)
entries = inline | stored


@given(
    st.lists(st.dictionaries(names, st.none() | entries, max_size=4), max_size=5),
    st.integers(0, 31),
    st.integers(0, 31),
)
def test_the_last_file_counts_whole_whether_inline_or_stored(commits, large, settled):
    """In the log, in a run, or settled: a value is replaced, and nothing of the one before stays."""
    held = Held()
    base: dict = {}
    said = []
    # No two values have one version.
    commits = [
        {name: file and {**file, "version": f"{file['version']}{number}"} for name, file in change.items()}
        for number, change in enumerate(commits)
    ]
    for number, change in enumerate(commits):
        if settled >> number & 1 and not said:
            apply_update({"files": change}, base, FrozenLayers(()))
        elif large >> number & 1:
            said.append(commit(number, {}, held.add(change)))
        else:
            said.append(commit(number, change))
    view = build_view(document(files=base), "head", tuple(said), held, 0.0)
    expected = overlaid(*commits)
    assert {name: view.look_up(name) for name in "abcd" if view.look_up(name)} == expected
    assert dict(view.items()) == expected


@given(entries, entries)
def test_a_patch_of_a_value_is_the_file(before, after):
    assert patched(before, after) == after or before["version"] == after["version"]
    assert patched(None, after) == after
    assert patched(before, {"version": "new", "size": 1, "sha256": None}) == {"version": "new", "size": 1}


def test_unknown_members_stay_beside_an_inline_value_and_are_merged():
    before = {"version": "1", "value": {"a": 1}, "size": 7, "future": {"x": 1}, "kind": "k"}
    after = patched(before, {"version": "2", "value": {"b": None}, "size": 10, "future": {"y": 2}})
    assert after == {"version": "2", "value": {"b": None}, "size": 10, "future": {"x": 1, "y": 2}, "kind": "k"}
    assert patched(after, {"version": "2", "future": {"x": None}})["value"] == {"b": None}
    assert before["value"] == {"a": 1} and before["future"] == {"x": 1}
    moved = patched({**before, "expires": "2026-01-31T12:00:30.000Z"}, {"version": "1", "sha256": SHA256, "value": 1})
    assert moved["value"] == 1 and moved["expires"]


WHOLE = [
    {"version": "2", "sha256": SHA256, "size": 1},
    {"version": "2", "value": None, "size": 4},
    {"version": "2", "value": {"a": None}, "size": 10, "expires": "2026-01-31T12:00:30.000Z"},
    {"version": "1", "sha256": SHA256, "size": 1},
]
PARTIAL = [
    {"version": "2", "sha256": SHA256},
    {"version": "2", "sha256": None, "size": 1},
    {"version": "2", "sha256": SHA256, "size": None},
    {"version": "2", "value": 1},
    {"version": "2", "value": 1, "size": None},
    {"version": "2", "value": 1, "size": 1, "expires": None},
    {"version": "2", "value": 1, "size": 1, "kind": "k"},
    {"version": "2", "value": 1, "size": 1, "sha256": None},
]


@pytest.mark.parametrize("change", WHOLE, ids=str)
def test_what_says_all_there_is_to_say_replaces_unknown_members_too(change):
    before = {"version": "1", "value": 1, "size": 1, "future": {"x": 1}, "kind": "k", "expires": "2999-01-01T00:00:00Z"}
    assert is_whole(change) and names_needed({"files": {"a": change, "b": None}}) == []
    assert patched(before, change) == patched(None, change) == change
    files: dict = {}
    missing, _ = partly(run_of({"a": before}), index=False)  # which is not even looked up
    apply_update({"files": {"a": change, "b": None}}, files, FrozenLayers((missing,)))
    assert files == {"a": change, "b": None}


@pytest.mark.parametrize("change", PARTIAL, ids=str)
def test_what_does_not_say_all_needs_what_was_said_before(change):
    before = {"version": "1", "sha256": "f" * 64, "size": 1, "future": {"x": 1}}
    assert not is_whole(change) and names_needed({"files": {"a": change}}) == ["a"]
    assert patched(before, change)["future"] == {"x": 1}
    files: dict = {}
    missing, _ = partly(run_of({"a": before}), index=False)
    with pytest.raises(NotAtHandError):
        apply_update({"files": {"a": change}}, files, FrozenLayers((missing,)))


def test_a_value_that_moves_to_an_object_is_not_inline_any_more():
    before = {"version": "1", "value": {"a": 1}, "size": 7, "expires": "2026-01-31T12:00:30.000Z", "kind": "k"}
    after = patched(before, {"version": "1", "sha256": SHA256})
    assert after == {"version": "1", "sha256": SHA256, "expires": before["expires"], "kind": "k"}
    assert patched(before, {"version": "1", "sha256": None, "size": 8}) == {**before, "size": 8}
    assert patched(before, {"version": "2", "sha256": SHA256}) == {"version": "2", "sha256": SHA256, "kind": "k"}
