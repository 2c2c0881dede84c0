"""Where a watch goes on: pure."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from journal.test_diff import A, B, C, D, entry, view

from mps3.format.document import CommitEntry
from mps3.format.state import View
from mps3.journal.cursors import ORDERED, Cursors, Position, cursor_of
from mps3.journal.diff import Step, replay


def cursor(state: View, *delivered: CommitEntry) -> Position:
    """The cursor after some commits of a state."""
    done = [state.commits.index(one) for one in delivered]
    return Position.read(Cursors(state, state.commits).after(done[-1], set(done)))


def go_on(position: Position, new: View) -> list[Step]:
    fresh = position.fresh(new.commits, -1.0, {})
    assert fresh is not None
    return replay(new, new.commits, set(fresh), lambda name: True, [""], None, position.delivered())


def late(one: CommitEntry) -> CommitEntry:
    return replace(one, modified=-10.0)


def test_a_cursor_is_read_as_it_was_written():
    position = cursor(view("1", [D], A, B, entry("a", 2)), A, B, entry("a", 2))
    assert position.order == (("a", 1), ("b", 1), ("a", 2))
    assert Position.read(replace(position, moment=7.0).written()) == replace(position, moment=7.0)


@pytest.mark.parametrize("order", [None, "ab", [0.5, 0], [-1, 0], [7, 0], [True, 0], {}])
def test_an_order_that_nobody_wrote_is_no_cursor(order):
    text = orjson.dumps(["a.1", 1.0, {"a": 1}, [], "", order]).decode()
    assert Position.read(text) == Position(text)


def test_no_order_is_told_of_very_many():
    commits = [entry("a", sequence) for sequence in range(1, ORDERED + 2)]
    assert Position.read(str(cursor_of(view("1", [], *commits)))).order == ()


def test_what_became_visible_too_late_is_told_of_sessions_that_the_cursor_mentions():
    """It is older than all that was delivered, by its time stamp, and others have built on it."""
    position = replace(cursor(view("1", [A], B), B), bound=0.0)
    assert position.fresh([late(entry("a", 2)), B, C], -1.0, {"a": 1}) == ["a.2", "c.1"]


def test_what_became_visible_too_late_is_told_of_a_new_session():
    position = replace(cursor(view("1", [A], B), B), bound=0.0)
    assert position.fresh([late(C), B], -1.0, {}) == ["c.1"]


def test_what_was_settled_meanwhile_is_further_back():
    position = replace(cursor(view("1", [A], B), B), bound=0.0)
    assert position.fresh([B, C], -1.0, {"a": 2}) is None
    assert position.fresh([B, C], -1.0, {"a": 1}) == ["c.1"]


def test_what_has_taken_another_place_is_told_with_the_next_step():
    position = cursor(view("1", [], A, B), A, B)
    steps = go_on(position, view("2", [], B, C, A, D))
    assert [(step.id, step.files["k"]) for step in steps] == [("c.1", A.files["k"]), ("d.1", D.files["k"])]


def test_what_has_taken_another_place_is_told_though_nothing_is_new():
    (step,) = go_on(cursor(view("1", [], A, B), A, B), view("2", [], B, A))
    assert (step.id, step.files) == (None, {"k": A.files["k"]})


def test_what_has_its_place_is_not_told_again():
    assert go_on(cursor(view("1", [], A, B), A, B), view("2", [], A, B)) == []
    (step,) = go_on(cursor(view("1", [], A, B), A, B), view("2", [], A, C, B))
    assert step.files.keys() == {"own/c1"}


def test_a_state_without_what_was_delivered_is_an_older_one():
    position = cursor(view("1", [], A, B), A, B)
    assert position.is_ahead_of(view("0", [], A))
    assert not position.is_ahead_of(view("2", [A], B))
