"""Operations on parts of a value, and the steps that patches consist of."""

from __future__ import annotations

import copy
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mps3 import DELETE, Append, Increment, Maximum, Minimum, Prepend, Remove, Union
from mps3.client.changes import operation_at, step_of
from mps3.content.patch import PendingPatch
from mps3.format import limits
from mps3.format.file_entry import check_file
from mps3.format.operations import NotApplicableError, apply_step, check_steps, fold, join, joined, split
from mps3.format.schema import MalformedError

LARGEST, SMALLEST = 2**64 - 1, -(2**63)

names = st.sampled_from(["a", "b", "~", "/", "", "0"])
scalars = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, -0.0, 1.0, 1e300]) | st.sampled_from("xy")
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
numbers = st.integers(-9, 9) | st.sampled_from([0.5, 1.0, 1e300])
operations = st.one_of(
    st.builds(Increment, numbers),
    st.builds(Maximum, numbers),
    st.builds(Minimum, numbers),
    *(
        st.lists(values, max_size=3).map(lambda items, kind=kind: kind(*items))
        for kind in (Append, Prepend, Union, Remove)
    ),
)
changes = st.recursive(
    st.dictionaries(names, values | st.just(DELETE) | operations, max_size=3),
    lambda inner: st.dictionaries(names, inner | st.just(DELETE) | operations, max_size=2),
    max_leaves=4,
)
paths = st.lists(names, max_size=2).map(join)
steps = st.builds(lambda one: step_of(one, "key"), changes) | st.builds(
    lambda operation, path: operation_at(operation, path, "key"), operations, paths
)


def apply(value, *operations):
    return apply_step(value, {"operations": list(operations)})


def op(name, value, path=""):
    return {"op": name, "path": path, "value": value}


def same(one, other):
    """Whether two values are the same to the byte: the order of members, and integers that are none."""
    return one is other or orjson.dumps(one) == orjson.dumps(other)


@pytest.mark.parametrize(
    ("before", "merge", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": DELETE}, {}),
        ({"a": "b", "b": "c"}, {"a": DELETE}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": DELETE}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": DELETE}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": DELETE}}}, {"a": {"bb": {}}}),
        ("text", {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        (DELETE, {}, {}),
        # What a merge patch cannot say, and this one can.
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({"a": "text"}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}),
        ({"a": 1, "b": 2}, {"a": DELETE, "c": Increment(3)}, {"b": 2, "c": 3}),
    ],
)
def test_merging(before, merge, after):
    assert same(apply_step(before, step_of(merge, "key")), after)


@pytest.mark.parametrize(
    ("name", "operand", "before", "after"),
    [
        ("add", 2, DELETE, 2),
        ("add", 2, 3, 5),
        ("add", -2, LARGEST, LARGEST - 2),
        ("add", 1, LARGEST - 1, LARGEST),
        ("add", -1, SMALLEST + 1, SMALLEST),
        ("add", 0.2, 0.1, 0.1 + 0.2),
        ("add", 1.0, 1, 2.0),
        ("max", 2, DELETE, 2),
        ("max", 2, 1, 2),
        ("max", 1, 2, 2),
        ("max", 1.0, 1, 1),
        ("min", 1.0, 1, 1),
        ("min", 1, 2, 1),
        ("min", 2, 1, 1),
        ("append", [1, [2]], DELETE, [1, [2]]),
        ("append", [1], [1], [1, 1]),
        ("append", [], [1], [1]),
        ("prepend", [1, 2], [3], [1, 2, 3]),
        ("union", [2, 1, 2, 1.0, True], [1], [1, 2, 1.0, True]),
        ("union", [{"b": 1, "a": 2}], [{"a": 2, "b": 1}], [{"a": 2, "b": 1}]),
        ("union", [2], [1, 1], [1, 1, 2]),
        ("union", [0.0, -0.0, 0], [-0.0], [-0.0, 0.0, 0]),
        ("union", [*range(99), 0.0, True, "1"], [1, 0], [1, 0, *range(2, 99), 0.0, True, "1"]),
        ("remove", [*range(99), 1.0], [0.0, 1, 1.0, True, "1"], [0.0, True, "1"]),
        ("remove", [1], [1, 1.0, True, 1, [1]], [1.0, True, [1]]),
        ("remove", [1], DELETE, []),
        ("set", None, 1, None),
        ("set", [], DELETE, []),
    ],
)
def test_operations(name, operand, before, after):
    assert same(apply(before, op(name, operand)), after)


@pytest.mark.parametrize("name", ["add", "max", "min", "append", "prepend", "union", "remove"])
@pytest.mark.parametrize("there", [None, True, "text", {}, 1, [1]])
def test_an_operation_does_not_apply_to_another_type(name, there):
    number = name in ("add", "max", "min")
    if type(there) is (int if number else list):
        return
    with pytest.raises(NotApplicableError, match="not a number" if number else "not a list"):
        apply(there, op(name, 1 if number else [1]))


@pytest.mark.parametrize(
    ("there", "by"),
    [(LARGEST, 1), (SMALLEST, -1), (1.7e308, 1.7e308), (-1.7e308, -1.7e308), (LARGEST, LARGEST), (10**400, 1.5)],
)
def test_a_number_does_not_overflow(there, by):
    with pytest.raises(NotApplicableError, match="would overflow"):
        apply(there, op("add", by))


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        (DELETE, "", 1),
        (DELETE, "/a/b", {"a": {"b": 1}}),
        ({"a": {"b": 1}}, "/a/b", {"a": {"b": 2}}),
        ({"~/": 1}, "/~0~1", {"~/": 2}),
        ({"~1": 1}, "/~01", {"~1": 2}),
        ({"": 1}, "/", {"": 2}),
        ({"": {"": 1}}, "//", {"": {"": 2}}),
        ({"0": 1}, "/0", {"0": 2}),
        ([5, 1], "/1", [5, 2]),
        ([5, [{"a": 1}]], "/1/0/a", [5, [{"a": 2}]]),
        ({"a": [{}]}, "/a/0/b/c", {"a": [{"b": {"c": 1}}]}),
    ],
)
def test_paths(before, path, after):
    assert same(apply(before, op("add", 1, path)), after)


