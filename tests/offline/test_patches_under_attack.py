"""Several patches of one key that are made offline, and reviewed."""

from __future__ import annotations

import pytest
from helpers import soon

from mps3 import Increment

from .device import drained


@pytest.mark.parametrize("inline", [0, 1024])
async def test_on_reconnect_sees_what_each_of_several_patches_makes(device, inline):
    seen = []

    def review(reconnect):
        seen.append([change.value["n"] for write in reconnect.writes for change in write.changes.values()])

    one = await device.begin(on_reconnect=review, inline=inline)
    await one.put("k", {"n": 1, "text": "x" * 2000})
    one.go_offline()
    one.increment("k", path="/n")
    one.put("other", {"n": 0})
    last = one.patch("k", {"n": Increment(10), "by": "one"})
    stranger = await device.stranger()
    await stranger.increment("k", 100, path="/n")
    one.go_online()
    await soon(last)
    await drained(one)
    assert seen == [[102, 0, 112]]
    assert (await one.get("k"))["n"] == (await stranger.get("k"))["n"] == 112


@pytest.mark.parametrize("inline", [0, 1024])
async def test_what_a_review_has_shown_is_not_taken_for_what_is_committed(device, inline):
    """The version of a patched value says what it was made of, and what several patches make together has one, too."""
    one = await device.begin(on_reconnect=lambda reconnect: None, inline=inline)
    await one.put("k", {"n": 1, "text": "x" * 2000})
    one.go_offline()
    for _ in range(3):
        last = one.increment("k", path="/n")
    stranger = await device.stranger()
    await stranger.put("k", {"n": 10, "text": "y" * 2000})
    one.go_online()
    await soon(last)
    await drained(one)
    assert (await one.get("k"))["n"] == (await stranger.get("k"))["n"] == 13
