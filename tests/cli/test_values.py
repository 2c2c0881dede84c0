"""``mps3 get``, ``put``, ``delete`` and ``ls``."""

from __future__ import annotations

import time

import pytest

from mps3.storage import local_clock


def test_there_and_back(mps3, store):
    put = mps3("put", "color", '"red"')
    assert (put.code, put.err) == (0, "")
    assert mps3("put", "users/ann", '{"score": 7}').code == 0
    assert (mps3("get", "color").lines, mps3("get", "users/ann").lines) == (["red"], [{"score": 7}])
    listed = mps3("ls").lines
    assert [(one["key"], one["size"]) for one in listed] == [("color", 5), ("users/ann", 11)]
    assert put.lines[0]["versions"] == {"color": listed[0]["version"]}
    assert [one["key"] for one in mps3("ls", "users/").lines] == ["users/ann"]
    deleted = mps3("delete", "color", "users/ann")
    assert deleted.code == 0 and deleted.lines[0]["versions"] == {"color": None, "users/ann": None}
    assert mps3("get", "color").code == 1
    assert mps3("ls").out == ""


@pytest.mark.parametrize("value", ["-5", "-0.5", "null", "[]", '"--text"', "0"])
def test_any_value(mps3, url, value):
    assert mps3("put", "k", value).code == 0
    assert mps3("get", "k").out == value + "\n"


def test_texts(mps3, run, url):
    assert mps3("put", "k", "-t", "it's red").code == 0
    assert (mps3("get", "k").out, mps3("get", "k", "--raw").out) == ('"it\'s red"\n', "it's red\n")
    assert run("put", "k", "--text", stdin="größer\nund\n".encode()).code == 0
    assert mps3("get", "k", "-r").out == "größer\nund\n"
    assert run("put", "k", "-t", stdin=b"\xff").code == 2


def test_a_value_from_standard_input(mps3, run, url):
    for words in (["k"], ["k", "-"]):
        assert run("put", *words, stdin=b'{"a": [1,\n2]}').code == 0
        assert mps3("get", "k").lines == [{"a": [1, 2]}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["put", "k", "red"], "VALUE is not JSON (line 1, column 1"),
        (["put", "k", '{"a":\n tru}'], "line 2, column 2"),
        (["put", "k", ""], "VALUE is empty"),
        (["put", "k", "1", "2"], "unexpected argument '2'"),
        (["put", "k", "1", "--txt"], "--txt"),
        (["put"], "KEY is missing"),
        (["put", "", "1"], "a key cannot be empty"),
        (["put", "k" * 1025, "1"], "has 1025 bytes"),
        (["get", "k", "--at", "yesterday"], "'yesterday' is neither a commit"),
        (["get", "k", "--at", "abcd.1"], "no commit among the last 1,000"),
        (["delete"], "KEY is missing"),
    ],
)
def test_wrong_arguments_are_one_line(mps3, url, arguments, said):
    assert mps3("put", "k", "0").code == 0
    found = mps3(*arguments)
    assert found.code == 2 and not found.out
    assert said in found.err and found.err.startswith("mps3: ") and found.err.count("\n") == 1
    assert mps3("get", "k").lines == [0]


def test_what_is_not_there(mps3, url):
    mps3("put", "a", "1")
    found = mps3("get", "b")
    assert (found.code, found.out, found.err) == (1, "", "mps3: there is no key 'b'; mps3 ls lists what there is\n")
    found = mps3("delete", "b", "a", "b")
    assert found.code == 1 and found.lines[0]["versions"] == {"a": None}
    assert found.err == "mps3: not there: 'b'; mps3 ls lists what there is\n"
    assert mps3("delete", "b").code == 1


