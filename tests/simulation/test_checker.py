"""The checker notices each broken promise, and nothing in a history that breaks none."""

from __future__ import annotations

from itertools import count

import pytest

from .checker import check
from .history import (
    Acknowledged,
    Batched,
    Failed,
    Final,
    Invoked,
    Kept,
    Killed,
    Observed,
    Opened,
    Recovered,
    State,
    Told,
    Unknown,
    Watched,
    Withdrawing,
    Withdrawn,
)


def test_a_good_watch_is_good():
    story = two_writes().batch(None, listed=True).put("A", "w3", "x").ack("A", "w3").batch("commit w3")
    assert story.told({"x": "w3"}, {"x": "w3"}).promises() == set()
    story = Story().batch(None, listed=True).put("A", "w1").ack("A", "w1").batch("commit w2", skipped=True)
    assert story.told({"only/w1": "w1"}, {"only/w1": "w1"}).promises() == set()


class Story:
    """A history told in few words: ``put("A", "w1", "x")`` is client A writing w1 to x and to only/w1."""

    def __init__(self):
        self.events = []
        self.ticks = count(1)

    def tell(self, kind, *rest):
        self.events.append(kind(float(next(self.ticks)), *rest))
        return self

    def open(self, client, since=None):
        return self.tell(Opened, client, len(self.events) if since is None else since)

    def put(self, client, write, *keys, own=True, put=True):
        changes = dict.fromkeys(keys, put)
        return self.tell(Invoked, client, write, {**changes, f"only/{write}": True} if own else changes)

    def delete(self, client, write, *keys, own=True):
        return self.put(client, write, *keys, own=own, put=False)

    def ack(self, client, *writes):
        for write in writes:
            self.tell(Acknowledged, client, write, f"commit {write}")
        return self

    def get(self, client, key, write, since=None):
        return self.tell(Observed, client, "get", key, write, len(self.events) if since is None else since)

    def state(self, client, *writes, ids=(), versions=None, **values):
        held = {**{f"only/{write}": write for write in writes}, **values}
        return self.tell(State, client, held, ids, ids if versions is None else versions)

    def final(self, client, *writes, **values):
        return self.tell(Final, client, {**{f"only/{write}": write for write in writes}, **values})

    def unknown(self, client, write):
        return self.tell(Unknown, client, write)

    def batch(self, commit, *, listed=False, skipped=False):
        return self.tell(Batched, "B", "watcher", commit, listed, skipped)

    def told(self, values, resolved, shown=None, read=None, *, last=True):
        return self.tell(Told, "B", "watcher", values, resolved, shown or values, read or resolved, last)

    def promises(self):
        return {violation.promise for violation in check(self.events)}


def two_writes():
    """A writes w1 to x and y; B sees it and answers with w2 at x. All acknowledged."""
    story = Story().open("A").open("B").put("A", "w1", "x", "y").ack("A", "w1")
    return story.get("B", "x", "w1").put("B", "w2", "x").ack("B", "w2")


def test_a_good_history_is_good():
    story = two_writes()
    story.state("A", "w1", x="w1", y="w1", ids=["1"]).state("B", "w1", "w2", x="w2", y="w1", ids=["1", "2"])
    story.get("A", "x", "w1").get("A", "x", "w2").get("A", "x", "w2").get("A", "y", "w1")
    story.delete("A", "w3", "y").get("A", "y", None).ack("A", "w3").state("A", "w1", "w2", "w3", x="w2")
    story.put("A", "w4", "y", own=False).get("A", "y", "w4").tell(Withdrawn, "A", "w4").get("A", "y", None)
    story.open("C").get("C", "y", None).get("C", "x", "w2").tell(Watched, "A", "x", "w2")
    for client in "ABC":
        story.final(client, "w1", "w2", "w3", x="w2")
    assert check(story.events) == []


def test_concurrent_writes_may_come_in_either_order():
    for winner in ("w1", "w2"):
        story = Story().put("A", "w1", "x").put("B", "w2", "x").get("A", "x", "w1").get("B", "x", "w2")
        story.ack("A", "w1").ack("B", "w2").get("A", "x", winner).get("B", "x", winner)
        story.final("A", "w1", "w2", x=winner).final("B", "w1", "w2", x=winner)
        assert check(story.events) == []


