"""``mps3 log``, ``history`` and ``restore``."""

from __future__ import annotations

import asyncio
import signal

import pytest

from mps3 import MPS3
from mps3.storage.local import LocalStorage


def put(mps3, key, value):
    found = mps3("put", key, value)
    assert (found.code, found.err) == (0, "")
    return found.lines[0]["commit"]


def short(commit):
    session, _, sequence = commit.partition(".")
    return f"{session[:8]}.{sequence}"


@pytest.fixture(params=["merge", "log"])
def journal(request, url):
    """The journal of the manifest in the store, in which nothing is yet."""

    async def create() -> None:
        storage = LocalStorage(url.removeprefix("file://"))
        async with MPS3("default", storage=storage, journal=request.param) as client:
            await client.put("first", 0)

    asyncio.run(create())
    return request.param


def test_the_log_journal_has_slots(mps3, journal):
    for value in range(2):
        put(mps3, "k", str(value))
    lines = mps3("log").lines
    assert [line.get("slot") for line in lines] == ([3, 2, 1] if journal == "log" else [None] * 3)
    assert [list(line) for line in mps3("log", "first").lines] == [list(lines[-1])]
    assert mps3("log", "nobody").lines == [] and mps3("log", "nobody", "--no-json").out == "when  commit  what\n"
    shown = mps3("log", "k", "--no-json").out.splitlines()
    slots = ["slot", "   3", "   2"] if journal == "log" else ["when", "20", "20"]
    assert all(line.startswith(start) for line, start in zip(shown, slots, strict=True)), shown
    assert shown[0].split()[-3:] == ["when", "commit", "what"]
    assert all(len({line.index(word) for line in shown if word in line}) == 1 for word in ("put", "20"))


def test_numbers_of_slots_have_gaps_where_no_commit_counts(mps3, journal):
    put(mps3, "k", "1")
    refused = mps3("put", "k", "2", "--if-absent")
    assert refused.code == 6
    put(mps3, "k", "3")
    slots = [line.get("slot") for line in mps3("log").lines]
    assert slots == sorted(slots, reverse=True) if journal == "log" else slots == [None] * 3


def test_when_who_what(mps3, url):
    first = put(mps3, "color", '"red"')
    second = put(mps3, "size", "1")
    mps3("delete", "color")
    lines = mps3("log").lines
    assert [line["id"] for line in lines[1:]] == [second, first]
    assert lines[0]["versions"] == {"color": None} and list(lines[1]["versions"]) == ["size"]
    assert lines[2]["session"] == first.partition(".")[0] and lines[2]["time"].endswith("+00:00")
    assert [line["id"] for line in mps3("log", "si").lines] == [second]
    assert mps3("log", "-n", "1").lines == lines[:1]
    assert mps3("log", "-n", "0").lines == lines
    shown = mps3("log", "--no-json").out.splitlines()
    assert shown[0].split()[-3:] == ["when", "commit", "what"]
    assert shown[1].endswith("  deleted color") and shown[2].endswith(f"{short(second)}  put size")


def test_what_became_of_a_key(mps3, url):
    first, second = put(mps3, "k", "1"), put(mps3, "k", '{"a": 2}')
    mps3("delete", "k")
    lines = mps3("history", "k").lines
    assert [line["id"] for line in lines[1:]] == [second, first]
    assert lines[0]["deleted"] is True and [line["value"] for line in lines[1:]] == [{"a": 2}, 1]
    assert mps3("history", "k", "--limit", "2").lines == lines[:2]
    shown = mps3("history", "k", "--no-json").out.splitlines()
    assert shown[1].endswith("(deleted)") and shown[2].endswith('  {"a":2}') and short(first) in shown[3]
    nothing = mps3("history", "nobody")
    assert nothing.code == 1 and "nothing is known of a key 'nobody'" in nothing.err


def test_a_key_comes_back(mps3, store):
    first = put(mps3, "k", '{"a": 1}')
    put(mps3, "k", "2")
    found = mps3("restore", "k", "--to", short(first), "--yes")
    assert found.code == 0 and list(found.lines[0]["versions"]) == ["k"]
    assert mps3("get", "k").lines == [{"a": 1}]
    assert mps3("restore", "k", "--to", first, "--yes").lines == [{"commit": None, "versions": {}}]
    assert "nothing is different" in mps3("restore", "k", "--to", first, "-y", "--no-json").out


def test_everything_comes_back(mps3, url):
    put(mps3, "a/1", "1")
    then = put(mps3, "b/1", "1")
    put(mps3, "a/2", "2")
    put(mps3, "b/1", "2")
    found = mps3("restore", "--prefix", "a/", "--to", then, "--yes")
    assert found.lines[0]["versions"] == {"a/2": None}
    assert mps3("get", "b/1").lines == [2]
    shown = mps3("restore", "--all", "--to", then, "--yes", "--no-json").out
    assert shown.startswith("~ b/1\nrestored b/1  ")
    assert mps3("restore", "--all", "--to", then, "--yes").lines[0]["commit"] is None
    assert mps3("export").lines == [{"key": "a/1", "value": 1}, {"key": "b/1", "value": 1}]


