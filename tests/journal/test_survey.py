"""Which slots are known to exist, and which free one is tried. Pure."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mps3.journal.log.survey import Survey, lacks

SLOTS = st.frozensets(st.integers(1, 60), max_size=40)


@given(SLOTS, SLOTS, st.integers(0, 30), st.integers(1, 60))
def test_what_is_known_is_what_was_said(first, second, dense, below):
    survey = Survey()
    new = survey.saw(first)
    survey.know(dense)
    survey.saw(second)
    known = first | second | frozenset(range(1, dense + 1))
    assert new == len(first)
    assert survey.floor == next(number for number in range(100) if number + 1 not in known)
    assert survey.above == {number for number in known if number > survey.floor}
    assert survey.holes(below) == [number for number in range(1, below) if number not in known]


@given(SLOTS, st.integers(0, 12), st.integers(0, 12), st.integers(0, 20), st.integers())
def test_one_of_the_first_free_slots_is_chosen(known, lost, won, others, seed):
    survey = Survey()
    survey.saw(known)
    survey.expect(others)
    for _ in range(lost):
        survey.lost()
    for _ in range(won):
        survey.won()
    most = max(1, max(1, others) + lost - won)
    free = [number for number in range(1, 200) if number not in known][:most]
    assert survey.choose(random.Random(seed)) in free


def test_who_meets_nobody_takes_the_next_slot():
    survey = Survey()
    survey.know(7)
    assert {survey.choose(random.Random(seed)) for seed in range(50)} == {8}


def test_all_slots_that_may_be_chosen_are():
    survey = Survey()
    survey.know(7)
    survey.saw([9, 10])
    survey.lost()
    survey.lost()
    assert {survey.choose(random.Random(seed)) for seed in range(100)} == {8, 11, 12}


@given(SLOTS, st.integers(0, 60))
def test_a_listing_of_the_newest_slots_lacks_nothing_that_is_as_new(slots, least):
    listed = [number for number in slots if number >= least]
    assert not lacks(listed, slots) or not listed
    if len(listed) > 1:
        assert lacks([number for number in listed if number != max(listed)], slots)


def test_an_empty_listing_lacks_whatever_is_known():
    assert lacks([], {3})
    assert not lacks([], set())
