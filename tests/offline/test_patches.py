"""Changes of parts of values that are made offline: they merge with what others did meanwhile, each exactly once."""

from __future__ import annotations

import asyncio

import pytest
from helpers import eventually, soon

from mps3 import ConflictError, Increment, Union

from .device import drained


@pytest.mark.parametrize("inline", [0, 1024])
async def test_two_devices_edit_two_fields_while_they_are_offline(device, tmp_path, inline):
    one = await device.begin(inline=inline)
    other = await device.begin(offline=tmp_path / "other", inline=inline)
    await one.put("document", {"title": "a", "text": "b", "edits": 0, "by": []})
    await other.get("document")
    one.go_offline()
    other.go_offline()
    one.patch("document", {"title": "A", "edits": Increment(1), "by": Union("one")})
    other.patch("document", {"text": "B", "edits": Increment(1), "by": Union("other")})
    other.patch("document", {"edits": Increment(1)})
    assert await one.get("document") == {"title": "A", "text": "b", "edits": 1, "by": ["one"]}
    assert await other.get("document") == {"title": "a", "text": "B", "edits": 2, "by": ["other"]}
    one.go_online()
    other.go_online()
    await drained(one)
    await drained(other)
    found = await one.get("document")
    assert found == await other.get("document")
    assert sorted(found.pop("by")) == ["one", "other"]
    assert found == {"title": "A", "text": "B", "edits": 3}


async def test_increments_are_sent_by_the_next_client_once(device):
    one = await device.begin()
    await one.put("n", 5)
    one.go_offline()
    writes = [one.increment("n") for _ in range(10)]
    await asyncio.gather(*(write.kept() for write in writes))
    await device.kill(one)
    stranger = await device.stranger()
    await stranger.increment("n", 100)
    two = await device.begin()
    assert await two.get("n") in (105, 115)
    await drained(two)
    assert await stranger.get("n") == await two.get("n") == 115


async def test_an_increment_whose_answer_is_lost_counts_once(device):
    one = await device.begin()
    await one.put("n", 5)
    took_effect = device.swallow_answer()
    write = one.increment("n")
    await soon(took_effect.wait())
    await soon(write.kept())
    await device.kill(one)
    two = await device.begin()
    await drained(two)
    assert await two.get("n") == 6
    stranger = await device.stranger()
    assert await stranger.get("n") == 6


async def test_what_does_not_apply_is_rejected_and_can_be_repeated(device):
    one = await device.begin()
    await one.put("n", 1)
    one.go_offline()
    write = one.increment("n", 4)
    other = one.increment("m")
    stranger = await device.stranger()
    await stranger.put("n", "text")
    one.go_online()
    with pytest.raises(ConflictError, match="'n': the value is a text, not a number"):
        await soon(write)
    await soon(other)
    (rejected,) = one.rejected()
    assert rejected.values == {"n": [{"operations": [{"op": "add", "path": "", "value": 4}]}]}
    assert await one.get("n") == "text"
    await device.end(one)
    two = await device.begin()
    (again,) = two.rejected()
    await stranger.put("n", 10)
    await two.get("n")
    await soon(again.retry())
    assert await two.get("n") == 14
    assert two.rejected() == ()
    assert await two.get("m") == 1


async def test_on_reconnect_sees_what_a_patch_makes(device):
    seen = []

    def review(reconnect):
        (write,) = reconnect.writes
        (change,) = write.changes.values()
        seen.append((change.value, change.current))

    one = await device.begin(on_reconnect=review)
    await one.put("k", {"n": 1})
    one.go_offline()
    write = one.patch("k", {"n": Increment(1)})
    stranger = await device.stranger()
    await stranger.put("k", {"n": 10})
    one.go_online()
    await soon(write)
    assert seen == [({"n": 11}, {"n": 10})]
    assert await stranger.get("k") == {"n": 11}


async def test_with_the_store_away_a_patch_waits(device):
    one = await device.begin()
    await one.put("k", {"n": 1})
    device.down()
    await eventually(lambda: not one.status().online)
    write = one.patch("k", {"n": Increment(1)})
    assert await one.get("k") == {"n": 2}
    device.up()
    await soon(write)
    assert await (await device.stranger()).get("k") == {"n": 2}
