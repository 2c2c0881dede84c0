"""Collecting a log where the bucket keeps versions: what goes is gone with all its versions, and leaves no marker."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import helpers
import pytest
from collect.garbage import DAY, SOON, everything, values_of
from commits import last_slot, names_of
from helpers import BUCKET, MANIFEST, PATIENCE, Clock, client, soon

from mps3 import MPS3, ConflictError
from mps3.format import commit_age
from mps3.format.names import LOG_SUFFIX
from mps3.format.slot import slot_key
from mps3.journal.log import checkpoints, tail
from mps3.storage import ABSENT

memory_client = partial(helpers.memory_client, journal="auto")

LARGE = "x" * 2000


@pytest.fixture(autouse=True)
def many_checkpoints(monkeypatch):
    monkeypatch.setattr(tail, "EVERY", 8)
    monkeypatch.setattr(checkpoints, "KEPT", 4)


async def fill(one: MPS3, clock: Clock, number: int = 40) -> None:
    for value in range(number):
        await one.put_all({"small": value, "large": LARGE + str(value)})
        clock.later(60)
    clock.later(10 * DAY)
    for value in range(2):
        await one.put("new", value)


async def log_of(storage: Any) -> list[tuple[str, str, bool]]:
    """All versions and markers of slots and checkpoints."""
    found = await everything(storage)
    return [(one.key, one.version, one.deleted) for one in found if one.key.startswith(MANIFEST + LOG_SUFFIX)]


async def test_slots_and_values_go_as_they_do_without_versions(make, clock):
    left = {}
    for versioning in (True, False):
        storage = make(versioning)
        async with memory_client(storage) as one:
            await fill(one, clock)
            last = await last_slot(storage)
            before = len(await names_of(storage))
            collected = await one.collect(**SOON)
            assert collected.manifest.deleted > 30 and collected.values.deleted >= 38
            found = await everything(storage)
            assert not any(each.deleted for each in found)  # no delete marker
            assert len({each.key for each in found}) == len(found)  # one version of each object
            assert len(await names_of(storage)) < before - 30
            left[versioning] = [name for name, _ in await names_of(storage) if not name.is_checkpoint]
            assert values_of(storage, "large") == 1
            await one.put("new", "after")
            assert await last_slot(storage) == last + 2  # the announcement, and this
        async with memory_client(storage) as two:
            assert await two.get_all() == {"small": 39, "large": LARGE + "39", "new": "after"}
            await two.put("new", "from another")
    assert left[True] == left[False]


async def test_values_that_only_history_needs_stay_as_versions(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        for value in range(5):
            await one.put("large", LARGE + str(value))
        clock.later(2 * DAY)
        await one.put("new", 1)
        assert (await one.collect()).values.deleted == 0
        assert [len(await revision.value()) for revision in await one.history("large")] == [2001] * 5
        assert values_of(storage, "large") == 5  # versions of one object


async def test_slots_that_somebody_else_has_hidden_go_and_do_not_come_back(make, clock):
    """As by hand, or by a rule of the bucket: a marker hides the slot, and its version is still there."""
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock)
        checkpoint = [name.number for name, _ in await names_of(storage) if name.is_checkpoint][-1]
        hidden = [slot_key(MANIFEST, number) for number in range(1, checkpoint)]
        for key in hidden:
            await storage.delete(BUCKET, key)
        assert not {key for _, key in await names_of(storage)} & {*hidden}  # no listing shows them
        assert {key for key, _, deleted in await log_of(storage) if not deleted} >= {*hidden}
        async with memory_client(storage) as two:
            assert await two.get("small") == 39
        # For the store the slot is free. Nobody reads it: it is below the newest checkpoint.
        await storage.put(BUCKET, hidden[3], b"{}", if_none_match=True)
        with pytest.raises(ConflictError):
            await storage.put(BUCKET, hidden[3], b"{}", if_none_match=True)
        clock.later(10 * DAY)
        await one.put("new", 2)
        await one.collect(**SOON)
        assert not {key for key, _, deleted in await log_of(storage) if not deleted} & {*hidden}
        for key in hidden:
            assert await storage.get(BUCKET, key) is ABSENT
        async with memory_client(storage) as two:
            assert (await two.get("small"), await two.get("new")) == (39, 2)
            await two.put("new", 3)
        assert await one.get("new") == 3


async def test_who_slept_creates_a_slot_that_was_collected_and_is_not_acknowledged_for_it(make, clock):
    """L9, where the collected slot had versions: they are gone, so that its number is free again."""
    storage = make(True)
    async with memory_client(storage, poll_interval=3600) as sleeper, memory_client(storage) as other:
        await sleeper.put("mine", 1)
        await fill(other, clock)
        await other.collect(**SOON)
        assert await storage.get(BUCKET, slot_key(MANIFEST, 2)) is ABSENT
        await soon(sleeper.put("mine", 2))
        await soon(sleeper.put("large", LARGE))
        async with memory_client(storage) as reader:
            assert [await reader.get(key) for key in ("mine", "large", "small")] == [2, LARGE, 39]
        assert await soon(other.get("mine")) is not None


@pytest.mark.server
@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
async def test_over_a_server_nothing_is_left_of_what_was_collected(
    request, versioning, usable_bucket, s3_config, s3, monkeypatch
):
    if versioning == "Enabled":
        request.getfixturevalue("creation_in_versions")
    monkeypatch.setattr(commit_age, "LATENESS", 1.0)
    bucket = usable_bucket(versioning)
    short = {"retention": 0, "grace": 2}

    def log() -> tuple[list[str], list[str]]:
        """The keys that are shown, and those of all versions and markers."""
        shown = s3.list_objects_v2(Bucket=bucket, Prefix=MANIFEST).get("Contents", ())
        kept = s3.list_object_versions(Bucket=bucket)
        assert not kept.get("DeleteMarkers")
        return [one["Key"] for one in shown], [one["Key"] for one in kept["Versions"]]

    async with client(bucket, s3_config, journal="log") as one:
        for value in range(20):
            await one.put_all({"small": value, "large": LARGE + str(value)})
        async with asyncio.timeout(PATIENCE):
            while not (await one.collect(**short)).manifest.deleted:
                await asyncio.sleep(0.5)
                await one.put("new", 1)
        shown, kept = log()
        assert sorted(key for key in kept if key.startswith(MANIFEST)) == sorted(shown)
        assert slot_key(MANIFEST, 1) not in kept
        assert len([key for key in kept if key.startswith("large")]) < 20
        await one.put("new", 2)
    async with client(bucket, s3_config) as two:
        assert await two.get_all() == {"small": 19, "large": LARGE + "19", "new": 2}
