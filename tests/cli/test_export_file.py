"""``mps3 export -o FILE``: what becomes of the file, of what is beside it, and of what is no regular file."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from mps3.cli.base import output_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")


@pytest.fixture
def filled(mps3, url, tmp_path):
    """A store with a key, and a directory of its own for the files."""
    assert mps3("put", "k", "1").code == 0
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


LINE = '{"key":"k","value":1}\n'


def test_nothing_beside_the_file_is_touched(mps3, filled):
    victim, output = filled / "victim", filled / "out"
    victim.write_text("mine")
    (filled / "out.part").symlink_to(victim)
    assert mps3("export", "-o", str(output)).code == 0
    assert output.read_text() == LINE and victim.read_text() == "mine"
    assert {one.name for one in filled.iterdir()} == {"victim", "out", "out.part"}


def test_the_temporary_name_is_exclusive(mps3, filled, monkeypatch):
    monkeypatch.setattr(output_file.secrets, "token_hex", lambda _: "foreseen")
    (filled / "victim").write_text("mine")
    (filled / ".mps3-foreseen").symlink_to(filled / "victim")
    found = mps3("export", "-o", str(filled / "out"))
    assert found.code == 1 and "exists" in found.err and found.err.count("\n") == 1
    assert (filled / "victim").read_text() == "mine" and (filled / ".mps3-foreseen").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o604])
def test_a_file_keeps_its_mode(mps3, filled, mode):
    (filled / "out").write_text("old")
    (filled / "out").chmod(mode)
    assert mps3("export", "-o", str(filled / "out")).code == 0
    assert stat.S_IMODE((filled / "out").stat().st_mode) == mode and (filled / "out").read_text() == LINE


def test_a_new_file_has_the_mode_of_any(mps3, filled):
    (filled / "any").write_text("")
    assert mps3("export", "-o", str(filled / "out")).code == 0
    assert (filled / "out").stat().st_mode == (filled / "any").stat().st_mode


def test_a_link_stays_one(mps3, filled):
    (filled / "real").write_text("old")
    (filled / "link").symlink_to("real")
    (filled / "dangling").symlink_to("made")
    for name in ("link", "dangling"):
        assert mps3("export", "-o", str(filled / name)).code == 0
        assert (filled / name).is_symlink() and (filled / name).read_text() == LINE
    assert (filled / "real").read_text() == (filled / "made").read_text() == LINE


def test_a_pipe_stays_one(mps3, filled):
    os.mkfifo(filled / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((filled / "pipe").read_text()))
    reader.start()
    assert mps3("export", "-o", str(filled / "pipe")).code == 0
    reader.join()
    assert read == [LINE] and stat.S_ISFIFO((filled / "pipe").stat().st_mode)


def test_a_device_stays_one(mps3, filled):
    (filled / "null").symlink_to(os.devnull)
    for name in (os.devnull, str(filled / "null")):
        assert mps3("export", "-o", name).code == 0
        assert stat.S_ISCHR(Path(name).stat().st_mode)
    if Path("/dev/full").exists():
        found = mps3("export", "-o", "/dev/full")
        assert found.code == 1 and found.err.count("\n") == 1 and stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_failure_leaves_the_file_as_it_was(mps3, filled, monkeypatch):
    (filled / "out").write_text("old")

    def full(self: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_file.FileWriter, "__call__", full)
    assert mps3("export", "-o", str(filled / "out")).code == 1
    assert [one.name for one in filled.iterdir()] == ["out"] and (filled / "out").read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_is_not_replaced(mps3, filled):
    (filled / "out").write_text("old")
    (filled / "out").chmod(0o400)
    assert mps3("export", "-o", str(filled / "out")).code == 1 and (filled / "out").read_text() == "old"


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_by_name(mps3, filled, name):
    found = mps3("export", "-o", name)
    assert (found.code, found.out, found.err) == (0, LINE, "")


def test_a_value_that_nests_as_deep_as_it_may(mps3, url):
    deep = json.dumps(json.loads("[" * 240 + "]" * 240))
    assert mps3("put", "k", deep).code == 0
    for command in (
        ["get", "k"],
        ["export"],
        ["history", "k"],
        ["get", "k", "--no-json"],
        ["history", "k", "--no-json"],
    ):
        found = mps3(*command)
        assert found.code == 0 and found.out.count("[") >= 100