def test_it_asks_on_a_terminal(mps3, terminal, url):
    first = put(mps3, "k", '{"a": 1, "b": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}')
    put(mps3, "k", '{"a": 2, "b": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}')
    for answer, code, left in (("n", 130, 2), ("", 130, 2), ("y", 0, 1)):
        shown = terminal("restore", "k", "--to", first)
        shown.shows("bring back k as of")
        assert '    -   "a": 2,\n    +   "a": 1,\n' in shown.plain
        if answer:
            shown.type(answer + "\n")
        else:
            shown.process.send_signal(signal.SIGINT)
        assert shown.ends() == code and "Traceback" not in shown.plain
        assert mps3("get", "k").lines[0]["a"] == left


def test_it_never_asks_a_pipe(mps3, run, url):
    first = put(mps3, "k", "1")
    put(mps3, "k", "2")
    for what in (["k"], ["--all"]):
        found = run("restore", *what, "--to", first)
        assert found.code == 2 and "--yes" in found.err and found.err.count("\n") == 1
    assert mps3("get", "k").lines == [2]


@pytest.mark.parametrize(
    "arguments", [["--to", "1h"], ["k", "--all", "--to", "1h"], ["--all", "--prefix", "a", "--to", "1h"], ["k"]]
)
def test_wrong_arguments(mps3, url, arguments):
    put(mps3, "k", "1")
    found = mps3("restore", *arguments, "--yes")
    assert found.code == 2 and found.err.count("\n") == 1


def test_a_pipe_has_all_of_the_past_and_a_terminal_says_that_there_is_more(mps3, url, terminal, tmp_path):
    (tmp_path / "in").write_text("".join(f'{{"key": "k", "value": {number}}}\n' for number in range(25)))
    assert mps3("import", str(tmp_path / "in"), "--chunk", "1").lines[0]["commits"] == 25
    for command in (["log"], ["history", "k"]):
        assert len(mps3(*command).lines) == 25 and len(mps3(*command, "--no-json").out.splitlines()) == 26
        assert len(mps3(*command, "-n", "3").lines) == 3 and mps3(*command, "-n", "3").err == ""
        for more, lines in (([], 22), (["-n", "24"], 26), (["-n", "25"], 26), (["-n", "24", "--json"], 25)):
            shown = terminal(*command, *more)
            assert shown.ends() == 0 and len(shown.plain.splitlines()) == lines, more
            assert ("there is more" in shown.plain) == (more != ["-n", "25"])
            if not more:
                assert shown.plain.endswith("\nthere is more: these are the newest 20; -n 0 lists all\n")


LONG_AGO = "2001-01-01T00:00:00Z"


def test_a_time_before_the_first_commit_is_said_and_asked(mps3, run, url, terminal):
    put(mps3, "a", "1")
    put(mps3, "b", "1")
    for what in (["--all"], ["--prefix", "a"]):
        found = run("restore", *what, "--to", LONG_AGO)
        assert found.code == 2 and "before the first commit" in found.err and "deletes" in found.err
        assert "--yes" in found.err and found.err.count("\n") == 1
    shown = terminal("restore", "--all", "--to", LONG_AGO)
    shown.shows("is before the first commit: this deletes 2 keys. Go on? [y/N]")
    shown.type("n\n")
    assert shown.ends() == 130 and len(mps3("ls").lines) == 2
    found = run("restore", "a", "--to", LONG_AGO)
    assert found.code == 2 and "delete a, which was not there" in found.err
    found = mps3("restore", "--all", "--to", LONG_AGO, "--yes")
    assert found.code == 0 and found.lines[0]["versions"] == {"a": None, "b": None}
    assert "before the first commit: this deletes 2 keys" in found.err and found.err.count("\n") == 1
    assert mps3("restore", "--all", "--to", LONG_AGO, "--yes").lines == [{"commit": None, "versions": {}}]


@pytest.mark.parametrize("at", ["0001-01-01T00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59-14:00"])
def test_the_ends_of_the_calendar(mps3, run, url, at):
    put(mps3, "k", "1")
    found = run("restore", "--all", "--to", at, "--no-json")
    assert found.code in (0, 2) and "should not have happened" not in found.err
    assert mps3("get", "k", "--at", at).code in (0, 1)


def test_a_restored_key_keeps_its_expiry_if_that_lies_ahead(mps3, url, later):
    first = mps3("put", "k", "1", "--expires-in", "1000").lines[0]["commit"]
    expires = mps3("export").lines[0]["expires"]
    second = put(mps3, "k", "1")
    # The same value, but now it stays: that is a difference.
    for what in (["k"], ["--all"], ["--prefix", "k"]):
        assert mps3("restore", *what, "--to", first, "--yes").lines[0]["commit"]
        assert mps3("export").lines == [{"key": "k", "expires": expires, "value": 1}]
        assert mps3("restore", *what, "--to", first, "--yes").lines[0]["commit"] is None
        assert mps3("restore", *what, "--to", second, "--yes").lines[0]["commit"]
        assert mps3("export").lines == [{"key": "k", "value": 1}]
    later(2000)
    found = mps3("restore", "k", "--to", first, "--yes")
    assert found.lines[0]["versions"] == {"k": None} and mps3("get", "k").code == 1
    put(mps3, "k", "3")
    assert mps3("restore", "--all", "--to", first, "--yes").lines[0]["versions"] == {"k": None}


def test_what_is_not_kept(mps3, url):
    put(mps3, "k", "1")
    found = mps3("get", "k", "--at", f"{'0' * 32}.1")
    assert found.code == 7 and "mps3 log shows what is kept" in found.err
