"""Only type-checked: what users' type checkers see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from mps3 import DELETE, JSON, MPS3, Commit, LocalStorage, MemoryStorage, Ref, Status, Subscription, Write


class Missing:
    """A default of the user's own."""


async def reading(client: MPS3, default: Missing) -> None:
    """What is read is JSON, or the default."""
    assert_type(await client.get("k"), JSON)
    assert_type(await client.get(Ref("k")), JSON)
    assert_type(await client.get("k", default), JSON | Missing)
    assert_type(await client.get("k", default, bucket="b", manifest=Ref("m", "b")), JSON | Missing)
    assert_type(client.subscribe("k"), Subscription[JSON])
    assert_type(client.subscribe("k", default), Subscription[JSON | Missing])
    assert_type(await anext(client.subscribe("k")), JSON)
    async for value in client.subscribe("k", default, manifest="m"):
        assert_type(value, JSON | Missing)
    async with client.subscribe("k") as subscription:
        assert_type(subscription, Subscription[JSON])
    value = await client.get("k")
    if isinstance(value, Mapping):
        assert_type(value["x"], JSON)


async def writing(client: MPS3, counts: dict[str, int], names: list[str]) -> None:
    """Concrete containers of JSON are JSON."""
    assert_type(client.put("k", {"a": [1, 2.0, None, True, "x"]}), Write)
    assert_type(await client.put("k", counts), Commit)
    assert_type(await client.put("k", names), Commit)
    assert_type(await client.put("k", DELETE), Commit)
    assert_type(client.put_all(counts), Write)
    assert_type(client.put_all({"a": 1, "b": DELETE}), Write)
    assert_type(client.put_all({Ref("a"): 1, "b": None}, manifests=["m", Ref("n")]), Write)
    write = client.delete("k", bucket="b", manifests=[Ref("m")])
    assert_type(write, Write)
    assert_type(write.pending, bool)
    assert_type(write.withdraw(), bool)
    commit = await write
    assert_type(commit.id, str)
    assert_type(commit.versions, Mapping[str, str | None])
    assert_type(commit.manifest, Ref)


async def refused(client: MPS3) -> None:
    """What a type checker finds before it is run; an unneeded ignore is an error too."""
    client.put("k", object())  # type: ignore[arg-type]
    client.put("k", {1, 2})  # type: ignore[arg-type]
    client.put(1, 1)  # type: ignore[arg-type]
    client.put("k")  # type: ignore[call-arg]
    client.put("k", 1, "bucket")  # type: ignore[call-arg]
    client.delete("k").id  # type: ignore[attr-defined]  # noqa: B018


async def opening(config: dict[str, Any]) -> None:
    """The ways to make a client."""
    async with MPS3("b", s3_config=config) as client:
        assert_type(client, MPS3)
        assert_type(client.status(), Status)
        assert_type(client.status().pending, int)
    async with MPS3.from_url("memory:", poll_interval=0.1) as client:
        assert_type(client, MPS3)
    MPS3("b", Ref("m", "c"), storage=LocalStorage("dir"), poll_interval=1, checksums=False)
    await MPS3("b", storage=MemoryStorage()).aclose()
