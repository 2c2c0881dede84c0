"""``mps3 patch`` and ``mps3 increment``."""

from __future__ import annotations

import json

import pytest

from mps3 import DELETE, Append, Increment, Maximum, Minimum, Prepend, Remove, Union
from mps3.cli.base.changes import OPERATIONS, changes_of


def test_there_and_back(mps3, store):
    assert mps3("put", "card", '{"title": "a", "votes": 1, "old": 0}').code == 0
    changes = '{"votes": {"$increment": 1}, "tags": {"$union": ["red"]}, "old": {"$delete": true}, "by": null}'
    patched = mps3("patch", "card", changes)
    assert (patched.code, patched.err) == (0, "")
    assert mps3("get", "card").lines == [{"title": "a", "votes": 2, "by": None, "tags": ["red"]}]
    assert patched.lines[0]["versions"] == {"card": mps3("ls").lines[0]["version"]}
    incremented = mps3("increment", "card", "--path", "/votes", "--by", "-3")
    assert (incremented.code, incremented.err) == (0, "")
    assert mps3("get", "card").lines[0]["votes"] == -1
    assert [line["id"] for line in mps3("log").lines][:2] == [one.lines[0]["commit"] for one in (incremented, patched)]


def test_what_is_not_there_begins_with_nothing(mps3, url):
    assert mps3("increment", "n").code == 0
    assert mps3("increment", "n").code == 0
    assert mps3("increment", "n", "--by", "0.5").code == 0
    assert mps3("patch", "o", '{"a": {"b": {"$append": [1, 2]}}}').code == 0
    assert (mps3("get", "n").lines, mps3("get", "o").lines) == ([2.5], [{"a": {"b": [1, 2]}}])


def test_an_operation_on_the_whole_value(mps3, url):
    assert mps3("patch", "list", '{"$append": [1, 2]}').code == 0
    assert mps3("patch", "list", '{"$union": [2, 3]}').code == 0
    assert mps3("get", "list").lines == [[1, 2, 3]]


def test_changes_from_standard_input(mps3, run, url):
    for words in (["k"], ["k", "-"]):
        assert run("patch", *words, stdin=b'{"n":\n{"$increment": 1}}').code == 0
    assert mps3("get", "k").lines == [{"n": 2}]


@pytest.mark.parametrize("stored", [False, True])
def test_what_does_not_apply_is_said_and_changes_nothing(mps3, url, stored):
    mps3("put", "k", '{"title": "a", "n": 1}', *(["--inline", "0"] if stored else []))
    found = mps3("patch", "k", '{"n": {"$increment": 1}, "title": {"$increment": 1}}')
    assert (found.code, found.out, found.err.count("\n")) == (6, "", 1)
    assert "'k': /title is a text, not a number" in found.err
    found = mps3("increment", "k")
    assert found.code == 6 and "the value is an object, not a number" in found.err
    assert mps3("get", "k").lines == [{"title": "a", "n": 1}]


def test_on_a_condition(mps3, url):
    assert mps3("increment", "k", "--if-absent").code == 0
    assert mps3("increment", "k", "--if-absent").code == 6
    version = mps3("ls").lines[0]["version"]
    assert mps3("increment", "k", "--if-version", version).code == 0
    assert mps3("increment", "k", "--if-version", version).code == 6
    assert mps3("get", "k").lines == [2]
    assert mps3("patch", "o", '{"a": 1}', "--if-absent").code == 0
    assert mps3("patch", "o", '{"a": 2}', "--if-absent").code == 6
    version = next(line["version"] for line in mps3("ls").lines if line["key"] == "o")
    assert mps3("patch", "o", '{"a": 3}', "--if-version", version).code == 0
    assert mps3("patch", "o", '{"a": 4}', "--if-version", version, "--if-absent").code == 2
    assert mps3("get", "o").lines == [{"a": 3}]


