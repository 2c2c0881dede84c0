"""Keys that expire: what is pure of it, from their times in entries and runs to what a commit leaves out."""

from __future__ import annotations

import heapq
import math
from datetime import timedelta
from typing import Any

import pytest
from format.stored_runs import merge, opened, run_of
from hypothesis import given
from hypothesis import strategies as st

from mps3.client.time_to_live import seconds_to_live
from mps3.format.document import CommitEntry, Document
from mps3.format.expiry import Expiries, expired_for_all
from mps3.format.file_entry import expires_of
from mps3.format.layers import FrozenLayers
from mps3.format.schema import format_time
from mps3.format.state import EMPTY, alive, build_view
from mps3.format.update import patched


def file(version: str, expires: float | None = None) -> dict[str, Any]:
    return {"version": version, "size": 1, **({} if expires is None else {"expires": format_time(expires)})}


@pytest.mark.parametrize("span", [0, -1, math.inf, math.nan, timedelta(0), timedelta(seconds=-1)])
def test_a_lifetime_is_positive(span):
    with pytest.raises(ValueError, match="expires_in"):
        seconds_to_live(span)


@pytest.mark.parametrize("span", ["1", True, object()])
def test_a_lifetime_is_a_time(span):
    with pytest.raises(TypeError, match="expires_in"):
        seconds_to_live(span)


def test_lifetimes():
    assert (seconds_to_live(None), seconds_to_live(2), seconds_to_live(timedelta(minutes=1))) == (None, 2.0, 60.0)


def test_a_file_is_there_until_it_expires():
    end = file("1", 1000.5)
    assert expires_of(end) == 1000.5
    assert alive(end, 1000.4) is end
    assert alive(end, 1000.5) is None
    assert alive(file("1"), math.inf) is not None
    assert alive(None, 0.0) is None


def test_the_time_of_a_value_is_not_that_of_the_next():
    old = file("1", 1000.0)
    assert patched(old, {"version": "2", "sha256": None, "size": 1}) == {"version": "2", "size": 1}
    assert patched(old, file("2", 2000.0)) == file("2", 2000.0)
    assert patched(old, {"version": "1", "more": 1}) == {**old, "more": 1}
    assert patched(old, {"version": "1", "expires": None}) == file("1")
    assert patched(old, {"version": "2", "more": {"a": 1}}) == {**file("2"), "more": {"a": 1}}


AWKWARD = ['"expires":', 'a"expires":"x', "\n", "\\", '","expires":', "é"]


def test_a_run_knows_what_expires_in_it():
    files: dict[str, Any] = {name: file("1") for name in AWKWARD}
    assert list(run_of(files).expiring(math.inf)) == []
    assert run_of(files).reference.expires is None
    files["b"] = file("2", 2000.0)
    files[AWKWARD[1]] = file("3", 1000.0)
    files["gone"] = None
    files["nested"] = {**file("4"), "more": {"expires": "never"}}
    run = run_of(files)
    assert sorted(run.expiring(math.inf)) == [(1000.0, AWKWARD[1]), (2000.0, "b")]
    assert list(run.expiring(1999.9)) == [(1000.0, AWKWARD[1])]
    assert list(run.expiring(999.9)) == []
    assert run.reference.expires == 1000.0


def test_a_merge_leaves_out_what_expired():
    old, new = (
        run_of({"a": file("1", 1000.0), "b": file("2"), "c": file("3", 3000.0)}),
        run_of({"b": file("4", 1000.0)}),
    )

    def merged(*, oldest, expired):
        return [
            [name, file]
            for run in opened(merge([old, new], oldest=oldest, expired=expired))
            for name, file in run.items()
        ]

    rest = ["c", file("3", 3000.0)]
    assert merged(oldest=True, expired=1000.0) == [rest]
    assert merged(oldest=False, expired=1000.0) == [["a", None], ["b", None], rest]
    everything = [["a", file("1", 1000.0)], ["b", file("4", 1000.0)], rest]
    assert merged(oldest=True, expired=999.9) == merged(oldest=True, expired=None) == everything


def document(**members: Any) -> Document:
    return Document(
        **{"journal": "merge", "window": 3.0, "session": "s", "sequence": 9, "previous": "v1", "update": {}, **members}
    )


def entry(version: str, modified: float) -> CommitEntry:
    return CommitEntry(version, 1, version, modified, None, {})


def test_nothing_is_left_out_that_a_commit_may_still_be_judged_by():
    log = (entry("v0", 1000.0), entry("v1", 1010.7))
    assert expired_for_all(document(log=log)) == 997.0  # a window before the oldest commit
    assert expired_for_all(document(log=log[1:])) == pytest.approx(1004.7)  # and before what may still be listed
    assert expired_for_all(document(previous=None)) < 0
    assert expired_for_all(document(log=(entry("v1", 0.0),))) < 0  # a store that tells no time


NAMES = st.sampled_from("abc")


WRITES = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(1, 30)), st.integers(0, 3)), max_size=60)


@given(WRITES)
def test_what_expires_is_noticed_once_its_time_has_come(writes):
    expiries, view, files, now, told = Expiries(), EMPTY, {}, 1000.0, dict[str, Any]()
    for number, (name, span, step) in enumerate(writes):
        files = {**files, name: file(str(number), None if span is None else now + span)}
        run = run_of(files) if number % 3 == 0 else None
        view = build_view(document(files={} if run else files), str(number), (), {}, 0.0, view)
        if run is not None:
            view = type(view)(view.head, view.document, (), (run,), {}, FrozenLayers((run,)))
        expiries.update(view)
        now += step
        before = {key: told.get(key) for key in files}
        for key in expiries.take(now):
            told[key] = "gone"
        for key in files:
            present = view.at(now).look_up(key)
            if present is not None:
                told[key] = present
            # Whoever looks when it is told to, and at each new state, has missed nothing.
            elif before[key] is not None:
                assert told[key] == "gone" or key == name
                told[key] = "gone"
        assert expiries.next > now
        assert expiries.until == now


def test_renewals_do_not_pile_up():
    expiries, view = Expiries(), EMPTY
    for number in range(10_000):
        view = build_view(document(files={"a": file(str(number), 1e9 + number)}), str(number), (), {}, 0.0, view)
        expiries.update(view)
    assert len(expiries._heap) < 100
    assert expiries.take(1e9 + 9_998) == []
    assert expiries.take(1e9 + 9_999) == ["a"]
    assert heapq.nsmallest(1, expiries._heap) == []
