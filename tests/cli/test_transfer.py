"""``mps3 import``, ``export`` and ``stat``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mps3 import MPS3, Ref
from mps3.cli.import_ import chunks, entries

LINES = "".join(f'{{"key":"k/{number:03}","value":{{"n":{number}}}}}\n' for number in range(300))


def test_there_and_back(mps3, store, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(LINES.splitlines(keepends=True)[:12]))
    found = mps3("import", str(source), "--chunk", "8")
    assert found.lines == [{"lines": 12, "commits": 2, "dry_run": False}]
    assert mps3("export").out == source.read_text()
    said = mps3("stat").lines[0]
    assert (said["keys"], said["bytes"]) == (12, sum(len(f'{{"n":{number}}}') for number in range(12)))
    assert said["values"]["objects"] == 0 and said["manifest"]["objects"] >= 1 and said["garbage"]["objects"] == 0
    assert said["newest"]["id"] == mps3("log").lines[0]["id"]


def test_into_a_file(mps3, url, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(LINES)
    assert mps3("import", str(source)).lines[0]["commits"] == 1
    found = mps3("export", "k/1", "--output", str(target))
    assert found.code == 0 and found.out == "" and found.err == f"mps3: 100 keys in {target}\n"
    assert target.read_text() == "".join(LINES.splitlines(keepends=True)[100:200])
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["in.jsonl", "out.jsonl"]


def test_from_standard_input(mps3, run, url):
    assert run("import", stdin=LINES.encode() + b'\n\n{"key":"k/000","value":null}\n').lines[0]["lines"] == 301
    assert run("import", "-", "--dry-run", stdin=b'{"key":"k/001","value":null}\n').lines[0]["commits"] == 0
    assert mps3("get", "k/000").lines == [None] and mps3("get", "k/001").lines == [{"n": 1}]


def test_a_file_is_checked_before_anything_is_written(mps3, url, tmp_path):
    (tmp_path / "in.jsonl").write_text(LINES + "nonsense\n")
    found = mps3("import", str(tmp_path / "in.jsonl"), "--chunk", "10")
    assert found.code == 2 and "in.jsonl, line 301: not JSON" in found.err and found.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_what_was_imported_before_a_bad_line_is_said(mps3, run, url):
    found = run("import", "--chunk", "100", stdin=LINES.encode() + b"[]")
    assert found.code == 2 and found.err.startswith(
        "mps3: the first 300 lines are imported\nmps3: standard input, line 301"
    )
    assert len(mps3("ls").lines) == 300


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"key": "k"}', "it is not like"),
        ('{"key": "k", "value": 1, "what": 2}', "unexpected member 'what'"),
        ('{"key": 1, "value": 1}', "a key is a str"),
        ('{"key": "", "value": 1}', "a key cannot be empty"),
        ('{"key": "k", "value": 1, "bucket": ""}', "not the name of a bucket"),
        ('{"key": "k", "value": NaN}', "not JSON"),
        ('"\ud800"', "not JSON"),
    ],
)
def test_bad_lines(mps3, url, tmp_path, line, said):
    (tmp_path / "in").write_bytes(line.encode(errors="surrogatepass"))
    found = mps3("import", str(tmp_path / "in"))
    assert found.code == 2 and "in, line 1: " in found.err and said in found.err


def test_files_that_are_not_there(mps3, url, tmp_path):
    found = mps3("import", str(tmp_path / "nothing"))
    assert found.code == 1 and "No such file" in found.err and found.err.count("\n") == 1
    mps3("put", "k", "1")
    found = mps3("export", "-o", str(tmp_path / "nowhere" / "out"))
    assert found.code == 1 and "No such file" in found.err


async def test_other_buckets(mps3, tmp_path):
    url = f"file://{tmp_path}/store"
    async with MPS3.from_url(url) as client:
        await client.put_all({"a": 1, Ref("a", "media"): 2})
    exported = (await asyncio.to_thread(mps3, "export", url)).out
    assert exported.splitlines() == ['{"key":"a","value":1}', '{"key":"a","bucket":"media","value":2}']
    (tmp_path / "in").write_text(exported)
    other = f"file://{tmp_path}/other"
    assert (await asyncio.to_thread(mps3, "import", other, str(tmp_path / "in"), "--bucket", "media")).code == 0
    async with MPS3.from_url(other) as client:
        assert await client.get_all() == {"a": 1, "s3://media/a": 2}


def test_as_it_was(mps3, url):
    then = mps3("put", "k", "1").lines[0]["commit"]
    mps3("put", "k", "2")
    assert mps3("export", "--at", then).lines == [{"key": "k", "value": 1}]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_does_not_wait_for_input(mps3, url, terminal):
    shown = terminal("import")
    shown.shows("reading JSON lines from the keyboard")
    shown.process.send_signal(signal.SIGINT)
    assert shown.ends() == 130 and "Traceback" not in shown.plain and "Fatal" not in shown.plain


def test_bars_on_a_terminal(mps3, url, tmp_path, terminal):
    (tmp_path / "in").write_text(LINES)
    shown = terminal("import", str(tmp_path / "in"))
    assert shown.ends() == 0 and "300/300" in shown.plain and "300 lines imported in 1 commit\n" in shown.plain
    shown = terminal("export", "-o", str(tmp_path / "out"))
    assert shown.ends() == 0 and "300 keys in" in shown.plain
    assert (tmp_path / "out").read_text() == LINES


def test_stat_for_people(mps3, url, tmp_path):
    (tmp_path / "store").mkdir()
    assert mps3("stat").lines == [{"keys": 0, "bytes": 0, "newest": None}]
    assert "there is no commit yet" in mps3("stat", "--no-json").out
    mps3("put", "k", f'"{"x" * 1998}"')
    mps3("put", "k", f'"{"x" * 1998}"')
    shown = mps3("stat", "--no-json").out
    assert shown.splitlines()[1].split() == ["keys", "1", "2.0", "kB"]
    assert "versions of values              2  4.0 kB\n" in shown and "the last commit: " in shown
    assert mps3("stat", "--quick").lines[0].keys() == {"keys", "bytes", "newest"}


def test_without_a_manifest_stat_and_gc_answer_no(mps3, url, tmp_path):
    (tmp_path / "store").mkdir()
    for command in (["stat"], ["stat", "--quick"], ["stat", "--no-json"], ["gc"], ["gc", "--dry-run"]):
        assert mps3(*command).code == 1, command
        assert mps3(*command, "--manifest", "nobody.json").code == 1, command
    mps3("put", "k", "1")
    for command in (["stat"], ["stat", "--quick"], ["gc"]):
        assert mps3(*command).code == 0, command
        assert mps3(*command, "--manifest", "nobody.json").code == 1, command
    for command in ("stat", "gc"):
        found = mps3(command, "--grace", "1m")
        assert found.code == 2 and "grace is at least" in found.err


def test_an_export_of_nothing_says_so(mps3, url, tmp_path):
    mps3("put", "k", "1")
    found = mps3("export", "--manifest", "nobody.json")
    assert (found.code, found.out) == (0, "") and "there is no such manifest" in found.err


def test_an_export_of_a_prefix_that_no_key_has_says_so(mps3, url):
    """A mistyped URL is a prefix, and the backup is empty then."""
    mps3("put", "key", "1")
    found = mps3("export", "s3//bucket")
    assert (found.code, found.out) == (0, "") and "no key begins with 's3//bucket'" in found.err
    assert mps3("export", "k").err == ""
    mps3("delete", "key")
    assert "there is no key" in mps3("export").err


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-(2**63), 2**64 - 1))), st.integers(1, 5))
def test_chunks_say_what_the_lines_say(lines, most):
    text = [json.dumps({"key": key, "value": value}).encode() for key, value in lines]
    found = list(chunks(entries(text, "here"), most))
    assert [(line.key, line.value) for group in found for line in group] == lines
    assert all(0 < len({line.key for line in group}) <= most for group in found)
