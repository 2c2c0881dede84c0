"""A storage on obstore's store in memory: what does not depend on a service."""

from __future__ import annotations

import asyncio
import sys

import pytest

pytest.importorskip("obstore", reason="the package obstore is not installed")

from storage.obstore_storage import CALLS, memory_storage

from mps3 import MPS3, ClosedError, ConfigurationError
from mps3.storage.obstore import listing
from mps3.storage.obstore.storage import ObstoreStorage
from mps3.testing import CHECKS, Skipped


@pytest.fixture
async def storage():
    storage = memory_storage()
    await storage.open()
    yield storage
    await storage.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check, storage):
    try:
        await check(storage, "conformance")
    except Skipped as reason:
        pytest.skip(str(reason))


async def test_clients_share_a_manifest():
    storage = memory_storage()
    async with MPS3("bucket", storage=storage, poll_interval=0.05) as one:
        async with MPS3("bucket", storage=storage, poll_interval=0.05) as other:
            await one.put("small", 1)
            await one.put("large", "x" * 10_000)
            await asyncio.gather(*(client.update("n", lambda n: (n or 0) + 1) for client in (one, other) * 5))
            assert await other.get("large") == "x" * 10_000 and await one.get("n") == 10
            assert set(await other.keys()) == {"small", "large", "n"}
        assert (await one.collect()).values.kept is not None


async def test_long_listings_come_in_pages(storage, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 7)
    keys = {f"folder/{number:03}" for number in range(40)} | {f"folder%/{number}" for number in range(9)}
    for key in keys:
        await storage.put("bucket", key, b"")

    async def listed(*, forgetting: bool) -> list[str]:
        found, start = [], None
        while True:
            page = await storage.list("bucket", "folder", start=start)
            found += [entry.key for entry in page.entries]
            if (start := page.next) is None:
                return found
            if forgetting:
                storage._listings.clear()

    for forgetting in (False, True):
        found = await listed(forgetting=forgetting)
        assert len(found) == len(keys) and set(found) == keys
    assert not storage._listings._streams


async def test_unfinished_listings_are_forgotten(storage, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 1)
    monkeypatch.setattr(listing, "STREAMS", 3)
    for number in range(9):
        await storage.put("bucket", f"{number}/a", b"")
        await storage.put("bucket", f"{number}/b", b"")
    for number in range(9):
        await storage.list("bucket", f"{number}/")
    assert len(storage._listings._streams) == 3


async def test_a_closed_storage_says_so(storage):
    await storage.aclose()
    for call in CALLS.values():
        with pytest.raises(ClosedError):
            await call(storage)
    await storage.open()


async def test_it_warns_when_it_was_not_closed():
    opened = [memory_storage()]
    await opened[0].open()
    with pytest.warns(ResourceWarning, match="unclosed"):
        opened.clear()


@pytest.mark.parametrize(
    ("scheme", "options", "why"),
    [
        ("az", {}, "which account"),
        ("az", {"account_name": "a", "no_such_setting": "1"}, "settings of the store are wrong"),
        ("gs", {"service_account": "/no/such/file"}, "settings of the store are wrong"),
        ("gs", {"endpoint_url": "https://user:secret@host"}, "has a user or a password"),
    ],
)
async def test_wrong_settings_show_at_open(scheme, options, why):
    storage = ObstoreStorage(scheme, options)
    with pytest.raises(ConfigurationError, match=why) as caught:
        await storage.open()
    assert "secret" not in str(caught.value)


async def test_without_obstore_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigurationError, match=r"pip install .mps3\[obstore\]"):
        await ObstoreStorage("gs").open()
