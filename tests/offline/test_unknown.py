"""What is not known offline: a key that the last state does not have is absent, a value that is not here is an error."""

from __future__ import annotations

import pytest
from helpers import eventually, soon

from mps3 import UnavailableError


@pytest.mark.parametrize("directory", [True, False])
async def test_offline_an_unknown_key_is_absent_and_an_unknown_value_is_an_error(device, directory):
    stranger = await device.begin(offline=None, inline=0)
    await stranger.put("unread", 1)
    client = await device.begin(**({} if directory else {"offline": None}))
    assert await client.keys() == ["unread"]
    device.down()
    await eventually(lambda: not client.status().online)
    assert await client.get("no such key", "default") == "default"
    assert await client.get_all(["no such key"]) == {}
    assert await client.keys("no such") == []
    async with client.subscribe("no such key", "default") as values:
        assert await soon(anext(values)) == "default"
    with pytest.raises(UnavailableError):
        await client.get("unread", "default")
    with pytest.raises(UnavailableError):
        await client.get("any", "default", manifest="never seen.json")
