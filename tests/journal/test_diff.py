"""From one state of a manifest to the next, as watches see it: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mps3.format.document import CommitEntry, Document
from mps3.format.state import View, build_view
from mps3.journal.diff import advance


def entry(session: str, sequence: int = 1) -> CommitEntry:
    file = {"version": f"{session}{sequence}", "sha256": "0" * 64, "size": 1}
    files = {"k": file, f"own/{session}{sequence}": file}
    return CommitEntry(session, sequence, f"v-{session}{sequence}", 0.0, None, {"files": files})


def view(head: str, settled: list[CommitEntry], *commits: CommitEntry) -> View:
    files: dict[str, Mapping[str, Any]] = {}
    for one in settled:
        files.update(one.files)  # type: ignore[arg-type]
    sessions = {one.session: one.sequence for one in settled}
    document = Document("merge", 3.0, head, 1, None, {"files": {}}, files=files, sessions=sessions)
    return build_view(document, head, commits, {}, 0.0)


def go(old: View, new: View, *delivered: CommitEntry) -> list[str | None] | None:
    steps = advance(old, new, {one.id for one in delivered}, lambda name: True, [""])
    return None if steps is None else [step.id for step in steps]


A, B, C, D = entry("a"), entry("b"), entry("c"), entry("d")


def test_what_is_new_is_told_in_order():
    assert go(view("1", [], A), view("2", [A], B, C), A) == ["b.1", "c.1"]


def test_what_was_settled_and_is_not_there_any_more_is_not_passed_over():
    """It came so late that others had settled past it: the watch must take back what it has told."""
    assert go(view("1", [A, B], C), view("2", [B], C, D), A, B, C) is None


def test_what_takes_another_place_does_so_with_the_first_step():
    """A commit that was written again stands behind what has arrived meanwhile, and hides it from the start."""
    steps = advance(view("1", [], A, B), view("2", [], B, C, A, D), {"a.1", "b.1"}, lambda name: True, [""])
    assert [(step.id, step.files["k"]) for step in steps] == [("c.1", A.files["k"]), ("d.1", D.files["k"])]


def test_what_takes_another_place_does_so_though_nothing_is_new():
    (step,) = advance(view("1", [], A, B), view("2", [], B, A), {"a.1", "b.1"}, lambda name: True, [""])
    assert (step.id, step.files) == (None, {"k": A.files["k"]})
