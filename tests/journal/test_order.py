"""The order of commits (R3 to R5): pure, and said as properties."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mps3.format.document import CommitEntry, commit_id
from mps3.journal.merge.order import _is_causal, causal_order, needed, once, store_order


def entry(version: str, session: str = "s", sequence: int = 0, previous: str | None = None) -> CommitEntry:
    return CommitEntry(session, sequence, version, 0.0, previous, {"files": {}})


def versions(entries: list[CommitEntry]) -> list[str]:
    return [one.version for one in entries]


@st.composite
def histories(draw, *, skew: int = 1000) -> list[CommitEntry]:
    """Commits in the store's order, which may differ from that of cause and effect by ``skew`` places."""
    made: list[CommitEntry] = []
    sequences: dict[str, int] = {}
    for number in range(draw(st.integers(0, 12))):
        session = draw(st.sampled_from("abc"))
        if session in sequences and draw(st.integers(0, 3)) == 0:
            sequence = sequences[session]  # an answer was lost: written again
        else:
            sequence = sequences[session] = sequences.get(session, -1) + 1
        previous = draw(st.none() | st.sampled_from(made)) if made else None
        made.append(entry(f"v{number}", session, sequence, previous and previous.version))
    shift = {one.version: place + draw(st.integers(0, skew)) for place, one in enumerate(made)}
    return sorted(made, key=lambda one: (shift[one.version], one.version))


@dataclass(frozen=True)
class Told:
    """What honest writers did.

    Attributes:
        visible: All versions in the order in which they became visible, one a second, with the store's stamps.
        window: Seconds: more than any two clocks of the store are apart.
    """

    visible: list[CommitEntry]
    window: float

    def stored(self, seen: int) -> list[CommitEntry]:
        """What is listed when so many are visible, oldest first."""
        return sorted(self.visible[:seen], key=lambda one: one.modified)

    def ordered(self, seen: int) -> list[CommitEntry]:
        return causal_order(self.stored(seen))


@st.composite
def honest(draw) -> Told:
    """Writers who base each commit on the last that they saw, and write some of them again.

    A session goes on only when its last commit is visible; a first try may arrive long after the second.
    """
    skew = draw(st.sampled_from([0, 2, 4]), label="skew")
    told = Told([], 2 * skew + 1.0)
    under_way: list[CommitEntry] = []
    sequences = dict.fromkeys("abc", -1)
    views = dict.fromkeys("abc", 0)
    for number in range(draw(st.integers(0, 16))):
        session = draw(st.sampled_from("abc"))
        arrived = [at for at, one in enumerate(told.visible) if one.id == commit_id(session, sequences[session])]
        if sequences[session] < 0 or (arrived and draw(st.integers(0, 2)) > 0):
            views[session] = max([views[session], *(at + 1 for at in arrived[:1])])
            sequences[session] += 1
        views[session] = draw(st.integers(views[session], len(told.visible)), label="seen")
        commits = once(told.ordered(views[session]), {})
        under_way.append(entry(f"v{number}", session, sequences[session], commits[-1].version if commits else None))
        while under_way and draw(st.integers(0, 2)):
            arriving = under_way.pop(draw(st.integers(0, len(under_way) - 1)))
            now = len(told.visible)
            told.visible.append(replace(arriving, modified=now + draw(st.integers(-skew, skew)) + now / 100))
    return told


@given(honest(), st.data())
def test_no_version_that_arrives_later_changes_the_order_of_the_others(told, data):
    """The place of a version depends only on what its writer knew: a late first try moves nobody else."""
    seen = data.draw(st.integers(0, len(told.visible)), label="seen")
    before = versions(told.ordered(seen))
    after = [version for version in versions(told.ordered(len(told.visible))) if version in before]
    assert after == before


@given(honest(), st.data())
def test_logs_and_what_is_settled_stand_in_for_all_that_was_ever_written(told, data):
    """R3, R7: three times somebody resolves what was written so far and composes a document from that."""
    log: tuple[CommitEntry, ...] = ()
    sessions: dict[str, int] = {}
    bound = -math.inf
    done: list[str] = []
    seen = 0
    for _ in range(3):
        seen = data.draw(st.integers(seen, len(told.visible)), label="seen")
        listed = [one for one in told.stored(seen) if one.modified >= bound]
        ordered = causal_order(store_order(log, listed), sessions)
        commits = once(ordered, sessions)
        assert done + versions(commits) == versions(once(told.ordered(seen), {}))
        if not commits:
            continue
        bound = commits[-1].modified - told.window
        settled = list(takewhile(lambda one, bound=bound: one.modified < bound, commits))
        done += versions(settled)
        sessions |= {one.session: one.sequence for one in settled}
        log = needed(ordered, commits[len(settled) :], bound - told.window)


