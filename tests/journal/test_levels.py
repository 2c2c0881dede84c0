"""When files spill and runs merge, without any store."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from format.stored_runs import hold, merge
from hypothesis import given
from hypothesis import strategies as st

from mps3.format.layers import FrozenLayers, look_up
from mps3.format.run_reference import RunReference
from mps3.format.run_writer import encode_runs
from mps3.format.update import apply_update
from mps3.journal import levels
from mps3.journal.levels import Merge, Spill, due

NAMES = "abcd"
some_files = st.dictionaries(st.sampled_from(NAMES), st.builds(lambda n: {"version": str(n)}, st.integers(0, 9)))
layer = st.dictionaries(
    st.sampled_from(NAMES), st.none() | st.builds(lambda n: {"version": str(n)}, st.integers(0, 9)), min_size=1
)
change = st.dictionaries(
    st.sampled_from(NAMES), st.none() | st.builds(lambda n: {"version": str(n)}, st.integers(10, 19))
)
HELD: dict = {}


def stored(files, most=2**20):
    return hold(HELD, encode_runs(files, most))


def merged(sources, *, oldest):
    return hold(HELD, merge([HELD[one.sha256] for one in sources], oldest=oldest))


def state(files, runs):
    layers = [files, *(HELD[reference.sha256] for reference in reversed(runs))]
    return {name: look_up(name, layers) for name in NAMES}


def sized(*sizes, continues=()):
    return tuple(named(f"{number}", size, continues=number in continues) for number, size in enumerate(sizes))


def named(sha256, size, **more):
    return RunReference("", sha256, 1, size, 1, "a", "b", **more)


@given(st.lists(layer, max_size=3), layer, layer)
def test_a_spill_of_other_files_over_the_same_runs_changes_nothing_either(under, files, now):
    """Somebody who has settled less, or more, may have the same runs."""
    runs = tuple(part for one in under for part in stored(one))
    if not runs:
        files, now = ({name: file for name, file in one.items() if file is not None} for one in (files, now))
    applied = Spill(files, runs, stored(files) if files else ()).apply(now, runs)
    assert applied is None or state(*applied) == state(now, runs)


@given(st.lists(layer, max_size=3), some_files, change)
def test_a_spill_changes_nothing_that_can_be_read(under, files, later):
    runs = tuple(part for one in under for part in stored(one))
    spill = Spill(files, runs, stored(files) if files else ())
    now = dict(files)
    apply_update({"files": later}, now, FrozenLayers(tuple(HELD[run.sha256] for run in runs)))
    applied = spill.apply(now, runs)
    assert applied is not None
    assert state(*applied) == state(now, runs)
    assert not any(applied[0].get(name, 0) == file for name, file in files.items())


def test_a_spill_onto_other_runs_does_not_fit():
    files = {"a": {"version": "1"}}
    one, other = stored(files), stored({"b": None})
    assert Spill(files, (), one).apply(files, other) is None
    assert Spill(files, other, one).apply(files, (*other, *one)) is None


@given(st.lists(layer, min_size=1, max_size=6), some_files, st.data())
def test_a_merge_changes_nothing_that_can_be_read(under, files, data):
    runs = tuple(part for one in under for part in stored(one))
    start = data.draw(st.integers(0, len(runs) - 1))
    end = data.draw(st.integers(start + 1, len(runs)))
    sources = runs[start:end]
    result = Merge(sources, start == 0, merged(sources, oldest=start == 0))
    applied = result.apply(files, runs)
    assert applied is not None
    assert state(*applied) == state(files, runs)
    more = (*runs, *stored({"a": {"version": "99"}}))
    assert state(*result.apply(files, more)) == state(files, more)


def test_a_merge_of_runs_that_are_not_there_does_not_fit():
    runs = tuple(part for number in range(4) for part in stored({"a": {"version": str(number)}}))
    result = Merge(runs[1:3], False, merged(runs[1:3], oldest=False))
    assert result.apply({}, runs) is not None
    assert result.apply({}, (runs[0], runs[2], runs[1])) is None
    assert result.apply({}, runs[2:]) is None
    assert result.apply({}, runs[1:]) is None, "it keeps tombstones that nothing needs"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([1] * 7, None, id="too few"),
        pytest.param([1] * 8, (0, 8), id="enough"),
        pytest.param([8, *[1] * 8], (1, 9), id="over a larger one"),
        pytest.param([*[8] * 7, *[1] * 7], None, id="too few of each"),
        pytest.param([*[8] * 8, *[1] * 7], (0, 8), id="enough of the larger"),
        pytest.param([64, *[8, 1] * 8], (1, 16), id="with smaller ones between them"),
        pytest.param([64, *[1, 8] * 8], (1, 17), id="with smaller ones before them"),
        pytest.param([*[1] * 5, 8, *[1] * 5], None, id="not next to each other"),
        pytest.param([*[8] * 8, *[1] * 8], (8, 16), id="the smallest first"),
        pytest.param([], None, id="none"),
    ],
)
def test_what_is_due(sizes, expected):
    runs = sized(*(size * levels.SPILL for size in sizes))
    assert due(runs) == (runs[slice(*expected)] if expected else ())


def test_the_parts_of_a_run_are_one():
    big = 8 * levels.SPILL
    runs = sized(*[big] * 15, continues=range(1, 8))
    assert due(runs) == (), "there are seven of one size, and a larger one"
    runs = sized(*[big] * 16, continues=range(1, 8))
    assert due(runs) == runs[8:]


def test_the_number_of_runs_and_the_bytes_rewritten_grow_slowly():
    runs, written, number = (), 0, 4096
    for index in range(number):
        runs = (*runs, named(f"{index}", levels.SPILL))
        written += levels.SPILL
        while sources := due(runs):
            start = runs.index(sources[0])
            size = sum(one.size for one in sources)
            written += size
            runs = (*runs[:start], named(f"{index}m{size}", size), *runs[start + len(sources) :])
        assert len(runs) <= 7 * 5
    assert sum(run.size for run in runs) == number * levels.SPILL
    assert written <= 5 * number * levels.SPILL, "once for each level"


@given(change.filter(bool))
def test_only_large_changes_are_stored_as_runs(files):
    size = levels.size_of(files)
    with patch.object(levels, "LARGE", size):
        assert not levels.is_large({"files": files})
    with patch.object(levels, "LARGE", size - 1):
        assert levels.is_large({"files": files})
