"""The past of a manifest: what is read of it is the end of what there was, however far back that goes. Said as properties."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from mps3.client.resumption import joined_commits
from mps3.format.document import CommitEntry, Document, visible_before
from mps3.format.layers import FrozenLayers
from mps3.format.state import EMPTY, View
from mps3.journal.merge.order import causal_order, needed, once, store_order
from mps3.journal.merge.replay import Replay
from mps3.journal.merge.versioned_past import VersionedPast
from mps3.storage import Version

START = 1000.0


@dataclass
class Bucket:
    """Versions of a manifest that honest writers made, in the order in which they became visible.

    Attributes:
        window: Seconds: more than any two clocks of the store are apart.
        documents: By version.
        stamps: Of the versions.
    """

    window: float
    documents: dict[str, Document] = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)

    def stored(self, seen: int) -> list[CommitEntry]:
        """What is listed when so many are visible, oldest first."""
        entries = [self.documents[name].entry(name, self.stamps[name]) for name in list(self.documents)[:seen]]
        return sorted(entries, key=lambda one: one.modified)

    def truth(self, seen: int) -> list[CommitEntry]:
        """What counts, in order."""
        return once(causal_order(self.stored(seen)), {})

    def resolve(self, seen: int) -> tuple[Document | None, list[CommitEntry], list[CommitEntry]]:
        """R3 to R5, as everyone does it: the head, all that is unsettled, and of that what counts."""
        stored = self.stored(seen)
        if not stored:
            return None, [], []
        head = self.documents[stored[-1].version]
        listed = list(takewhile(lambda one: one.modified >= head.bound(), reversed(stored)))
        ordered = causal_order(store_order(head.log, listed[::-1]), head.sessions)
        return head, ordered, once(ordered, head.sessions)

    def compose(self, session: str, sequence: int, seen: int) -> Document:
        """R2 and R7."""
        head, ordered, commits = self.resolve(seen)
        blank = Document("merge", self.window, session, sequence, None, {"files": {}})
        if head is None:
            return blank
        log = commits or [self.stored(seen)[-1]]
        bound = visible_before(log[-1].modified, self.window)
        settled = list(takewhile(lambda one: one.modified < bound, log))
        rest = needed(ordered, log[len(settled) :], bound - self.window) if commits else tuple(log)
        sessions = {**head.sessions, **{one.session: one.sequence for one in settled}}
        return replace(blank, previous=log[-1].version, log=rest, sessions=sessions)

    def view(self) -> View:
        """The newest state."""
        head, _, commits = self.resolve(len(self.documents))
        newest = self.stored(len(self.documents))[-1].version
        settled = head.sessions if head else {}
        sessions = {**settled, **{one.session: one.sequence for one in commits}}
        return View(newest, head, tuple(commits), (), sessions, FrozenLayers(()))


@st.composite
def buckets(draw) -> Bucket:
    """Writers who base each commit on the last that they saw, write some of them again, and pause now and then.

    A session goes on only when its last commit is visible; any try may arrive long after the next one.
    """
    skew = draw(st.sampled_from([0, 2]))
    bucket = Bucket(2 * skew + 1.0)
    under_way: list[tuple[str, Document]] = []
    sequences = dict.fromkeys("abc", 0)
    views = dict.fromkeys("abc", 0)
    now = START
    for number in range(draw(st.integers(1, 20))):
        session = draw(st.sampled_from("abc"))
        arrived = [
            at
            for at, one in enumerate(bucket.documents.values(), 1)
            if (one.session, one.sequence) == (session, sequences[session])
        ]
        if not sequences[session] or (arrived and draw(st.booleans())):
            views[session] = max([views[session], *arrived[:1]])
            sequences[session] += 1
        views[session] = draw(st.integers(views[session], len(bucket.documents)))
        under_way.append((f"v{number}", bucket.compose(session, sequences[session], views[session])))
        while under_way and draw(st.integers(0, 3)):
            name, document = under_way.pop(draw(st.integers(0, len(under_way) - 1)))
            now += draw(st.sampled_from([1.0, 1.0, 30.0]))
            bucket.documents[name] = document
            bucket.stamps[name] = now + draw(st.integers(-skew, skew)) + number / 100
    return bucket


class ToldPast(VersionedPast):
    """Reads a bucket, some versions at a time.

    Args:
        bucket: What was written.
        size: Of a page.
        gone: Versions that were collected.
    """

    def __init__(self, bucket: Bucket, size: int, gone: frozenset[str] = frozenset()) -> None:
        super().__init__(None, "bucket", "manifest.json", "merge", None)  # type: ignore[arg-type]
        self.told = bucket
        self.size = size
        self.gone = gone

    async def page(self, start: str | None, limit: int) -> tuple[list[Version], str | None]:
        versions = [
            Version(one.version, one.modified, None, 0, deleted=False)
            for one in reversed(self.told.stored(len(self.told.documents)))
            if one.version not in self.gone
        ]
        first = int(start or 0)
        end = first + self.size
        return versions[first:end], str(end) if end < len(versions) else None

    async def fetch(self, version: Version, known: Any) -> Document | None:
        return None if version.version in self.gone else self.told.documents[version.version]


def walk_through(past: ToldPast, truth: list[CommitEntry], *, whole: bool = True) -> Replay:
    """Go back as far as can be, and look at all that is known on the way."""
    walk = Replay(past, past.told.view())
    walk.versioned = True

    async def go() -> None:
        while await walk.further():
            if whole:
                told = [(one.id, one.version) for one in walk.commits]
                assert told == [(one.id, one.version) for one in truth][len(truth) - len(told) :]
            assert {one.id for one in truth if one.modified > walk.reach} <= {one.id for one in walk.commits}

    asyncio.run(go())
    return walk


def entry(session: str, sequence: int, modified: float) -> CommitEntry:
    return CommitEntry(session, sequence, f"{session}{sequence}", modified, None, {"files": {}})


def test_what_came_before_a_state_is_what_it_has_and_no_more():
    """The store has gone on meanwhile, and a walk begins with what is newest there."""
    walk = Replay(ToldPast(Bucket(1.0), 1), EMPTY)
    settled, forgotten, unsettled = entry("a", 1, 10.0), entry("z", 1, 11.0), entry("b", 1, 20.0)
    news = [entry("a", 2, 30.0), entry("c", 1, 31.0)]
    log = (entry("p", 1, 25.0),)
    document = Document("merge", 1.0, "h", 1, "p1", {"files": {}}, log, sessions={"a": 1, "p": 1})
    view = View("h1", document, (unsettled,), (), {}, FrozenLayers(()))
    walk.commits = [settled, unsettled, *news]
    assert joined_commits(walk, view) == [settled, unsettled]
    walk.commits = news
    assert joined_commits(walk, view) is None
    walk.finished = True
    assert joined_commits(walk, view) == [unsettled]
    walk.commits = [settled, forgotten, *news]
    assert joined_commits(walk, replace(view, commits=())) == [settled, forgotten]


def test_what_no_log_orders_has_its_place_by_the_stamps():
    """Two first commits that arrived late, of which the next one had seen the later; a collection was cut off."""

    def document(session: str, sequence: int, previous: str | None, *log: CommitEntry, **sessions: int) -> Document:
        return Document("merge", 5.0, session, sequence, previous, {"files": {}}, log, sessions=sessions)

    bucket = Bucket(5.0)
    for version, stamp, made in (
        ("b1", 1001.0, document("b", 1, None)),
        ("b2", 1002.0, document("b", 2, "b1", entry("b", 1, 1001.0))),
        ("c1", 1032.0, document("c", 1, None)),
        ("a1", 1033.0, document("a", 1, None)),
        ("a2", 1034.0, document("a", 2, "a1", entry("a", 1, 1033.0), b=2)),
    ):
        bucket.documents[version], bucket.stamps[version] = made, stamp
    walk = walk_through(ToldPast(bucket, 1, frozenset({"b2"})), bucket.truth(5))
    assert [one.version for one in walk.commits] == ["c1", "a1", "a2"]


some_buckets = buckets().filter(lambda bucket: bucket.documents)


@given(some_buckets, st.integers(1, 8))
def test_what_is_read_first_is_the_end_of_what_is_read_in_the_end(bucket, size):
    """However few versions were read: each commit where it is for everyone, by the version that counts, and no other."""
    truth = bucket.truth(len(bucket.documents))
    walk = walk_through(ToldPast(bucket, size), truth)
    assert walk.complete and walk.finished and len(walk.commits) == len(truth)


@given(some_buckets, st.integers(1, 8), st.data())
def test_where_a_collection_was_cut_off_the_past_ends(bucket, size, data):
    """Whatever collections have left of what they may delete: nothing is left out without saying so."""
    stored = bucket.stored(len(bucket.documents))
    bound = bucket.documents[stored[-1].version].bound() - 2 * bucket.window
    old = [one.version for one in stored if one.modified < bound]
    gone = data.draw(st.sets(st.sampled_from(old))) if old else set()
    truth = bucket.truth(len(bucket.documents))
    # If the first of several tries goes, and nobody who saw it is left, the next one has its place.
    whole = len({one.id for one in stored}) == len(stored)
    walk_through(ToldPast(bucket, size, frozenset(gone)), truth, whole=whole)


@given(some_buckets, st.integers(1, 8), st.integers(1, 8), st.data())
def test_a_walk_that_begins_near_a_commit_finds_what_the_whole_walk_finds(bucket, size, step, data):
    """Whatever came later, and wherever the walk begins: up to the commit it tells the same commits in the same order."""
    truth = bucket.truth(len(bucket.documents))
    wanted = data.draw(st.sampled_from(truth))
    past, view = ToldPast(bucket, size), bucket.view()

    async def go(moment: Any, found: Any) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("mps3.journal.merge.version_reader.FIRST", step)
            patched.setattr("mps3.journal.merge.version_search.ROUNDING", 0.0)
            walk = await past.walk_to(view, moment)
            if walk is None:
                return
            place = await walk.find(found)
        assert place is not None
        upto = [(one.id, one.version) for one in walk.commits[: place + 1]]
        known = [(one.id, one.version) for one in truth]
        last = max(number for number, one in enumerate(truth) if found(one))
        assert upto == known[last + 1 - len(upto) : last + 1]
        event("began later")

    asyncio.run(go((wanted.session, wanted.sequence), lambda one: one.id == wanted.id))
    asyncio.run(go(wanted.modified, lambda one: one.modified <= wanted.modified))
