"""What a manifest says of a key after patches, wherever its past is kept."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from format.test_document import SHA256
from format.test_state import Held, document
from helpers import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from mps3.content.patch import PendingPatch
from mps3.content.value import PendingValue
from mps3.format import limits
from mps3.format.document import CommitEntry
from mps3.format.document_codec import decode, encode
from mps3.format.file_entry import check_file, inline_body, is_same, sha256_of_value, size_of_value
from mps3.format.layers import FrozenLayers
from mps3.format.patches import BASE, REBASES, WAITING, comes_from, patched_body, stored_version
from mps3.format.schema import MalformedError, format_time
from mps3.format.state import EMPTY, build_view, extend_view
from mps3.format.update import apply_update, patched
from mps3.manifest.overlay import ResolvedOverlay, lay

KEY = "a"
START = 1_000_000_000.0
STEPS = [
    {"operations": [{"op": "append", "path": "/log", "value": [1]}]},
    {"operations": [{"op": "add", "path": "/n", "value": 2}]},
    {"operations": [{"op": "add", "path": "/log", "value": 2}]},
    {"operations": [{"op": "add", "path": "", "value": 1}]},
    {"operations": [{"op": "union", "path": "/set", "value": [1, 1.0]}]},
    {"merge": {"n": 1, "log": None}},
    {"merge": {"deep": {"er": {}}}},
    {"merge": {"text": "x" * 15_000}},
]
some_steps = st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=2)
commits = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.sampled_from([None, 1, "text", {"n": 1}, {"log": [0]}]), st.none() | st.integers(0, 6)
        ),
        st.tuples(st.just("store"), st.sampled_from([1, {"n": 1}, {"log": [0]}]), st.none() | st.integers(0, 6)),
        st.tuples(st.just("patch"), some_steps, st.none() | st.integers(0, 6)),
        st.tuples(st.just("patch"), some_steps, st.none()),
        st.tuples(st.just("delete"), st.none(), st.none()),
        st.tuples(st.just("rebase"), st.integers(0, 20), st.none()),
    ),
    min_size=1,
    max_size=9,
)


class History:
    """Commits that change one key, and the objects that are stored for them."""

    def __init__(self, said: list[tuple[str, Any, Any]]) -> None:
        self.objects: dict[str, Any] = {}
        self.entries: list[CommitEntry] = []
        self.files: list[Any] = []  # what is said after each
        for number, (kind, what, expires_in) in enumerate(said):
            change = self.change(kind, what, f"v{number}")
            moment = START + number
            if change is not None and expires_in is not None:
                change["expires"] = format_time(moment + expires_in + 0.5)
            self.entries.append(CommitEntry("s", number, f"c{number}", moment, None, {"files": {KEY: change}}))
            files = dict(self.files[-1]) if self.files else {}
            apply_update(self.entries[-1].update, files, FrozenLayers(()), moment)
            self.files.append(files)

    def change(self, kind: str, what: Any, version: str) -> Any:
        match kind:
            case "put":
                return {"version": version, "value": what, "size": len(orjson.dumps(what))}
            case "store":
                self.objects[version] = what
                return {"version": version, "sha256": SHA256, "size": len(orjson.dumps(what))}
            case "patch":
                return {"version": version, "patch": [STEPS[number] for number in what]}
            case "rebase":
                # Of any state so far: whoever stores a value may be late.
                known = [files[KEY] for files in self.files if KEY in files]
                if not known:
                    return {"version": version, "sha256": SHA256, "size": 1, REBASES: "nothing"}
                file = known[what % len(known)]
                self.objects[version] = self.value(file)
                size = len(orjson.dumps(self.objects[version]))
                return {"version": version, "sha256": SHA256, "size": size, REBASES: file["version"]}
        return None

    def value(self, file: Mapping[str, Any]) -> Any:
        base = file["value"] if "value" in file else self.objects[stored_version(file)]
        return orjson.loads(patched_body(file, base))


def said(view: Any) -> Any:
    return view.look_up(KEY)


def exactly(one: Any, other: Any) -> bool:
    """Whether two files are the same, the value to the byte."""
    return one == other and (one is None or orjson.dumps(one.get("value")) == orjson.dumps(other.get("value")))


def read_again(files: dict[str, Any]) -> dict[str, Any]:
    """Files as they come back from a document."""
    body = encode(document(files=files), bucket="bucket", key="manifest.json")
    return dict(decode(body, bucket="bucket", key="manifest.json", version=None).files)


@settings(max_examples=3 * EXAMPLES)
@given(commits, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_same_wherever_the_past_is_kept(some, first, second, third):
    history = History(some)
    entries = history.entries
    run_to, files_to, built_to = sorted(min(place, len(entries)) for place in (first, second, third))
    expected = history.files[-1].get(KEY)
    frozen = copy.deepcopy([entry.update for entry in entries])

    # Settled commits in runs, and in files over them.
    held = Held()
    settled = read_again(history.files[run_to - 1]) if run_to else {}
    references = held.add(settled) if settled else ()
    under = FrozenLayers(tuple(held.values()))
    files: dict[str, Any] = {}
    for entry in entries[run_to:files_to]:
        apply_update(entry.update, files, under, entry.modified)
    files = read_again(files)
    # Commits above them, at once and one by one.
    base = document(files=files, runs=references)
    view = build_view(base, "head", tuple(entries[files_to:built_to]), held, 0.0)
    for entry in entries[built_to:]:
        view = extend_view(view, entry, "head", base)
    assert exactly(said(view), expected)
    assert [entry.update for entry in entries] == frozen


@settings(max_examples=3 * EXAMPLES)
@given(commits, st.integers(0, 9))
def test_pending_writes_show_what_they_will_make(some, place):
    history = History([one for one in some if one[0] != "rebase"])
    if not history.entries:
        return
    place = min(place, len(history.entries) - 1)
    view = build_view(document(), "head", tuple(history.entries[:place]), {}, 0.0) if place else EMPTY
    laid: dict[str, Any] = {}
    for entry in history.entries[place:]:
        change = entry.files[KEY]
        content: Any = None
        if change is not None and "patch" in change:
            content = PendingPatch("bucket", KEY, orjson.dumps(change["patch"]))
        elif change is not None:
            value = change["value"] if "value" in change else history.objects[change["version"]]
            content = PendingValue("bucket", KEY, orjson.dumps(value))
        if content is not None:
            content.version = change["version"]
        lay(laid, {KEY: content}, laid)
    if any("expires" in (entry.files[KEY] or {}) for entry in history.entries):
        return  # when the time of a pending write begins is not known
    found = ResolvedOverlay(laid, view, START)[KEY]
    if isinstance(found, PendingValue):
        found = {"version": found.version, "value": orjson.loads(found.body)}
    expected = history.files[-1].get(KEY)
    assert (found is None) == (expected is None)
    if found is not None:
        assert orjson.dumps(history.value(found)) == orjson.dumps(history.value(expected))


@settings(max_examples=3 * EXAMPLES)
@given(commits)
def test_storing_a_value_anew_changes_nothing(some):
    history, without = History(some), History([one for one in some if one[0] != "rebase"])
    place = 0
    for entry, files in zip(history.entries, history.files, strict=True):
        file = files.get(KEY)
        if file is not None:
            check_file(orjson.loads(orjson.dumps(file)), "file")
            assert (sha256_of_value(file) is None) == (inline_body(file) is None and WAITING in file)
            assert size_of_value(file) in (None, len(orjson.dumps(history.value(file))))
        if REBASES in (entry.files[KEY] or {}):
            continue
        plain = without.files[place].get(KEY)
        place += 1
        if any(one[2] is not None for one in some):
            continue  # the clock of the shorter history is another
        assert (file is None) == (plain is None)
        if file is not None:
            assert orjson.dumps(history.value(file)) == orjson.dumps(without.value(plain))


def test_the_version_depends_on_what_is_below():
    change = {"version": "p", "patch": [STEPS[1]]}
    versions = {
        patched(current, change)["version"]
        for current in (
            None,
            {"version": "v1", "value": {}, "size": 2},
            {"version": "v2", "value": {}, "size": 2},
            {"version": "v3", "sha256": SHA256, "size": 2},
        )
    }
    assert len(versions) == 4
    assert all(comes_from(version, "p") for version in versions)
    assert not any(comes_from(version, "other") or comes_from(version, "p~") for version in versions)


def test_the_version_depends_on_everything_below():
    one = {"version": "v1", "value": {}, "size": 2}
    other = {**one, "version": "v2"}
    for number in range(5):
        change = {"version": f"p{number}", "patch": [STEPS[1]]}
        one, other = patched(one, change), patched(other, change)
        assert one["version"] != other["version"]
    assert one["value"] == other["value"]
    assert not is_same(one, other)


def test_a_patch_that_does_not_apply_leaves_what_is_there():
    text = {"version": "v", "value": "text", "size": 6}
    assert patched(text, {"version": "p", "patch": [STEPS[3]]}) is text
    assert patched(None, {"version": "p", "patch": [STEPS[2]]}) is not None
    through = {"operations": [{"op": "add", "path": "/a/b", "value": 1}]}
    there = {"version": "v", "value": {"a": "text"}, "size": 12}
    assert patched(there, {"version": "p", "patch": [through]}) is there


def test_an_expiry_is_kept_unless_another_is_said_and_ends_what_is_patched():
    change = {"version": "p", "patch": [STEPS[1]]}
    file = {"version": "v", "value": {"n": 1}, "size": 7, "expires": format_time(START)}
    later = {**change, "expires": format_time(START + 9)}
    assert patched(file, change, START - 1)["expires"] == file["expires"]
    assert patched(file, change, START - 1)["value"] == {"n": 3}
    assert patched(file, later, START - 1)["expires"] == later["expires"]
    assert patched(file, change, START)["value"] == {"n": 2}
    assert "expires" not in patched(file, change, START)


def test_a_value_that_becomes_too_large_is_patched_where_it_is_read():
    file = {"version": "v", "value": {}, "size": 2}
    for number in range(4):
        file = patched(file, {"version": f"p{number}", "patch": [{"merge": {f"{number}": "x" * 20_000}}]})
    assert WAITING in file
    assert len(inline_body(file)) > limits.INLINE
    assert size_of_value(file) == len(inline_body(file))
    check_file(orjson.loads(orjson.dumps(file)), "file")
    stored = patched(file, {"version": "s", "sha256": SHA256, "size": 9, REBASES: file["version"]})
    assert stored == {"version": file["version"], "sha256": SHA256, "size": 9, BASE: "s"}


def test_what_waits_has_a_limit():
    file = {"version": "v", "sha256": SHA256, "size": 2}
    number = 0
    while (after := patched(file, {"version": f"p{number}", "patch": [{"merge": {"a": "x" * 9_000}}]})) is not file:
        file, number = after, number + 1
    assert len(orjson.dumps(file[WAITING])) <= limits.WAITING
    assert number > 20
    check_file(orjson.loads(orjson.dumps(file)), "file")


def test_a_rebase_keeps_the_patches_after_it():
    file = {"version": "v", "sha256": SHA256, "size": 2, "expires": format_time(START)}
    states = [file]
    for number in range(4):
        states.append(patched(states[-1], {"version": f"p{number}", "patch": [STEPS[1]]}, 0))
    for place, then in list(enumerate(states))[1:]:
        made = patched(states[-1], {"version": "s", "sha256": None, "size": 5, REBASES: then["version"]})
        left = [one["version"] for one in made.get(WAITING, ())]
        assert left == [state["version"] for state in states[place + 1 :]]
        assert made["version"] == states[-1]["version"]
        assert stored_version(made) == "s"
        assert made["expires"] == file["expires"]
        assert "sha256" not in made
        assert is_same(states[-1], made)
    assert patched(states[-1], {"version": "s", "size": 5, REBASES: "another"}) is states[-1]
    assert patched(None, {"version": "s", "size": 5, REBASES: "v"}) is None


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ({"version": "v", "patch": [], "value": 1}, True),
        ({"version": "v", "patch": [], "sha256": SHA256}, True),
        ({"version": "v", "patch": [], "rebases": "v"}, True),
        ({"version": "v", "patch": None}, True),
        ({"version": "v", "rebases": 1}, True),
        ({"version": "v", "rebases": "w", "value": 1}, True),
        ({"version": "v", "patches": []}, True),
        ({"version": "v", "base": "w"}, True),
        ({"version": "v", "patch": []}, False),
        ({"version": "v", "rebases": "w"}, False),
        ({"version": "v", "base": 1}, False),
        ({"version": "v", "base": "w", "value": 1}, False),
        ({"version": "v", "patches": {}}, False),
        ({"version": "v", "patches": [[]]}, False),
        ({"version": "v", "patches": [{"steps": []}]}, False),
        ({"version": "v", "patches": [{"version": "w"}]}, False),
        ({"version": "v", "patches": [{"version": "w", "steps": [{"operations": [{}]}]}]}, False),
        ({"version": "v", "patches": [{"version": "w", "steps": []}] * (limits.STEPS + 1)}, False),
        ({"version": "v", "patches": [{"version": "w" * 1_000, "steps": []}] * 300}, False),
    ],
)
def test_what_nobody_can_have_made_is_refused(file, change):
    with pytest.raises(MalformedError, match=re.escape("file")):
        check_file(file, "file", patch=change)
