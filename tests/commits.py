"""What tests know of where commits are: versions of the manifest with the merge journal, slots with the log journal."""

from __future__ import annotations

import json
from typing import Any

from helpers import BUCKET, MANIFEST, Unreliable

from mps3 import MemoryStorage
from mps3.errors import MPS3Error
from mps3.format.names import LOG_SUFFIX
from mps3.format.slot import NOBODY, SlotName
from mps3.storage import Object


def is_slot(key: str, manifest: str = MANIFEST) -> bool:
    """Whether a key is that of a slot."""
    name = SlotName.parse(manifest, key)
    return name is not None and not name.is_checkpoint


def is_commit(key: str, manifest: str = MANIFEST) -> bool:
    """Whether a PUT of this key makes a commit, once there is a manifest."""
    return key == manifest or is_slot(key, manifest)


async def names_of(storage: MemoryStorage, manifest: str = MANIFEST) -> list[tuple[SlotName, str]]:
    """The slots and checkpoints of a log and their keys, in order."""
    found, start = [], None
    while True:
        page = await MemoryStorage.list(storage, BUCKET, manifest + LOG_SUFFIX, start=start)
        found += [(name, entry.key) for entry in page.entries if (name := SlotName.parse(manifest, entry.key))]
        start = page.next
        if start is None:
            return sorted(found)


async def last_slot(storage: MemoryStorage, manifest: str = MANIFEST) -> int:
    """The number of the last slot; zero if there is none."""
    return max([name.number for name, _ in await names_of(storage, manifest)], default=0)


async def read(storage: MemoryStorage, key: str) -> dict[str, Any]:
    """What an object of a manifest holds."""
    found = await MemoryStorage.get(storage, BUCKET, key)
    assert isinstance(found, Object)
    document: dict[str, Any] = json.loads(found.body)
    return document


async def slots_of(storage: MemoryStorage, manifest: str = MANIFEST) -> list[dict[str, Any]]:
    """What the slots of a log hold, in order, but for fillers."""
    slots = [await read(storage, key) for name, key in await names_of(storage, manifest) if not name.is_checkpoint]
    return [slot for slot in slots if slot["session"] != NOBODY]


async def newest_checkpoint(storage: MemoryStorage, manifest: str = MANIFEST) -> dict[str, Any] | None:
    """What the newest checkpoint of a log holds."""
    checkpoints = [key for name, key in await names_of(storage, manifest) if name.is_checkpoint]
    return await read(storage, checkpoints[-1]) if checkpoints else None


async def settled_document(storage: MemoryStorage, manifest: str = MANIFEST) -> dict[str, Any]:
    """What holds the settled files, sessions and runs: the head, or the newest checkpoint of a log, if there is one."""
    head = await read(storage, manifest)
    return head if head["journal"] != "log" else await newest_checkpoint(storage, manifest) or head


def refuse_commits(storage: Unreliable, error: MPS3Error) -> None:
    """Let every PUT of a commit fail."""
    storage.fail = lambda operation, key: error if operation == "put" and is_commit(key) else None


def hold_commits(storage: Unreliable) -> None:
    """Let every PUT of a commit wait until `Unreliable.release`."""
    storage.switch.clear()
    storage.hang = lambda operation, key: operation == "put" and is_commit(key)


def commits_in(calls: list[tuple[str, str]]) -> int:
    """How many PUTs of commits there are among calls."""
    return sum(operation == "put" and is_commit(key) for operation, key in calls)
