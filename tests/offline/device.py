"""Clients that share a store and a directory, and may be killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from commits import slots_of
from helpers import BUCKET, COMMIT, POLL, StoreWithClock, Unreliable, by_versions, eventually, stored_manifest

from mps3 import MPS3, UnavailableError
from mps3.support.sqlite import close


class Device:
    """Opens clients of one store and one directory, one after the other or together."""

    def __init__(self, directory: Any, *, versioning: bool = True) -> None:
        self.directory = directory
        self.storage = StoreWithClock(versioning=versioning)
        self.open: list[MPS3] = []

    async def begin(self, **options: Any) -> MPS3:
        usual = {"offline": self.directory, "poll_interval": POLL, **by_versions(self.storage)}
        client = MPS3(BUCKET, storage=self.storage, **{**usual, **options})
        await client.__aenter__()
        self.open.append(client)
        return client

    async def end(self, client: MPS3) -> None:
        self.open.remove(client)
        await client.aclose()

    async def kill(self, client: MPS3) -> None:
        """What is left of a process that is killed: its files, unlocked."""
        self.open.remove(client)
        tasks = [task for manifest in client._manifests.values() for task in manifest._tasks._tasks]
        tasks += list(client._contents._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for outbox_queue in client._outbox_queues:
            while outbox_queue._task is not None:
                outbox_queue._task.cancel()
                await asyncio.gather(outbox_queue._task, return_exceptions=True)
            connection, outbox_queue._durable_outbox._connection = outbox_queue._durable_outbox._connection, None
            if connection is not None:
                await close(connection)
        await client._directory.aclose()
        client._state = "closed"
        await client._storage.aclose()

    async def stranger(self) -> MPS3:
        """Another device: without the directory, and with the same store."""
        return await self.begin(offline=None)

    def swallow_answer(self, key: str = COMMIT) -> asyncio.Event:
        """The next PUT of a key takes effect, and is never answered. Set once it took effect."""
        took_effect = asyncio.Event()
        put = type(self.storage).put

        async def swallow(bucket: str, name: str, body: bytes, **options: Any) -> Any:
            stored = await put(self.storage, bucket, name, body, **options)
            if not self.storage.is_meant(key, name):
                return stored
            del self.storage.put
            took_effect.set()
            return await asyncio.Event().wait()

        self.storage.put = swallow
        return took_effect

    def down(self) -> None:
        self.storage.down()

    def up(self) -> None:
        self.storage.up()


def refuse(storage: Unreliable, error: UnavailableError) -> None:
    storage.fail = lambda operation, key: error


async def drained(client: MPS3) -> None:
    """Wait until nothing is on its way any more."""
    await eventually(lambda: client.status().pending == 0)


def outboxes(device: Device) -> list[Path]:
    return sorted((device.directory / "outbox").glob("*.sqlite3"))


async def commits(device: Device) -> list[tuple[str, int, list[str]]]:
    """All commits of the manifest, in order, as (session, sequence, keys)."""
    head = await stored_manifest(device.storage)
    made = await slots_of(device.storage) if head["journal"] == "log" else [*head["log"], head]
    found: list[tuple[str, int, list[str]]] = []
    for one in made:
        # In a log, an entry without a session has that of the entry before it.
        session = one.get("session", found and found[-1][0])
        found.append((session, one["sequence"], sorted(one["update"]["files"])))
    return found
