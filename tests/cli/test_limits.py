"""Values at and beyond the limits, on the command line."""

from __future__ import annotations

import asyncio
import hashlib
import json

import orjson
import pytest

from mps3.cli import main
from mps3.format.slot import slot_key
from mps3.storage.local import LocalStorage


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("MPS3_URL", f"file://{tmp_path}/store")
    return tmp_path / "store"


@pytest.mark.parametrize("depth", [254, 255, 300, 1000, 1025])
def test_a_value_that_nests_too_deep_is_refused_as_any_other(url, capsys, depth):
    code = main(["put", "k", nested(depth)])
    said = capsys.readouterr()
    assert "should not have happened" not in said.err
    assert code == (0 if depth <= 254 else 2) and said.err.count("\n") == (depth > 254)
    if code == 0:
        for command in (["get", "k", "--json"], ["export"], ["history", "k", "--json"], ["get", "k"]):
            assert main(command) == 0, command
            assert nested(depth) in capsys.readouterr().out.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize("depth", [255, 1024])
def test_what_others_have_stored_too_deep_is_an_error_like_any_other(url, capsys, depth):
    assert main(["put", "k", "1"]) == 0

    async def forge() -> None:
        storage = LocalStorage(url)
        await storage.open()
        try:
            body = nested(depth).encode()
            stored = await storage.put("default", "k", body)
            slot = slot_key("manifest.json", 1)
            found = await storage.get("default", slot)
            document = json.loads(found.body)
            file = {"version": stored.version, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            document |= {"session": "somebody", "update": {"files": {"k": file}}}
            await storage.put("default", slot, orjson.dumps(document))
        finally:
            await storage.aclose()

    asyncio.run(forge())
    for command in (["get", "k"], ["export"], ["ls"]):
        capsys.readouterr()
        code = main(command)
        said = capsys.readouterr()
        assert "should not have happened" not in said.err, command
        if command != ["ls"]:
            assert code != 0 and "254 deep" in said.err, command