def test_a_read_shows_what_was_there_when_it_began():
    story = Story().open("A").open("B").put("A", "w1", "x").ack("A", "w1").get("B", "x", "w1")
    before = len(story.events)
    story.put("A", "w2", "x").ack("A", "w2").get("B", "x", "w2", since=before)
    assert "stale" not in Story.promises(story.get("B", "x", "w1", since=before))
    assert "stale" in Story.promises(story.get("B", "x", "w1"))


def test_what_a_killed_client_did_not_finish_may_be_or_not():
    for extra in ([], ["w2"]):
        story = Story().put("A", "w1", "x").ack("A", "w1").put("A", "w2").tell(Killed, "A")
        assert check(story.open("B").final("B", "w1", *extra, x="w1").events) == []


def moves(*versions, by="CC"):
    """w1 is seen after w2, then before it; its commit counts by one version, then by another perhaps."""
    story = Story().put("A", "w1", "x").put("B", "w2", "x").tell(Killed, "A").tell(Killed, "B")
    story.state(by[0], "w1", "w2", x="w1", ids=["2", "1"], versions=["v2", versions[0]])
    return story.state(by[1], "w1", "w2", x="w2", ids=["1", "2"], versions=[versions[1], "v2"])


COMMITS = {"1": ["w1"], "2": ["w2"]}


@pytest.mark.parametrize("by", ["CC", "CD"])
def test_a_commit_may_move_to_an_earlier_place_when_another_version_of_it_shows_up(by):
    assert check(moves("late", "early", by=by).events, COMMITS) == []


def test_a_commit_does_not_move_without_another_version():
    violations = check(moves("same", "same").events, COMMITS)
    assert [violation.promise for violation in violations] == ["reordered", "reordered"]
    assert "w1" in violations[0].text  # the writes
    assert "same" in violations[1].text  # and the versions


def test_a_commit_does_not_move_to_a_later_place():
    story = moves("late", "early")
    story.state("C", "w1", "w2", x="w1", ids=["2", "1"], versions=["v2", "late"])
    assert {violation.promise for violation in check(story.events, COMMITS)} == {"reordered"}


def test_who_moves_takes_nobody_along():
    story = moves("late", "early")
    story.state("C", ids=["1", "2", "3"], versions=["early", "v2", "v3"])
    assert {violation.promise for violation in check(story.events, COMMITS)} >= {"unseen"}  # of no interest here
    assert not any(violation.promise == "reordered" for violation in check(story.events, COMMITS))
    story.state("C", ids=["1", "3", "2"], versions=["early", "v3", "v2"])
    assert any(violation.promise == "reordered" for violation in check(story.events, COMMITS))


def test_nothing_is_promised_of_what_was_visible_too_late_until_it_is_acknowledged():
    story = Story().put("A", "w1", "x").get("B", "x", "w1").get("B", "x", None).state("B")
    story.tell(Killed, "A")
    assert story.promises() == {"stale", "unseen"}
    assert check(story.events, COMMITS, overdue=["1"]) == []
    story = Story().put("A", "w1", "x").ack("A", "w1").get("B", "x", "w1").get("B", "x", None).state("B")
    assert {violation.promise for violation in check(story.events, COMMITS, overdue=["1"])} == {"stale", "unseen"}


def test_a_watch_tells_of_what_its_client_knew_before_that_was_acknowledged():
    """Its client saw one with w1 and then one without, and told of them later, one after the other."""
    story = Story().put("A", "w1").state("watcher", "w1")
    known = len(story.events)
    story.ack("A", "w1").tell(State, "watcher", {}, (), (), known)
    assert check(story.events, COMMITS, overdue=["1"]) == []
    assert {violation.promise for violation in check(story.events, COMMITS)} == {"unseen"}
    story.tell(State, "watcher", {}, (), (), len(story.events))
    assert {violation.promise for violation in check(story.events, COMMITS, overdue=["1"])} == {"unseen"}


def test_nothing_is_promised_of_the_place_of_what_was_visible_too_late():
    assert check(moves("same", "same").events, COMMITS, overdue=["1"]) == []