@pytest.mark.parametrize(
    ("there", "path"),
    [
        ([1], "/1"),
        ([1], "/-"),
        ([1], "/-1"),
        ([1], "/00"),
        ([1], "/ 0"),
        ([1], "/٠"),
        ([1], "/" + "9" * 5000),
        ([], "/0"),
        ([1], "/a"),
        ("text", "/0"),
        ({"a": "text"}, "/a/b"),
        ({"a": None}, "/a/b"),
        ({"a": 1}, "/a/b/c"),
    ],
)
def test_a_path_that_leads_nowhere(there, path):
    with pytest.raises(NotApplicableError, match="has no part"):
        apply(there, op("add", 1, path))


@pytest.mark.parametrize("path", ["a", "a/b", "/~", "/~2", "/a~", "/~~0", " /a"])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match=r"in a path|a path begins"):
        split(path)
    with pytest.raises(ValueError, match="is not one"):
        operation_at(Increment(1), path, "key")


@given(st.lists(st.text(max_size=3), max_size=4))
def test_paths_come_back(names):
    assert split(join(names)) == tuple(names)


def test_a_step_applies_as_a_whole_or_not_at_all():
    value = {"a": 1, "b": "text"}
    after, errors = fold(value, [{"operations": [op("add", 1, "/a"), op("add", 1, "/b")]}, {"merge": {"c": 1}}])
    assert after == {"a": 1, "b": "text", "c": 1}
    assert [error is None for error in errors] == [False, True]


@given(values | st.just(DELETE), st.lists(steps, max_size=4))
def test_nothing_is_mutated(value, some):
    before = copy.deepcopy(value) if value is not DELETE else value
    kept = copy.deepcopy(some)
    fold(value, some)
    assert value is before or same(value, before)
    assert some == kept


@given(values | st.just(DELETE), st.lists(steps, max_size=5), st.integers(0, 5))
def test_a_fold_may_be_split_anywhere(value, some, place):
    whole, errors = fold(value, some)
    half, before = fold(value, some[:place])
    if half is not DELETE:
        half = orjson.loads(orjson.dumps(half))  # as it comes back from a document
    rest, after = fold(half, some[place:])
    assert (whole is DELETE and rest is DELETE) or same(whole, rest)
    assert list(map(str, errors)) == list(map(str, before + after))


@given(values | st.just(DELETE), steps, steps)
def test_joined_steps_do_what_both_do(value, first, second):
    kept = copy.deepcopy((first, second))
    one = joined(first, second)
    assert (first, second) == kept
    if one is None or _adds_to_a_float(value, one):
        return
    after, errors = fold(value, [first, second])
    together, error = fold(value, [one])
    assert (after is DELETE and together is DELETE) or same(after, together)
    # Whoever made one of the two hears of the error.
    assert [bool(found) for found in errors] == 2 * [bool(error[0])]


