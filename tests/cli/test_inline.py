"""Which values commands write into the commit: ``--inline``."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mps3.content.store import INLINE
from mps3.format import limits
from mps3.storage.local import FILE_NAME


@pytest.fixture
def stored(tmp_path, url):
    """The keys of the values that are objects of their own."""

    def find() -> list[str]:
        with closing(sqlite3.connect(tmp_path / "store" / FILE_NAME)) as connection:
            found = connection.execute("SELECT key FROM objects").fetchall()
        return sorted(key.decode() for (key,) in found if not key.startswith(b"manifest.json"))

    return find


def text(size: int) -> str:
    """A value of so many bytes of JSON."""
    return '"' + "x" * (size - 2) + '"'


@pytest.mark.parametrize(
    ("options", "size", "is_inline"),
    [
        ([], 1, True),
        ([], INLINE, True),
        ([], INLINE + 1, False),
        (["--inline", "0"], 1, False),
        (["--inline", "10"], 10, True),
        (["--inline", "10"], 11, False),
        (["--inline", str(limits.INLINE)], limits.INLINE, True),
    ],
)
def test_what_becomes_part_of_a_commit(mps3, stored, tmp_path, options, size, is_inline):
    value = text(size) if size > 1 else "7"
    assert mps3("put", "a", value, *options).code == 0
    (tmp_path / "in").write_text(f'{{"key": "b", "value": {value}}}\n')
    assert mps3("import", str(tmp_path / "in"), *options).code == 0
    assert stored() == ([] if is_inline else ["a", "b"])
    assert mps3("get", "a").out == mps3("get", "b").out == value + "\n"


def test_what_is_restored(mps3, stored):
    first = mps3("put", "a", "1").lines[0]["commit"]
    second = mps3("put", "a", "2").lines[0]["commit"]
    assert mps3("restore", "a", "--to", first, "--yes").code == 0
    assert stored() == []
    assert mps3("restore", "a", "--to", second, "--yes", "--inline", "0").code == 0
    assert stored() == ["a"]
    assert mps3("restore", "--all", "--to", first, "--yes", "--inline", "0").code == 0
    assert stored() == ["a", "a"] and mps3("get", "a").lines == [1]


@pytest.mark.parametrize("wrong", ["-1", str(limits.INLINE + 1), "1.5", "1k", "", "no"])
@pytest.mark.parametrize("command", [["put", "k", "1"], ["import"], ["restore", "k", "--to", "1h", "--yes"]])
def test_a_wrong_number_is_an_error_of_one_line(mps3, url, command, wrong):
    mps3("put", "k", "0")
    found = mps3(*command, f"--inline={wrong}")
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1) and "--inline" in found.err
    assert mps3("get", "k").lines == [0]
