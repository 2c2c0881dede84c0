"""Whether a commit landed before a crash, judged from a later state."""

from __future__ import annotations

from mps3.document import Document, Entry
from mps3.offline.doubt import Fate, fate, witnesses
from mps3.state import EMPTY, build_view

UPDATE = {"files": {"a": {"version": "own"}, "b": None}}


def view(settled=None, commits=(), files=None):
    document = Document("merge", 3.0, "s", 1, None, {}, sessions=settled or {}, files=files or {})
    entries = tuple(
        Entry(session, sequence, f"v{number}", float(number), None, {})
        for number, (session, sequence) in enumerate(commits)
    )
    return build_view(document, "head", entries, (), 0.0)


def judge(state, seen=None, sequence=5):
    return fate(state, "me", sequence, UPDATE, seen or {}, most=3)


def test_what_is_in_the_state_has_landed():
    assert judge(view({"me": 5})) is Fate.SETTLED
    assert judge(view({"me": 6})) is Fate.SETTLED
    assert judge(view({"me": 4}, [("me", 5)])) is Fate.LANDED


def test_a_session_that_is_remembered_tells_what_has_not_landed():
    full = {"x": 1, "y": 1}
    assert judge(view({"me": 4, **full})) is Fate.NOT_YET
    assert judge(view({"z": 1, **full}, [("me", 4)])) is Fate.NOT_YET


def test_as_long_as_nothing_was_forgotten_what_is_missing_has_not_landed():
    assert judge(EMPTY) is Fate.NOT_YET
    assert judge(view({"x": 1, "y": 1})) is Fate.NOT_YET


def test_once_sessions_were_forgotten_nobody_knows_unless_a_witness_is_left():
    full = view({"x": 1, "y": 1, "z": 1})
    assert judge(full) is Fate.UNKNOWN
    assert judge(full, {"x": 1}) is Fate.NOT_YET
    assert judge(full, {"x": 0}) is Fate.UNKNOWN  # settled again since, so it proves nothing
    assert judge(full, {"w": 1}) is Fate.UNKNOWN


def test_a_version_that_only_it_can_have_written_proves_that_it_landed():
    full = {"x": 1, "y": 1, "z": 1}
    assert judge(view(full, files={"a": {"version": "own"}})) is Fate.SETTLED
    assert judge(view(full, files={"a": {"version": "other"}})) is Fate.UNKNOWN


def test_witnesses_are_those_settled_last():
    assert witnesses(EMPTY) == {}
    assert witnesses(view({f"s{number}": number for number in range(20)})) == {
        f"s{number}": number for number in range(12, 20)
    }
