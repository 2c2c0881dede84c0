"""What the pages say in words, tried."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from helpers import memory_client

from mps3 import (
    DELETE,
    MPS3,
    Append,
    ConflictError,
    Increment,
    Maximum,
    MemoryStorage,
    Minimum,
    Prepend,
    Ref,
    Remove,
    Union,
)
from mps3.cli.base.changes import OPERATIONS

DOCS = Path(__file__).parents[2] / "docs"


def says(page: str, text: str) -> bool:
    file = DOCS / page
    return not file.is_file() or text in " ".join(file.read_text(encoding="utf-8").split())


async def test_the_url_of_a_directory_names_a_bucket_and_a_manifest(tmp_path):
    """docs/guide.md"""
    for url in (f"{tmp_path.as_uri()}/store", f"memory:{secrets.token_hex(4)}"):
        async with MPS3.from_url(url) as client:
            assert client.status().manifests == (Ref("manifest.json", "default"),)
        async with MPS3.from_url(f"{url}?bucket=media&manifest=app.json") as client:
            await client.put("color", "red")
            assert client.status().manifests == (Ref("app.json", "media"),)
    assert says("guide.md", "one bucket, `default`, and a manifest, `manifest.json`; `?bucket=media&manifest=app.json`")


async def test_without_checksums_none_is_recorded():
    """docs/providers.md"""
    async with memory_client(MemoryStorage(), checksums=False, inline=0) as client:
        await client.put("color", "red")
        assert [file.sha256 for file in await (await client.snapshot()).files()] == [None]
    assert says("providers.md", "With `checksums=False` no SHA-256 is recorded")


async def test_a_cursor_is_as_long_as_the_guide_says():
    """docs/guide-web.md: a proxy has limits for headers, and the cursor is in one."""
    lengths = {}
    for count in (1, 40):
        storage = MemoryStorage()
        clients = [memory_client(storage, poll_interval=60) for _ in range(count)]
        for client in clients:
            await client.__aenter__()
        await asyncio.gather(*(client.put("k", number) for number, client in enumerate(clients)))
        async with memory_client(storage) as reader, reader.watch() as batches:
            async for batch in batches:
                if batch.end_of_initial:
                    break
            await clients[0].put("k", "last")
            while batch.cursor is None or batch.initial:
                batch = await anext(batches)
            lengths[count] = len(batch.cursor)
        await asyncio.gather(*(client.aclose() for client in clients))
    assert 80 <= lengths[1] <= 150
    assert 1000 <= lengths[40] <= 2000
    assert says("guide-web.md", "some 100 bytes** where one client writes, 1.7 kB with forty clients")


NOTHING = object()
"""A `ConflictError`, and no change."""
# A change, the cells of its row, and what it makes of an absent member, of one of the right type, and of another one.
CHANGES = [
    ("any JSON value but an object", 7, 7, (1, 7), ("text", 7)),
    ("any JSON value but an object", None, None, (1, None), ("text", None)),
    ("`DELETE`", DELETE, DELETE, (1, DELETE), ("text", DELETE)),
    ("a mapping", {"m": 1}, {"m": 1}, ({"n": 2}, {"n": 2, "m": 1}), ("text", {"m": 1})),
    ("`Increment(by)`", Increment(2), 2, (3, 5), ("3", NOTHING)),
    ("`Maximum(number)`", Maximum(2), 2, (3, 3), (None, NOTHING)),
    ("`Maximum(number)`, `Minimum(number)`", Minimum(2), 2, (3, 2), ([3], NOTHING)),
    ("`Append(*items)`", Append(1, 2), [1, 2], ([1], [1, 1, 2]), ("text", NOTHING)),
    ("`Append(*items)`, `Prepend(*items)`", Prepend(1, 2), [1, 2], ([3], [1, 2, 3]), ({}, NOTHING)),
    ("`Union(*items)`", Union(1, 1, 1.0, True), [1, 1.0, True], ([True, 1], [True, 1, 1.0]), (1, NOTHING)),
    ("`Remove(*items)`", Remove(1), [], ([1, 2, 1, True], [2, True]), (None, NOTHING)),
]


async def test_what_each_change_means_is_what_it_does():
    """docs/operations.md"""
    async with memory_client(MemoryStorage(versioning=False)) as client:

        async def made(before: object, change: object) -> object:
            await client.put("k", {} if before is DELETE else {"a": before})
            try:
                await client.patch("k", {"a": change})
            except ConflictError:
                assert await client.get("k") == {"a": before}
                return NOTHING
            return (await client.get("k")).get("a", DELETE)

        for label, change, absent, *others in CHANGES:
            assert says("operations.md", f"| {label}"), label
            for before, after in ((DELETE, absent), *others):
                found = await made(before, change)
                assert (found, repr(found)) == (after, repr(after)), (change, before)


def test_the_command_line_has_all_operations_on_its_page():
    """docs/cli.md"""
    for name in OPERATIONS:
        assert says("cli.md", f'`{{"{name}": '), name
