"""A history is the same state wherever it is cut: into what is settled, runs, the log, and what is pending."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import orjson
from format.stored_runs import hold
from helpers import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from mps3.content.patch import PendingPatch
from mps3.format import limits
from mps3.format.document import CommitEntry
from mps3.format.file_entry import check_file
from mps3.format.layers import FrozenLayers
from mps3.format.operations import check_steps, fold
from mps3.format.patches import PATCH, WAITING, comes_from, is_patch, stored_version
from mps3.format.run import Run
from mps3.format.run_writer import encode_runs
from mps3.format.schema import format_time
from mps3.format.slot import empty_document
from mps3.format.state import build_view, extend_view
from mps3.format.update import apply_update, patched
from mps3.manifest.overlay import PatchStack
from mps3.types import DELETE

KEYS = ["a", "b"]
LEAVES: Any = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, "x", "large"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from(["", "/p", "/q", "/p/q", "/r/0", "/p~1"])
OPERATIONS = st.one_of(
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["add", "max", "min"]),
        PATHS,
        st.integers(-3, 3) | st.just(0.25),
    ),
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["append", "prepend", "union", "remove"]),
        PATHS,
        st.lists(LEAVES.filter(lambda leaf: not isinstance(leaf, str) or len(leaf) < 9), max_size=2),
    ),
    st.builds(lambda path: {"op": "set", "path": path, "value": None}, PATHS),
)
MERGES = st.dictionaries(
    st.sampled_from("pqr"),
    st.none() | st.integers(0, 9) | st.dictionaries(st.sampled_from("qr"), LEAVES, max_size=2),
    max_size=2,
)
STEPS = st.lists(
    st.one_of(
        st.builds(lambda merge: {"merge": merge}, MERGES),
        st.builds(lambda one: {"operations": one}, st.lists(OPERATIONS, min_size=1, max_size=2)),
        st.builds(lambda merge, one: {"merge": merge, "operations": one}, MERGES, st.lists(OPERATIONS, max_size=2)),
    ),
    min_size=1,
    max_size=3,
)
EVENTS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), VALUES, st.booleans(), st.none() | st.integers(1, 30)),
    st.tuples(st.just("patch"), st.sampled_from(KEYS), STEPS, st.booleans(), st.none() | st.integers(1, 30)),
    st.tuples(st.just("patch"), st.sampled_from(KEYS), STEPS, st.booleans(), st.none() | st.integers(1, 30)),
    st.tuples(st.just("delete"), st.sampled_from(KEYS), st.none(), st.booleans(), st.none()),
    st.tuples(st.just("rebase"), st.sampled_from(KEYS), st.integers(0, 3), st.booleans(), st.none()),
)


def expanded(value: Any) -> Any:
    """With texts in the place of their names that make values too large to be inline."""
    if isinstance(value, dict):
        return {name: expanded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [expanded(one) for one in value]
    return "y" * 25_000 if value == "large" and isinstance(value, str) else value


def history(events: list[Any]) -> tuple[list[CommitEntry], dict[str, Any], dict[str, Any]]:
    """The commits that some events are, what is stored, and what is said in the end, each folded upon the one before."""
    commits: list[CommitEntry] = []
    stored: dict[str, Any] = {}
    files: dict[str, Any] = {}
    seen: dict[str, list[Any]] = {key: [] for key in KEYS}
    for number, (kind, key, what, aside, lifetime) in enumerate(events, 1):
        version, moment = f"v{number}", 1000.0 + 10 * number
        what = expanded(what)
        expires = {} if lifetime is None else {"expires": format_time(moment + lifetime)}
        change: Any = None
        if kind == "put":
            body = orjson.dumps(what)
            if aside or len(body) > 60_000:
                stored[version] = what
                change = {"version": version, "sha256": "0" * 64, "size": len(body), **expires}
            else:
                change = {"version": version, "value": what, "size": len(body), **expires}
        elif kind == "patch":
            if len(orjson.dumps(what)) > limits.PATCH:
                continue  # a client refuses it
            check_steps(what, "steps")
            change = {"version": version, PATCH: what, **expires}
        elif kind == "rebase":
            if len(seen[key]) <= what:
                continue
            file = seen[key][-1 - what]
            stored[version] = value_of(file, stored)
            size = len(orjson.dumps(stored[version]))
            change = {"version": version, "sha256": "1" * 64, "size": size, "rebases": file["version"]}
        if change is not None:
            check_file(change, "change", patch=True)
        commits.append(CommitEntry("s", number, str(number), moment, None, {"files": {key: change}}))
        before = copy.deepcopy(files)
        apply_update(commits[-1].update, files, FrozenLayers(()), moment)
        assert kind != "rebase" or all(
            value_of(before[name], stored) == value_of(files[name], stored)
            and before[name]["version"] == file["version"]
            for name, file in files.items()
        )
        if files.get(key) is not None:
            seen[key].append(files[key])
    for name, file in files.items():
        check_file(file, name)
    return commits, stored, files


def value_of(file: Any, stored: dict[str, Any]) -> Any:
    if file is None:
        return DELETE
    base = file["value"] if "value" in file else stored[stored_version(file)]
    return fold(base, [step for one in file.get(WAITING, ()) for step in one["steps"]])[0]


@settings(max_examples=3 * EXAMPLES)
@given(st.lists(EVENTS, max_size=14), st.data())
def test_a_history_is_one_state_wherever_it_is_cut(events, data):
    commits, stored, expected = history(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(commits)), min_size=4, max_size=4)))
    run_until, settled_until, built_until, extended_until = cuts
    held: dict[str, Run] = {}
    document = empty_document(3.0)

    files: dict[str, Any] = {}
    for commit in commits[:run_until]:
        apply_update(commit.update, files, FrozenLayers(()), commit.modified)
    if files:
        document, files = replace(document, runs=hold(held, encode_runs(files, 10**9))), {}
    for commit in commits[run_until:settled_until]:
        apply_update(commit.update, files, FrozenLayers(tuple(held.values())), commit.modified)
    document = replace(document, files=files)

    view = build_view(document, "head", tuple(commits[settled_until:built_until]), held, 0.0)
    for commit in commits[built_until:extended_until]:
        view = extend_view(view, commit, commit.version, document, held)
    for key in KEYS:
        found: Any = view.look_up(key)
        for commit in commits[extended_until:]:
            # The last ones are pending: a client applies its own to what it sees.
            change = commit.files.get(key)
            if key not in commit.files:
                continue
            if is_patch(change) and "expires" not in change:
                content = PendingPatch("bucket", key, orjson.dumps(change[PATCH]))
                content.version = change["version"]
                found = PatchStack(content).resolve(found, commit.modified)
            else:
                found = None if change is None else patched(found, change, commit.modified)
        wanted = expected.get(key)
        assert value_of(found, stored) == value_of(wanted, stored)
        assert (found or {}).get("version") == (wanted or {}).get("version")
        assert (found or {}).get("expires") == (wanted or {}).get("expires")


@settings(max_examples=3 * EXAMPLES)
@given(VALUES | st.just(DELETE), STEPS)
def test_patches_that_are_joined_do_what_they_do_one_by_one(value, steps):
    """Unless a number overflows on the way, which these do not."""
    parts = [PendingPatch("bucket", "k", orjson.dumps([step])) for step in steps]
    whole = parts[0]
    for part in parts[1:]:
        whole = part.after(whole)
    one_by_one, errors = fold(value, steps)
    together, errors_together = fold(value, whole.steps)
    assert orjson.dumps([one_by_one], default=repr) == orjson.dumps([together], default=repr)
    for part, error in zip(parts, errors, strict=True):
        of_part = [errors_together[place] for place in whole.places()[part]]
        assert [one is not None for one in of_part] == [error is not None]


@settings(max_examples=2 * EXAMPLES)
@given(VALUES, STEPS)
def test_nothing_that_is_folded_is_changed(value, steps):
    before = copy.deepcopy((value, steps))
    fold(value, steps)
    assert (value, steps) == before


def test_a_version_tells_what_it_was_made_of():
    patch = {"version": "p", PATCH: [{"operations": [{"op": "add", "path": "", "value": 1}]}]}
    below = [None, {"version": "1", "value": 1, "size": 1}, {"version": "2", "value": 1, "size": 1}]
    made = [patched(one, patch) for one in below]
    assert len({one["version"] for one in made}) == 3
    assert all(comes_from(one["version"], "p") and not comes_from(one["version"], "q") for one in made)