@given(histories())
def test_every_version_is_in_the_order_once(stored):
    assert sorted(versions(causal_order(stored))) == sorted(versions(stored))


@given(histories())
def test_no_commit_is_before_the_one_it_was_based_on(stored):
    place = {version: index for index, version in enumerate(versions(causal_order(stored)))}
    assert all(place[one.previous] < place[one.version] for one in stored if one.previous)


@given(histories(), st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)))
def test_each_commit_counts_once_and_in_the_order_of_its_session(stored, settled):
    kept = once(causal_order(stored), settled)
    for session in "abc":
        made = {one.sequence for one in stored if one.session == session}
        expected = sorted(sequence for sequence in made if sequence > settled.get(session, -1))
        assert [one.sequence for one in kept if one.session == session] == expected


@given(histories(skew=0))
def test_an_order_that_needs_no_change_gets_none(stored):
    assert causal_order(stored) == stored


@given(histories())
def test_ordering_twice_changes_nothing(stored):
    ordered = causal_order(stored)
    assert causal_order(ordered) == ordered


@given(histories(), st.permutations("abc"), st.integers())
def test_the_order_depends_on_no_name(stored, names, seed):
    """Neither the names of sessions and versions nor the order of any dictionary made from them count."""
    session = dict(zip("abc", names, strict=True))
    labels = [f"w{number}" for number in range(len(stored))]
    random.Random(seed).shuffle(labels)
    version = dict(zip(versions(stored), labels, strict=True))
    renamed = [
        entry(version[one.version], session[one.session], one.sequence, version.get(one.previous)) for one in stored
    ]
    assert versions(causal_order(renamed)) == [version[one] for one in versions(causal_order(stored))]


@given(histories(), st.data())
def test_a_log_stands_in_for_what_is_not_listed(stored, data):
    """R3: whoever lists far back and whoever lists less far and has a log resolve the same order."""
    ordered = causal_order(stored)
    resolved = once(ordered, {})
    listed = stored[data.draw(st.integers(0, len(stored)), label="unlisted") :]
    assert versions(once(causal_order(store_order(needed(ordered, resolved, -math.inf), listed)), {})) == versions(
        resolved
    )


@given(histories(skew=0), st.data())
def test_siblings_find_their_place_without_skew(stored, data):
    """The head's writer did not see some of the listed versions; readers merge them all the same."""
    cut = data.draw(st.integers(0, len(stored)), label="unlisted")
    seen = [one for one in stored[cut:] if data.draw(st.booleans(), label=one.version)]
    log = causal_order(stored[:cut] + seen)
    assert versions(causal_order(store_order(log, stored[cut:]))) == versions(causal_order(stored))


@given(histories())
def test_each_version_is_taken_from_log_or_listing_but_once(stored):
    assert versions(store_order(stored, stored)) == versions(stored)
    assert versions(store_order(stored, [])) == versions(stored)
    assert versions(store_order([], stored)) == versions(stored)


def test_cause_before_effect_though_the_store_says_otherwise():
    effect, cause = entry("2", "b", 0, previous="1"), entry("1", "a", 0)
    other = entry("0", "c", 0)
    assert versions(causal_order([effect, other, cause])) == ["0", "1", "2"]


def test_a_session_keeps_its_order_though_the_store_says_otherwise():
    assert versions(causal_order([entry("b", sequence=1), entry("x", "t"), entry("a", sequence=0)])) == ["x", "a", "b"]


def test_a_later_commit_may_follow_the_first_of_several_repetitions():
    first, again = entry("1", sequence=0), entry("3", sequence=0)
    assert versions(causal_order([first, entry("2", sequence=1), again])) == ["1", "2", "3"]


def late_first_try() -> tuple[CommitEntry, ...]:
    """The store's order of: a cause with a late stamp, two tries on a commit, and what followed the second of them."""
    cause = entry("cause", "a")
    second = entry("second", "b", 2, previous="cause")
    follower = entry("follower", "b", 3, previous="second")
    first = entry("first", "b", 2)
    return second, first, follower, cause


def test_a_first_try_that_arrives_late_moves_its_own_commit_and_no_other():
    second, first, follower, cause = late_first_try()
    assert versions(once(causal_order([second, follower, cause]), {})) == ["cause", "second", "follower"]
    assert versions(once(causal_order([second, first, follower, cause]), {})) == ["first", "cause", "follower"]


