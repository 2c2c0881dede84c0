"""Patches of values of types of the user's own."""

from __future__ import annotations

import pytest
from helpers import memory_client

from mps3 import (
    DELETE,
    UNCHECKED,
    Append,
    ConflictError,
    Increment,
    MemoryStorage,
    Ref,
    Union,
    ValidationError,
)

pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")


class Card(pydantic.BaseModel):
    title: str
    votes: int = 0
    tags: list[str] = []


class Task(msgspec.Struct):
    title: str
    votes: int = 0
    tags: list[str] = []


@pytest.mark.parametrize("inline", [0, 1024])
@pytest.mark.parametrize("model", [Card, Task])
async def test_what_fits_is_written(model, inline):
    async with memory_client(MemoryStorage(), inline=inline) as client:
        cards = client.typed(model)
        await cards.put("k", model(title="a"))
        await cards.patch("k", {"votes": Increment(2), "tags": Union("red")})
        await cards.increment("k", path="/votes")
        assert await cards.get("k") == model(title="a", votes=3, tags=["red"])
        await cards.patch_all({"k": {"title": "b"}, "l": {"title": "new"}})
        assert await cards.get_all() == {"k": model(title="b", votes=3, tags=["red"]), "l": model(title="new")}


@pytest.mark.parametrize("inline", [0, 1024])
async def test_what_does_not_fit_is_not_written(inline):
    storage = MemoryStorage()
    async with memory_client(storage, inline=inline) as client, memory_client(storage) as other:
        cards = client.typed(Card)
        await cards.put("k", Card(title="a", votes=1))
        before = await client.log()
        for wrong in (
            {"title": None},
            {"title": DELETE},
            {"votes": Increment(0.5)},
            {"tags": Append(1)},
            {"tags": {"red": True}},
        ):
            with pytest.raises(ValidationError, match="what the patch makes of 'k' does not fit Card") as caught:
                cards.patch("k", wrong)
            assert (caught.value.key, caught.value.operation) == ("k", "PutObject")
        with pytest.raises(ValidationError):
            cards.increment("k", 0.5, path="/votes")
        with pytest.raises(ValidationError, match="'new' does not fit"):
            cards.patch("new", {"votes": 1})
        with pytest.raises(ValidationError, match="'new' does not fit"):
            cards.patch_all({"k": {"votes": 2}, "new": {"votes": 1}})
        assert client.status().pending == 0
        assert await client.log() == before
        assert await other.get_all() == {"k": {"title": "a", "votes": 1, "tags": []}}


async def test_pending_writes_count():
    async with memory_client(MemoryStorage()) as client:
        numbers = client.typed(int)
        client.put("n", 2)
        client.increment("n", 5)
        with pytest.raises(ValidationError):
            numbers.increment("n", 0.5)
        last = numbers.increment("n")
        client.put("n", "text")
        # What does not apply is said by the write, as with any other client.
        write = numbers.increment("n")
        with pytest.raises(ConflictError):
            await write
        await last
        assert await client.get("n") == "text"
        client.delete("n")
        client.put("o", {"a": 1})
        await numbers.increment("n")
        with pytest.raises(ValidationError):
            client.typed(dict[str, int]).patch("o", {"b": "text"})
        assert (await numbers.get("n"), await client.get("o")) == (1, {"a": 1})


async def test_what_is_not_in_memory_is_not_checked():
    storage = MemoryStorage()
    async with memory_client(storage, inline=0) as writer:
        await writer.put_all({"k": {"title": "a"}, "waits": {"title": "a"}})
        await writer.increment("waits", path="/votes")
    async with memory_client(storage) as client:
        cards = client.typed(Card)
        await cards.patch("k", {"title": None})
        with pytest.raises(ValidationError, match="the value of 'k' does not fit"):
            await cards.get("k")
        await cards.increment("waits", path="/votes")
        assert await cards.get("waits") == Card(title="a", votes=2)
        # Now it is.
        with pytest.raises(ValidationError):
            cards.increment("waits", 0.5, path="/votes")


async def test_a_manifest_that_is_not_read_yet_is_not_checked():
    storage = MemoryStorage()
    async with memory_client(storage) as writer:
        await writer.put("k", {"title": "a"}, manifests=["other.json"])
    async with memory_client(storage) as client:
        cards = client.typed(Card)
        write = cards.increment("k", path="/votes", manifests=["other.json"])
        await write
        assert await cards.get("k", manifest="other.json") == Card(title="a", votes=1)
        with pytest.raises(ValidationError):
            cards.patch("k", {"title": None}, manifests=["other.json"])
        with pytest.raises(ValidationError):
            cards.patch("k", {"votes": 2}, manifests=["other.json", "manifest.json"])
        assert await cards.get("k", manifest="other.json") == Card(title="a", votes=1)


async def test_arguments_are_passed_on():
    async with memory_client(MemoryStorage(versioning=False)) as client:
        cards = client.typed(Card)
        version = (await cards.patch("k", {"title": "a"}, if_version=None)).versions["k"]
        with pytest.raises(ConflictError):
            await cards.patch("k", {"title": "b"}, if_version=None)
        with pytest.raises(ConflictError):
            await cards.increment("k", path="/votes", if_version="no")
        await cards.increment("k", path="/votes", if_version=version)
        await cards.patch("k", {"title": "b"}, if_version=UNCHECKED, expires_in=60)
        await cards.patch_all({Ref("k", "media"): {"title": "c"}, "l": {"title": "d"}}, expires_in=60)
        assert await cards.get(Ref("k", "media")) == Card(title="c")
        files = {file.key: file.expires for file in await (await client.snapshot()).files()}
        assert set(files) == {"k", "l", "s3://media/k"} and None not in files.values()
        for wrong in ({"title": object()}, [1]):
            with pytest.raises(TypeError):
                cards.patch("k", wrong)
        with pytest.raises(TypeError, match="put the manifest in brackets"):
            cards.patch("k", {"title": "x"}, manifests="m.json")
        with pytest.raises(ValueError, match="path"):
            cards.increment("k", path="votes")
        assert client.status().pending == 0