def _adds_to_a_float(value, step):
    # (0.1 + 1) + 2 is not 0.1 + (1 + 2): what is joined counts with one rounding less.
    return "e+300" in str(value) or (
        any(one["op"] == "add" for one in step.get("operations", ())) and "." in str(value)
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"merge": {"a": None}}, {"merge": {"a": 1}}),
        ({"operations": [op("add", LARGEST)]}, {"operations": [op("add", 1)]}),
        ({"operations": [op("add", 0.1)]}, {"operations": [op("add", 0.2)]}),
        ({"operations": [op("set", 1)]}, {"operations": [op("set", 2)]}),
        ({"operations": [op("add", 1), op("max", 3)]}, {"operations": [op("add", 1), op("max", 3)]}),
        ({"operations": [op("append", [1], "/a"), op("add", 1, "/a/0")]},) * 2,
        ({"merge": {"a": {"b": 1}}}, {"merge": {"a": 1}}),
        ({"operations": [op("add", 1)]}, {"operations": [op("add", 1, "/a")]}),
        ({"merge": {}}, {"operations": [op("add", 1, "/a")]}),
    ],
)
def test_steps_that_are_not_joined(first, second):
    assert joined(first, second) is None


def test_a_thousand_increments_are_one():
    step = operation_at(Increment(1), "/n", "key")
    for _ in range(999):
        step = joined(step, operation_at(Increment(1), "/n", "key"))
    assert step == {"operations": [op("add", 1000, "/n")]}


@given(st.lists(st.tuples(st.sampled_from(["append", "union", "remove", "add"]), paths), min_size=1, max_size=6))
def test_each_part_of_a_joined_patch_knows_its_steps(parts):
    made, contents = None, []
    for number, (name, path) in enumerate(parts):
        # Each part has two steps, or one: of which any may be joined with the one before.
        own = [{"operations": [op(name, 1 if name == "add" else [number], path)]}]
        if number % 3 == 2:
            own.append({"merge": {f"part {number}": number}})
        content = PendingPatch("bucket", "key", orjson.dumps(own))
        contents.append(content)
        made = content if made is None else content.after(made)
    places = made.places()
    assert list(places) == contents
    for number, content in enumerate(contents):
        there = set()
        for place, step in enumerate(made.steps):
            said = [*step.get("merge", {}).values()]
            for one in step.get("operations", ()):
                said += one["value"] if isinstance(one["value"], list) else []
            if number in said:
                there.add(place)
        assert there <= set(places[content])
        assert len(places[content]) == len(content.steps)
    covered = {place for content in contents for place in places[content]}
    assert covered == set(range(len(made.steps)))


@given(steps)
def test_whatever_a_client_makes_can_be_read(step):
    body = orjson.dumps([step])
    read = orjson.loads(body)
    check_steps(read, "patch")
    check_file({"version": "v", "patch": read}, "file", patch=True)
    assert same(read, [step])


@pytest.mark.parametrize(
    "steps",
    [
        {},
        [[]],
        [{"merge": []}],
        [{"merge": None}],
        [{"operations": {}}],
        [{"operations": [[]]}],
        [{"operations": [{"op": "add", "path": ""}]}],
        [{"operations": [{**op("add", 1), "more": 1}]}],
        [{"operations": [op("no", 1)]}],
        [{"operations": [op(["add"], 1)]}],
        [{"operations": [op("add", True)]}],
        [{"operations": [op("add", "1")]}],
        [{"operations": [op("max", None)]}],
        [{"operations": [op("append", 1)]}],
        [{"operations": [op("add", 1, None)]}],
        [{"operations": [op("add", 1, "a")]}],
        [{"operations": [op("add", 1, "/~")]}],
        [{"operations": [op("add", 1, "/a" * limits.INLINE_DEPTH)]}],
        [{"operations": [op("add", 1)]}] * (limits.STEPS + 1),
        [{"operations": [op("add", 1)] * (limits.STEPS + 1)}],
        [{"merge": {"a": "x" * limits.PATCH}}],
        [{"unknown": "x" * (limits.UNKNOWN + 1)}],
    ],
)
def test_steps_that_nobody_can_have_made_are_refused(steps):
    with pytest.raises(MalformedError):
        check_steps(steps, "patch")


# What anybody may have written into one commit, and how long applying it takes.
_WORST = {
    "union": [{"operations": [op("union", [0])]}],
    "union of many": [{"operations": [op("union", list(range(65)))]}],
    "remove": [{"operations": [op("remove", [-1])]}],
    "append": [{"operations": [op("append", [])]}],
    "merge": [{"merge": {"x": 1}}],
}


@pytest.mark.parametrize("name", _WORST)
def test_the_largest_patch_of_a_large_value_takes_bounded_time(name):
    (step,) = _WORST[name]
    if name == "merge":
        value = {f"{number:x}": 1 for number in range(limits.INLINE // 10)}
        most = limits.PATCH // (len(orjson.dumps(step)) + 1)
        some = [step] * min(most, limits.STEPS)
    else:
        value = list(range(100_000, 100_000 + limits.INLINE // 7))
        operation = step["operations"][0]
        most = limits.PATCH // (len(orjson.dumps(operation)) + 1) - 1
        some = [{"operations": [operation] * min(most, limits.STEPS)}]
    check_steps(some, "patch")
    started = time.process_time()
    fold(value, some)
    assert time.process_time() - started < 5
