"""What the pages say in words, tried."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from helpers import memory_client

from mps3 import MPS3, MemoryStorage, Ref

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
        assert [file.sha256 for file in (await client.snapshot()).files()] == [None]
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
