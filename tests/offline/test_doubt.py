"""Whether a commit landed before a crash, judged from a later state."""

from __future__ import annotations

from mps3.format.document import CommitEntry, Document
from mps3.format.state import EMPTY, build_view
from mps3.journal.outcome import CommitOutcome, kept_markers, outcome_of_kept

UPDATE = {"files": {"a": {"version": "own"}, "b": None}}


def view(settled=None, commits=(), files=None):
    document = Document("merge", 3.0, "s", 1, None, {}, sessions=settled or {}, files=files or {})
    entries = tuple(
        CommitEntry(session, sequence, f"v{number}", float(number), None, {})
        for number, (session, sequence) in enumerate(commits)
    )
    return build_view(document, "head", entries, (), 0.0)


def judge(state, seen=None, sequence=5):
    return outcome_of_kept(state, "me", sequence, UPDATE, seen or {}, most=3)


def test_what_is_in_the_state_has_landed():
    assert judge(view({"me": 5})) is CommitOutcome.SETTLED
    assert judge(view({"me": 6})) is CommitOutcome.SETTLED
    assert judge(view({"me": 4}, [("me", 5)])) is CommitOutcome.LANDED


def test_a_session_that_is_remembered_tells_what_has_not_landed():
    full = {"x": 1, "y": 1}
    assert judge(view({"me": 4, **full})) is CommitOutcome.NOT_YET
    assert judge(view({"z": 1, **full}, [("me", 4)])) is CommitOutcome.NOT_YET


def test_as_long_as_nothing_was_forgotten_what_is_missing_has_not_landed():
    assert judge(EMPTY) is CommitOutcome.NOT_YET
    assert judge(view({"x": 1, "y": 1})) is CommitOutcome.NOT_YET


def test_once_sessions_were_forgotten_nobody_knows_unless_a_witness_is_left():
    full = view({"x": 1, "y": 1, "z": 1})
    assert judge(full) is CommitOutcome.UNKNOWN
    assert judge(full, {"x": 1}) is CommitOutcome.NOT_YET
    assert judge(full, {"x": 0}) is CommitOutcome.UNKNOWN  # settled again since, so it proves nothing
    assert judge(full, {"w": 1}) is CommitOutcome.UNKNOWN


def test_a_version_that_only_it_can_have_written_proves_that_it_landed():
    full = {"x": 1, "y": 1, "z": 1}
    assert judge(view(full, files={"a": {"version": "own"}})) is CommitOutcome.SETTLED
    assert judge(view(full, files={"a": {"version": "other"}})) is CommitOutcome.UNKNOWN


def test_witnesses_are_those_settled_last():
    assert kept_markers(EMPTY) == {}
    assert kept_markers(view({f"s{number}": number for number in range(20)})) == {
        f"s{number}": number for number in range(12, 20)
    }