BROKEN = {
    "a write gone from the final state": (
        "lost",
        lambda: two_writes().final("A", "w2", x="w2"),
    ),
    "a write gone for a client opened later": (
        "unseen",
        lambda: two_writes().open("C").state("C", "w1", x="w1", y="w1"),
    ),
    "a plain write gone for a client opened later": (
        "stale",
        lambda: Story().put("A", "w1", "x", own=False).ack("A", "w1").open("C").get("C", "x", None),
    ),
    "a commit unseen": (
        "unseen",
        lambda: two_writes().state("A", "w1", "w2", x="w2", y="w1").state("A", "w1", x="w1", y="w1"),
    ),
    "an own acknowledged write not seen": (
        "unseen",
        lambda: Story().put("A", "w1").ack("A", "w1").state("A"),
    ),
    "an own pending write not seen": (
        "stale",
        lambda: Story().put("A", "w1", "x").ack("A", "w1").put("A", "w2", "x").get("A", "x", "w1"),
    ),
    "an own delete not seen": (
        "stale",
        lambda: Story().put("A", "w1", "x").ack("A", "w1").delete("A", "w2", "x").get("A", "x", "w1"),
    ),
    "an older value comes back": (
        "stale",
        lambda: two_writes().get("A", "x", "w2").get("A", "x", "w1"),
    ),
    "an older value comes back in a whole state": (
        "stale",
        lambda: two_writes().state("A", "w1", "w2", x="w1", y="w1"),
    ),
    "a value vanishes": (
        "stale",
        lambda: two_writes().get("A", "x", "w2").get("A", "x", None),
    ),
    "a deleted value comes back": (
        "stale",
        lambda: two_writes().delete("B", "w3", "x").ack("B", "w3").get("B", "x", None).get("B", "x", "w2"),
    ),
    "half a batch, told by its other half": (
        "stale",
        lambda: Story().put("A", "w1", "x", "y").ack("A", "w1").get("B", "x", "w1").get("B", "y", None),
    ),
    "half a batch, without its own key": (
        "partial",
        lambda: Story().put("A", "w1", "x", "y").put("A", "w2", "x").state("B", x="w1", y="w1"),
    ),
    "an answer without its question": (
        "acausal",
        lambda: two_writes().state("A", "w2", x="w2").ack("A"),
    ),
    "an answer without its question, by reads alone": (
        "stale",
        lambda: (
            Story()
            .open("C")
            .put("A", "w1", "x")
            .ack("A", "w1")
            .get("B", "x", "w1")
            .put("B", "w2", "y")
            .get("C", "y", "w2")
            .get("C", "x", None)
        ),
    ),
    "own writes out of order": (
        "acausal",
        lambda: Story().put("A", "w1").put("A", "w2").state("B", "w2"),
    ),
    "two orders of the same writes": (
        "reordered",
        lambda: (
            Story()
            .put("A", "w1", "x")
            .put("B", "w2", "x")
            .state("C", "w1", "w2", x="w1")
            .state("D", "w1", "w2", x="w2")
        ),
    ),
    "three writes in a circle": (
        "reordered",
        lambda: (
            Story()
            .put("A", "w1", "x", "z")
            .put("B", "w2", "x", "y")
            .put("C", "w3", "y", "z")
            .state("D", "w1", "w2", "w3", x="w1", y="w2", z="w3")
        ),
    ),
    "commits in two orders": (
        "reordered",
        lambda: Story().state("A", ids=["1", "2", "3"]).state("B", ids=["1", "3", "2"]),
    ),
    "a commit twice": ("repeated", lambda: Story().state("A", ids=["1", "2", "1"])),
    "clients end differently": (
        "diverged",
        lambda: (
            Story()
            .put("A", "w1", "x")
            .put("B", "w2", "x")
            .final("A", "w1", "w2", x="w1")
            .final("B", "w1", "w2", x="w2")
        ),
    ),
    "a withdrawn write seen": (
        "withdrawn",
        lambda: Story().put("A", "w1", "x").tell(Withdrawn, "A", "w1").get("B", "x", "w1"),
    ),
    "a withdrawn write in a state": (
        "withdrawn",
        lambda: Story().put("A", "w1").tell(Withdrawn, "A", "w1").state("A", "w1"),
    ),
    "a subscription that fell silent": (
        "silent",
        lambda: two_writes().final("A", "w1", "w2", x="w2", y="w1").tell(Watched, "A", "x", "w1"),
    ),
    "a watch that tells of a commit twice": (
        "watched",
        lambda: two_writes().batch("commit w1").batch("commit w1"),
    ),
    "a watch that tells another value": ("watched", lambda: two_writes().told({"x": "w1"}, {"x": "w2"})),
    "a watch that misses a key": ("watched", lambda: two_writes().told({}, {"x": "w2"})),
    "a watch that shows another pending value": (
        "watched",
        lambda: two_writes().told({"x": "w2"}, {"x": "w2"}, {"x": "w2"}, {"x": "w1"}),
    ),
    "a watch that misses a commit": (
        "watched",
        lambda: Story().batch(None, listed=True).put("A", "w1").ack("A", "w1").told({}, {}),
    ),
    "a write without an end": ("stuck", lambda: Story().put("A", "w1")),
    "a write that fails": ("refused", lambda: Story().put("A", "w1").tell(Failed, "A", "w1", "error")),
    "a value of nobody": ("invented", lambda: Story().get("A", "x", "w1")),
    "a value at another key": ("invented", lambda: Story().put("A", "w1", "x").get("A", "y", "w1")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_noticed(name):
    promise, tell = BROKEN[name]
    assert promise in tell().promises()


def killed_after_keeping():
    """A keeps w1 and w2, and is killed before it has sent them; A2 goes on with them."""
    story = Story().open("A").put("A", "w1", "x").put("A", "w2", "x").tell(Kept, "A", "w1").tell(Kept, "A", "w2")
    return story.tell(Killed, "A").open("A2").tell(Recovered, "A2", "A", ("w1", "w2"))


def test_what_was_kept_and_sent_by_the_next_life_is_good():
    story = killed_after_keeping().state("A2").get("A2", "x", "w2").ack("A2", "w1", "w2")
    story.state("A2", "w1", "w2", x="w2").final("A2", "w1", "w2", x="w2")
    assert story.promises() == set()


def test_a_kept_write_that_is_nowhere_is_lost():
    story = killed_after_keeping().ack("A2", "w1", "w2").open("B").final("B", "w2", x="w2")
    assert "lost" in story.promises()


def test_a_kept_write_that_nobody_goes_on_with_is_lost():
    story = Story().open("A").put("A", "w1", "x").tell(Kept, "A", "w1").tell(Killed, "A").open("B").final("B")
    assert "lost" in story.promises()


def test_a_kept_write_may_be_withdrawn():
    story = Story().open("A").put("A", "w1", "x").tell(Kept, "A", "w1").tell(Withdrawing, "A", "w1").tell(Killed, "A")
    assert story.open("B").final("B").promises() == set()


def test_the_next_life_shows_what_was_kept():
    assert "stale" in killed_after_keeping().get("A2", "x", None).promises()


def test_the_next_life_shows_what_the_life_before_has_seen():
    story = Story().open("A").open("B").put("B", "w1", "x").state("A", "w1", x="w1").tell(Killed, "A")
    story.tell(Opened, "A2", 0).tell(Recovered, "A2", "A", ()).state("A2")
    assert "unseen" in story.promises()


def test_who_goes_on_with_a_write_has_to_bring_it_home():
    assert "stuck" in killed_after_keeping().promises()


def test_what_nobody_can_tell_of_may_have_happened_or_not():
    story = Story().open("A").put("A", "w1", "x").get("A", "x", "w1").unknown("A", "w1")
    assert story.state("A").get("A", "x", None).final("A").promises() == set()
    story = Story().open("A").put("A", "w1", "x").unknown("A", "w1").state("B", "w1", x="w1")
    assert story.final("A", "w1", x="w1").promises() == set()


def test_what_nobody_can_tell_of_stays_once_it_was_seen():
    story = Story().open("A").put("A", "w1", "x").unknown("A", "w1").state("B", "w1", x="w1")
    assert "unseen" in story.state("B").promises()
