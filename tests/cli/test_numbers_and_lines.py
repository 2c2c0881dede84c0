"""What ``put`` and ``import`` take: it is kept as it is, or refused before anything is written."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest

from mps3 import MPS3
from mps3.cli.base import input as reading
from mps3.journal.runs import SUFFIX

BEYOND = ("12345678901234567890123", "18446744073709551616", "-9223372036854775809", '[1, {"a": 100000000000000000000}]', "-" + "9" * 5000)  # fmt: skip
WITHIN = ("18446744073709551615", "-9223372036854775808", '"12345678901234567890123"', "1.2345678901234568e22", "[9223372036854775807]")  # fmt: skip


@pytest.mark.parametrize("number", BEYOND)
def test_an_integer_beyond_64_bits_is_refused_everywhere(mps3, run, url, tmp_path, number):
    found = mps3("put", "--", "k", number) if not number.startswith("-") else mps3("put", "k", number)
    assert found.code == 2 and found.err.count("\n") == 1
    (tmp_path / "in").write_text(f'{{"key": "a", "value": 1}}\n{{"key": "k", "value": {number}}}\n')
    for arguments in ([], ["--dry-run"]):
        found = mps3("import", str(tmp_path / "in"), *arguments)
        assert found.code == 2 and "line 2" in found.err
    assert not (tmp_path / "store").exists()

    async def put() -> None:
        async with MPS3.from_url(url) as client:
            await client.put("k", json.loads(number) if len(number) < 1000 else 10**30)

    with pytest.raises(ValueError, match="64 bits"):
        asyncio.run(put())


@pytest.mark.parametrize("number", WITHIN)
def test_other_numbers_are_kept_exactly(mps3, url, number):
    assert mps3("put", "k", number).code == 0
    assert json.loads(mps3("get", "k").out) == json.loads(number)
    exported = mps3("export").out
    assert json.loads(exported)["value"] == json.loads(number)


BAD = {
    "deep": '{"key": "k", "value": %s}' % ("[" * 300 + "]" * 300),
    "deeper": '{"key": "k", "value": %s}' % ("[" * 1010 + "]" * 1010),
    "own": '{"key": "manifest.json", "value": 1}',
    "own run": '{"key": "manifest.json' + SUFFIX + 'x", "value": 1}',
    "long": '{"key": "%s", "value": 1}' % ("k" * 1025),
    "bucket": '{"key": "k", "bucket": "a/b", "value": 1}',
    "expires": '{"key": "k", "value": 1, "expires": "soon"}',
    "expires without a zone": '{"key": "k", "value": 1, "expires": "2030-01-01T00:00:00"}',
    "expires is a number": '{"key": "k", "value": 1, "expires": 7}',
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_could_not_be_written_is_refused_before_anything_is(mps3, url, tmp_path, bad):
    (tmp_path / "in").write_text('{"key": "a", "value": 1}\n' * 3 + bad + "\n")
    for arguments in (["--dry-run"], ["--chunk", "1"]):
        found = mps3("import", str(tmp_path / "in"), *arguments)
        assert found.code == 2 and "in, line 4: " in found.err and found.err.count("\n") == 1, found
    assert not (tmp_path / "store").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there are no such devices")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_input_without_end(mps3, url, device):
    for arguments in ([], ["--dry-run"]):
        found = mps3("import", device, *arguments)
        assert found.code == 2 and f"{device}, line " in found.err and found.err.count("\n") == 1


def test_a_line_or_a_value_that_is_too_long(mps3, run, url, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    (tmp_path / "in").write_text('{"key": "a", "value": 1}\n{"key": "k", "value": "%s"}\n' % ("x" * (2 << 20)))
    found = mps3("import", str(tmp_path / "in"))
    assert found.code == 2 and "line 2" in found.err and "MiB" in found.err and not (tmp_path / "store").exists()
    (tmp_path / "in").write_text('{"key": "k", "value": "%s"}\n{"key": "a", "value": 1}' % ("x" * 700_000))
    assert mps3("import", str(tmp_path / "in")).lines[0]["lines"] == 2
    with (tmp_path / "in").open("rb") as stream, pytest.raises(reading.click.UsageError, match="MiB"):
        monkeypatch.setattr(reading, "MAX_BYTES", 1 << 18)
        reading.read_all(stream, "it")


def test_expiry_survives_export_and_import(mps3, url, tmp_path, later):
    mps3("put", "a", "1", "--expires-in", "100")
    mps3("put", "b", "2", "--expires-in", "1000")
    mps3("put", "c", "3")
    exported = mps3("export")
    assert [sorted(one) for one in exported.lines] == [["expires", "key", "value"]] * 2 + [["key", "value"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", exported.lines[0]["expires"])
    (tmp_path / "in").write_text(exported.out)
    later(400)
    other = ("--url", f"file://{tmp_path}/other")
    found = mps3("import", str(tmp_path / "in"), *other)
    assert found.lines == [{"lines": 3, "commits": 1, "dry_run": False, "expired": 1}]
    assert [one["key"] for one in mps3("ls", *other).lines] == ["b", "c"]
    # The second import finds what is left of the lifetime, and not the whole of it.
    assert abs(seconds(mps3("export", *other).lines[0]) - seconds(exported.lines[1])) < 30
    later(550)
    assert [one["key"] for one in mps3("ls", *other).lines] == ["b", "c"]
    later(100)
    assert [one["key"] for one in mps3("ls", *other).lines] == ["c"]


def seconds(line: dict[str, str]) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(line["expires"]).timestamp()


def test_the_last_line_says_whether_a_key_expires(mps3, url, tmp_path):
    (tmp_path / "in").write_text(
        '{"key": "a", "value": 1, "expires": "2001-01-01T00:00:00Z"}\n{"key": "a", "value": 2}\n'
        '{"key": "b", "value": 1}\n{"key": "b", "value": 2, "expires": "2001-01-01T00:00:00Z"}\n'
    )
    assert mps3("import", str(tmp_path / "in")).lines[0] == {"lines": 4, "commits": 1, "dry_run": False, "expired": 1}
    assert mps3("export").lines == [{"key": "a", "value": 2}]


async def test_lifetimes_of_single_keys(tmp_path):
    async with MPS3.from_url("memory:lifetimes") as client:
        await client.put_all({"a": 1, "b": 2, "c": 3}, expires_in={"a": 100, "b": 1000})
        ends = {file.key: file.expires for file in await (await client.snapshot()).files()}
        assert ends["c"] is None and 800 < (ends["b"] - ends["a"]).total_seconds() < 1000
        now = client.store_time()
        assert now is not None and 50 < (ends["a"] - now).total_seconds() <= 100.1
        with pytest.raises(ValueError):
            client.put_all({"a": 1}, expires_in={"a": 0})
