"""``mps3 watch``."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading

import pytest

from .conftest import PATIENCE, credentials, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.fixture
def watch(url):
    """Watches in a process of its own; gives the lines as they come."""
    processes: list[subprocess.Popen[bytes]] = []

    def call(*arguments: str):
        process = start("watch", "--poll-interval", "0.1", *arguments, env={"MPS3_URL": url})
        processes.append(process)
        # A line that never comes fails the test instead of keeping it.
        timer = threading.Timer(PATIENCE, process.kill)
        timer.daemon = True
        timer.start()
        return process, lambda: json.loads(process.stdout.readline())

    yield call
    for process in processes:
        with contextlib.suppress(OSError):
            process.kill()
        with process:
            pass


def test_the_present_and_then_each_commit(mps3, url, watch):
    mps3("put", "k/1", "1")
    mps3("put", "other", "1")
    process, line = watch("k/")
    first = line()
    assert first["initial"] and first["end_of_initial"] and [one["key"] for one in first["changes"]] == ["k/1"]
    mps3("put", "other", "2")
    commit = mps3("put", "k/1", "[2]").lines[0]["commit"]
    second = line()
    assert second["id"] == commit and not second["initial"]
    assert second["changes"][0]["key"] == "k/1" and second["changes"][0]["value"] == [2]
    mps3("delete", "k/1")
    assert line()["changes"] == [{"key": "k/1", "deleted": True}]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, b"", b"")
    for since in (second["cursor"], commit, commit[:8] + commit[32:]):
        again, line = watch("k/", "--since", since)
        assert line()["changes"] == [{"key": "k/1", "deleted": True}]
        again.send_signal(signal.SIGTERM)


def test_a_store_that_is_not_there_yet(mps3, url, watch, tmp_path):
    process, line = watch()
    first = line()
    assert first["initial"] and first["end_of_initial"] and first["changes"] == []
    commit = mps3("put", "k", "1").lines[0]["commit"]
    assert line()["id"] == commit
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert err.decode() == f"mps3: there was no directory '{tmp_path}/store': it is created\n"


def test_it_ends_when_nobody_reads(mps3, url, watch):
    mps3("put", "k", "1")
    process, line = watch()
    line()
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""


def test_what_is_different_on_a_terminal(mps3, url, terminal):
    mps3("put", "k", '"red"')
    shown = terminal("watch", "--poll-interval", "0.1")
    assert shown.shows("Ctrl-C ends it\n").endswith('  k  "red"\n1 key; watching, Ctrl-C ends it\n')
    mps3("put", "k", '"blue"')
    shown.shows('~ k  "red" → "blue"\n')
    mps3("put", "big", json.dumps({"a": 1, "b": list(range(40))}))
    shown.shows('+ big  {"a":1,')
    mps3("put", "big", json.dumps({"a": 2, "b": list(range(40))}))
    shown.shows('    -   "a": 1,\n    +   "a": 2,\n')
    mps3("put", "e\x1b[1m", "1")
    shown.shows("+ e\\x1b[1m  1\n")
    mps3("delete", "k")
    shown.shows('- k  "blue"\n')
    shown.process.send_signal(signal.SIGINT)
    assert shown.ends() == 130 and "Traceback" not in shown.plain


def test_it_goes_on_with_what_was_before(mps3, url, terminal):
    commit = mps3("put", "k", "1").lines[0]["commit"]
    mps3("put", "k", "2")
    shown = terminal("watch", "--since", commit)
    shown.shows("~ k  1 → 2\n")
    shown.process.send_signal(signal.SIGINT)
    assert shown.ends() == 130


@pytest.mark.server
def test_a_store_that_does_not_answer(server, bucket, terminal):
    shown = terminal("watch", f"s3://{bucket}?endpoint_url=http://127.0.0.1:9", **credentials(server))
    assert shown.ends() == 5 and "try again" in shown.plain and "Traceback" not in shown.plain


def test_wrong_arguments(mps3, url, tmp_path):
    (tmp_path / "store").mkdir()
    for arguments, said in (
        (["--since", "10m"], "takes a commit or a cursor"),
        (["--since", "x"], "neither a commit"),
        (["--poll-interval", "0"], "positive number"),
    ):
        found = mps3("watch", *arguments)
        assert found.code == 2 and said in found.err and found.err.count("\n") == 1
    assert mps3("watch", "--since", f"{'0' * 32}.1").code == 7