def test_where_the_url_may_stand(mps3, tmp_path, monkeypatch):
    one, other = f"file://{tmp_path}/one", f"file://{tmp_path}/other"
    monkeypatch.delenv("MPS3_URL", raising=False)
    assert mps3("put", one, "k", "1").code == 0
    assert mps3("put", "k", "2", "--url", other).code == 0
    assert mps3("get", one, "k").lines == [1] and mps3("get", "--url", other, "k").lines == [2]
    assert [line["key"] for line in mps3("ls", one).lines] == ["k"]
    monkeypatch.setenv("MPS3_URL", other)
    assert mps3("get", "k").lines == [2]
    assert mps3("get", one, "k").lines == [1]
    # A key that looks like a URL is one, if there is nothing else for it to be.
    assert mps3("put", "s3://x", "3", "--url", other).code == 0
    assert mps3("get", "s3://x").lines == [3]
    assert mps3("put", "k", "4", "--manifest", "second.json").code == 0
    assert mps3("get", "k", "--manifest", "second.json").lines == [4] and mps3("get", "k").lines == [2]


def test_no_url(mps3, monkeypatch):
    monkeypatch.delenv("MPS3_URL", raising=False)
    for arguments in (["ls"], ["ls", "prefix"], ["get", "k"], ["put", "k", "1"], ["stat"]):
        found = mps3(*arguments)
        assert found.code == 2 and "MPS3_URL" in found.err and found.err.count("\n") == 1


def test_reading_makes_no_directory(mps3, tmp_path):
    for arguments in (["ls"], ["stat"], ["log"], ["export"], ["gc"]):
        found = mps3(*arguments, f"file://{tmp_path}/typo")
        assert found.code == 3 and "there is no directory" in found.err
    assert not (tmp_path / "typo").exists()


def test_the_past(mps3, url):
    commits = [mps3("put", "k", str(number)).lines[0]["commit"] for number in range(3)]
    short = commits[0][:8] + commits[0][32:]
    for when in (commits[0], short):
        assert mps3("get", "k", "--at", when).lines == [0]
    assert mps3("get", "k", "--at", "0s").lines == [2]
    found = mps3("get", "k", "--at", "1h")
    assert found.code == 1 and "at that moment" in found.err


def test_on_a_condition(mps3, url):
    assert mps3("put", "k", "1", "--if-absent").code == 0
    found = mps3("put", "k", "2", "--if-absent")
    assert found.code == 6 and found.out == "" and found.err.count("\n") == 1 and "read the key again" in found.err
    version = mps3("ls").lines[0]["version"]
    assert mps3("put", "k", "3", "--if-version", version).code == 0
    assert mps3("put", "k", "4", "--if-version", version).code == 6
    assert mps3("get", "k").lines == [3]
    assert mps3("put", "k", "4", "--if-version", version, "--if-absent").code == 2


def test_a_key_that_expires(mps3, url, monkeypatch):
    assert mps3("put", "k", "1", "--expires-in", "600").code == 0
    assert mps3("get", "k").lines == [1]

    class Later:
        @staticmethod
        def time() -> float:
            return time.time() + 700

    monkeypatch.setattr(local_clock, "time", Later)
    assert mps3("get", "k").code == 1
    for wrong in ("0", "-1", "nan", "soon"):
        found = mps3("put", "k", "2", "--expires-in", wrong)
        assert found.code == 2 and found.err.count("\n") == 1


def test_for_people(mps3, terminal, url):
    mps3("put", "users/ann", '{"score": 7}')
    mps3("put", "e\x1b[31m", '"\\u001b[31m"')
    shown = terminal("get", "users/ann")
    assert shown.ends() == 0
    assert shown.plain == '{\n  "score": 7\n}\n' and "\x1b[" in shown.shown
    shown = terminal("ls")
    assert shown.ends() == 0 and shown.shown == "e\\x1b[31m\r\nusers/ann\r\n"
    shown = terminal("get", "--raw", "e\x1b[31m")
    assert shown.ends() == 0 and shown.shown == "\\x1b[31m\r\n"
    found = mps3("ls", "--long", "--no-json")
    assert found.out.splitlines()[0].split() == ["size", "version", "key"] and "12 B" in found.out
    assert mps3("put", "k", "1", "--no-json").out.startswith("put k  ")
    assert mps3("delete", "k", "--no-json").out.startswith("deleted k  ")
    shown = terminal("put", "k")
    shown.shows("reading a JSON value from the keyboard")
    shown.type("[1,\n2]\n\x04")
    assert shown.ends() == 0 and mps3("get", "k").lines == [[1, 2]]