@pytest.mark.parametrize("sessions", [{"b": 1}, {"b": 2}])
def test_a_log_keeps_the_try_that_another_commit_was_based_on(sessions):
    ordered = causal_order(late_first_try(), sessions)
    commits = once(ordered, sessions)
    log = needed(ordered, commits, -math.inf)
    assert [one.version for one in log if one.version != "first"] == ["cause", "second", "follower"]
    for listed in ([], [late_first_try()[3]], late_first_try()[2:]):
        assert once(causal_order(store_order(log, listed), sessions), sessions) == commits


def test_a_log_keeps_no_try_that_is_old_nor_one_before_all_that_counts():
    old, young, kept = (
        entry("old", "a"),
        replace(entry("young", "a"), modified=5.0),
        replace(entry("kept", "b"), modified=1.0),
    )
    assert versions(list(needed([young, kept, old, young], [kept], 4.0))) == ["kept", "young"]


def test_late_repetitions_of_what_is_settled_draw_only_those_who_were_based_on_them():
    stored = [entry("2", "a", 1, previous="long ago"), entry("3", "b", 0, previous="again"), entry("again", "a", 0)]
    assert versions(causal_order(stored, {"a": 0})) == ["2", "again", "3"]
    assert versions(once(causal_order(stored, {"a": 0}), {"a": 0})) == ["2", "3"]


def test_a_place_does_not_depend_on_how_far_back_the_listing_goes():
    """Two commits behind the same third, one of them by its session, too: depth counts, not position."""
    anchor, one, two = entry("0", "x"), entry("1", "c", 0, previous="0"), entry("2", "c", 1, previous="0")
    other = entry("3", "y", 0, previous="0")
    for stored in ([two, one, other, anchor], [one, two, other, anchor]):
        assert versions(causal_order(stored)) == ["0", "1", "3", "2"]


def test_what_it_was_based_on_may_be_settled_already():
    assert versions(causal_order([entry("2", previous="long ago"), entry("3", "t")])) == ["2", "3"]


def test_a_repetition_is_skipped_also_when_settled():
    entries = [entry("1", "a", 3), entry("2", "a", 4), entry("3", "a", 4), entry("4", "b", 0)]
    assert versions(once(entries, {"a": 3})) == ["2", "4"]


@pytest.mark.parametrize(
    "entries",
    [
        [entry("1", "a", 0, previous="1")],
        [entry("1", "a", 0, previous="2"), entry("2", "b", 0, previous="1")],
        [entry("1", "a", 0, previous="3"), entry("2", "b", 0, previous="1"), entry("3", "c", 0, previous="2")],
        [entry("1", "a", 0, previous="2"), entry("2", "a", 1)],
    ],
)
def test_circles_are_cut(entries):
    ordered = versions(causal_order([entry("x", "x"), *entries, entry("y", "y")]))
    assert sorted(ordered) == sorted(["x", "y", *versions(entries)])
    assert (ordered[0], ordered[-1]) == ("x", "y")


def test_a_forged_commit_of_a_session_comes_after_what_its_owner_builds_upon_it():
    forged = entry("2", "a", 10**9, previous="1")
    assert versions(causal_order([entry("1", "a", 1), forged, entry("3", "a", 2, previous="2")])) == ["1", "3", "2"]


def test_long_chains_need_no_deep_stack():
    chain = [entry(str(number), f"s{number}", 0, previous=str(number - 1)) for number in range(5000)]
    assert versions(causal_order(chain[::-1])) == versions(chain)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.sampled_from("1234"), st.sampled_from(["1", "2", "3", "4", None])), max_size=6))  # fmt: skip
def test_anything_that_has_the_shape_of_a_log_is_ordered(made):
    log = [entry(version, session, sequence, previous) for session, sequence, version, previous in made]
    ordered = causal_order(store_order(log, []))
    assert len(ordered) == len(store_order(log, []))
    kept = once(ordered, {})
    assert len({one.id for one in kept}) == len(kept)


@given(histories(), st.dictionaries(st.sampled_from("abc"), st.integers(-1, 3)), st.data())
def test_what_is_in_its_order_already_is_not_moved(entries, settled, data):
    """Whatever is settled, and logged: the short way is the long way."""
    log = data.draw(st.lists(st.sampled_from(entries), unique_by=lambda one: one.version)) if entries else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mps3.journal.merge.order._is_causal", lambda entries: False)
        whole = causal_order(entries, settled, log)
    assert causal_order(entries, settled, log) == whole


def test_most_entries_are_in_their_order():
    entries = [entry("a", "s", 0), entry("b", "t", 5, "a"), entry("c", "s", 1, "b")]
    assert _is_causal(entries)
    assert not _is_causal(entries[::-1])
    assert not _is_causal([*entries, entry("d", "s", 1)])