def test_a_key_keeps_its_expiry_or_gets_another(mps3, url, later):
    mps3("put", "kept", "1", "--expires-in", "600")
    mps3("put", "longer", '{"n": 1}', "--expires-in", "600")
    assert mps3("increment", "kept").code == 0
    assert mps3("patch", "longer", '{"n": 2}', "--expires-in", "1200").code == 0
    assert (mps3("get", "kept").lines, mps3("get", "longer").lines) == ([2], [{"n": 2}])
    later(700)
    assert mps3("get", "kept").code == 1 and mps3("get", "longer").lines == [{"n": 2}]
    later(600)
    assert mps3("get", "longer").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["patch", "k"], "standard input is empty"),
        (["patch", "k", ""], "CHANGES is empty"),
        (["patch", "k", "red"], "CHANGES is not JSON (line 1, column 1"),
        (["patch", "k", "[1]"], "mps3 put replaces the whole value"),
        (["patch", "k", '{"a": 99999999999999999999}'], "more than 64 bits"),
        (["patch", "k", '{"$delete": true}'], "mps3 delete deletes a key"),
        (["patch", "k", '{"$union": 1}'], "$union at the top takes a list of items"),
        (["patch", "k", '{"$union": [1], "a": 1}'], "$union at the top stands beside other members"),
        (["patch", "k", '{"a": {"$foo": 1}}'], "'$foo' at /a is not an operation, which are $delete, $increment,"),
        (["patch", "k", '{"a": {"b": {"$union": 1}}}'], "$union at /a/b takes a list of items"),
        (["patch", "k", '{"a": {"$union": [1], "b": 2}}'], "$union at /a stands beside other members"),
        (["patch", "k", '{"a": {"$delete": false}}'], "$delete at /a takes true"),
        (["patch", "k", '{"a": {"$maximum": "1"}}'], "$maximum at /a takes a number"),
        (["patch", "k", '{"a": {"$increment": true}}'], "$increment at /a takes a number"),
        (["patch", "k", '{"a":' * 100 + "1" + "}" * 100], "nest"),
        (["patch", "k", json.dumps({"a": "x" * 40_000})], "more than 32768: put the value instead"),
        (["patch", "k", "{}", "{}"], "unexpected argument"),
        (["patch"], "KEY is missing"),
        (["increment"], "KEY is missing"),
        (["increment", "k", "2"], "unexpected argument '2'"),
        (["increment", "k", "--by", "x"], "--by is not JSON"),
        (["increment", "k", "--by", '"1"'], "--by is not a number"),
        (["increment", "k", "--by", "true"], "--by is not a number"),
        (["increment", "k", "--by", "1e999"], "infinity"),
        (["increment", "k", "--by", "99999999999999999999"], "more than 64 bits"),
        (["increment", "k", "--path", "votes"], "a path begins with a slash"),
        (["increment", "k", "--expires-in", "0"], "--expires-in"),
    ],
)
def test_wrong_arguments_are_one_line(mps3, url, arguments, said, monkeypatch, tmp_path):
    assert mps3("put", "k", "0").code == 0
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        found = mps3(*arguments)
    assert found.code == 2 and not found.out
    assert said in found.err and found.err.startswith("mps3: ") and found.err.count("\n") == 1
    assert mps3("get", "k").lines == [0]


def test_every_operation():
    raw = {
        "a": {"$delete": True},
        "b": {"$increment": 1},
        "c": {"$maximum": 2},
        "d": {"$minimum": 3},
        "e": {"$append": [1, [2]]},
        "f": {"$prepend": [1]},
        "g": {"$union": [{"$increment": 1}]},
        "h": {"$remove": []},
        "i": None,
        "j": {"k": {"$increment": 0.5}, "l": {}},
        "m": [{"$increment": 1}],
        "$$ref": {"$$delete": 1},
        "$$$": 1,
    }
    assert changes_of(raw) == {
        "a": DELETE,
        "b": Increment(1),
        "c": Maximum(2),
        "d": Minimum(3),
        "e": Append(1, [2]),
        "f": Prepend(1),
        "g": Union({"$increment": 1}),
        "h": Remove(),
        "i": None,
        "j": {"k": Increment(0.5), "l": {}},
        "m": [{"$increment": 1}],
        "$ref": {"$delete": 1},
        "$$": 1,
    }
    used = {name for one in raw.values() if isinstance(one, dict) for name in one}
    assert set(OPERATIONS) <= used


def test_for_people(mps3, url):
    assert mps3("increment", "e\x1b[31m", "--no-json").out.startswith("incremented e\\x1b[31m  ")
    assert mps3("patch", "k", "{}", "--no-json").out.startswith("patched k  ")
    assert mps3("get", "k").lines == [{}]
