"""No command writes or deletes in a bucket that only the manifest names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mps3 import MPS3
from mps3.cli import main


@pytest.fixture
def url(tmp_path, monkeypatch):
    found = f"file://{tmp_path}/store"
    monkeypatch.setenv("MPS3_URL", found)

    async def fill() -> str:
        async with MPS3.from_url(found) as client:
            commit = await client.put("a", "old", bucket="other")
            await client.put("b", "old")
            then = (await client.log())[0].id
            await client.put("a", "new", bucket="other")
            await client.put("b", "new")
            assert commit.id != then
            return then

    return found, asyncio.run(fill())


def value(url: str, key: str, bucket: str | None = None) -> Any:
    async def read() -> Any:
        async with MPS3.from_url(url) as client:
            return await client.get(key, bucket=bucket)

    return asyncio.run(read())


def test_restoring_all_leaves_other_buckets_alone_without_consent(url, capsys):
    url, then = url
    assert main(["restore", "--all", "--to", then, "--yes"]) == 0
    assert "other" in capsys.readouterr().err
    assert (value(url, "b"), value(url, "a", "other")) == ("old", "new")
    assert main(["restore", "--all", "--to", then, "--yes", "--bucket", "other"]) == 0
    assert value(url, "a", "other") == "old"


def test_collecting_leaves_other_buckets_alone_without_consent(url, capsys):
    assert main(["gc", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == ["other"]
    assert main(["gc", "--dry-run", "--json", "--bucket", "other"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == []


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["", "dry run"])
def test_importing_writes_into_no_other_bucket_without_consent(url, capsys, tmp_path, dry_run):
    """An export of a manifest that somebody else has written may name any bucket."""
    url, _ = url
    exported = tmp_path / "exported.jsonl"
    exported.write_text('{"key":"b","value":"newest"}\n{"key":"a","bucket":"other","value":"newest"}\n')
    assert main(["import", str(exported), *dry_run]) == 2
    assert "line 2: 'a' is a key of the bucket \"other\"" in capsys.readouterr().err
    assert (value(url, "b"), value(url, "a", "other")) == ("new", "new")
    assert main(["import", str(exported), *dry_run, "--bucket", "media"]) == 2
    assert main(["import", str(exported), *dry_run, "--bucket", "other"]) == 0
    assert value(url, "a", "other") == ("new" if dry_run else "newest")


@pytest.mark.parametrize("command", [["gc"], ["restore", "--all", "--to", "1h"], ["import"]])
def test_what_is_no_bucket_is_a_usage_error(url, command, capsys):
    assert main([*command, "--bucket", "a/b"]) == 2
    assert "a/b" in capsys.readouterr().err
