"""An application decides about what it wrote while others wrote, too."""

from __future__ import annotations

import asyncio

import pytest
from helpers import eventually, soon

from mps3 import DELETE, Reconnect, WithdrawnError


async def apart(device, offers, decide=lambda offer: None, **options):
    """A client that wrote a, b and c offline, while a stranger changed a and deleted b."""
    client = await device.begin(on_reconnect=lambda offer: (offers.append(offer), decide(offer))[1], **options)
    await client.put_all({"a": "old", "b": "old", "c": "old"})
    client.go_offline()
    writes = {key: client.put(key, f"mine {key}") for key in "abc"}
    stranger = await device.stranger()
    await stranger.put_all({"a": "theirs", "b": DELETE})
    return client, stranger, writes


async def test_it_is_shown_what_changed_meanwhile(device):
    offers: list[Reconnect] = []
    client, stranger, writes = await apart(device, offers)
    client.go_online()
    await soon(asyncio.gather(*writes.values()))
    (offer,) = offers
    assert offer.manifest.key == "manifest.json"
    assert [list(write.changes) for write in offer.writes] == [["a"], ["b"], ["c"]]
    assert offer.conflicts == offer.writes[:2]
    a, b, c = (write.changes[key] for write, key in zip(offer.writes, "abc", strict=True))
    assert (a.value, a.current, a.changed) == ("mine a", "theirs", True)
    assert a.base != a.version
    assert (b.value, b.current, b.changed, b.version) == ("mine b", DELETE, True, None)
    assert (c.value, c.current, c.changed, c.base) == ("mine c", "mine c", False, c.version)
    assert offer.writes[0].made <= offer.writes[1].made
    # Nothing was decided, so the later commit wins.
    assert [await stranger.get(key) for key in "abc"] == ["mine a", "mine b", "mine c"]


async def test_it_can_withdraw_and_replace(device):
    def decide(offer):
        for write in offer.conflicts:
            if "a" in write.changes:
                write.replace({"a": [write.changes["a"].current, write.changes["a"].value]})
            else:
                write.replace({"b": "never mind"})
                write.withdraw()
        with pytest.raises(ValueError, match="does not change"):
            offer.writes[0].replace({"other": 1})

    client, stranger, writes = await apart(device, [], decide)
    client.go_online()
    await soon(writes["a"])
    with pytest.raises(WithdrawnError):
        await writes["b"]
    await soon(writes["c"])
    for one in (client, stranger):
        assert await one.get("a") == ["theirs", "mine a"]
        assert await one.get("b", "absent") == "absent"
        assert await one.get("c") == "mine c"


async def test_what_was_replaced_is_kept_so(device):
    decided = asyncio.Event()

    async def decide(offer):
        for write in offer.conflicts:
            write.replace(dict.fromkeys(write.changes, "merged"))
        decided.set()

    client, _, writes = await apart(device, [], decide)
    device.storage.hold("put")
    client.go_online()
    await soon(decided.wait())
    await eventually(lambda: client._manifests[client._default]._review.due is False)
    await writes["a"].kept()
    await client.put("later", 1).kept()
    await device.kill(client)
    device.storage.release()
    client = await device.begin()
    await eventually(lambda: client.status().pending == 0)
    assert [await client.get(key) for key in "abc"] == ["merged", "merged", "mine c"]


async def test_while_it_thinks_nothing_goes_out_and_subscriptions_go_on(device):
    think = asyncio.Event()

    async def decide(offer):
        await think.wait()

    client, stranger, writes = await apart(device, [], decide)
    values = client.subscribe("other", "none")
    assert await soon(anext(values)) == "none"
    client.go_online()
    await stranger.put("other", "news")
    assert await soon(anext(values)) == "news"
    assert all(write.pending for write in writes.values())
    assert await stranger.get("c") == "old"
    assert writes["c"].withdraw()
    think.set()
    await soon(writes["a"])
    assert await stranger.get("c") == "old"


async def test_an_exception_holds_the_writes_and_it_is_asked_again(device, monkeypatch, caplog):
    monkeypatch.setattr("mps3.manifest.reconnect.FIRST_WAIT", 0.1)
    calls = []

    def decide(offer):
        calls.append(offer)
        offer.writes[0].withdraw()
        if len(calls) < 3:
            raise RuntimeError("not today")
        offer.writes[0].keep()

    client, stranger, writes = await apart(device, [], decide)
    client.go_online()
    await soon(writes["a"])
    assert len(calls) == 3
    assert "not today" in caplog.text
    assert await stranger.get("a") == "mine a"


async def test_it_is_not_asked_when_nobody_else_wrote_these_keys(device):
    offers: list[Reconnect] = []
    client = await device.begin(on_reconnect=offers.append)
    await client.put("a", 0)
    client.go_offline()
    first = client.put("a", 1)
    second = client.put("a", 2)
    await (await device.stranger()).put("other", 1)
    client.go_online()
    await soon(asyncio.gather(first, second))
    device.down()
    third = client.put("a", 3)
    await eventually(lambda: not client.status().online)
    device.up()
    await soon(third)
    assert offers == []


async def test_after_a_restart_it_is_asked_too(device):
    client, stranger, _ = await apart(device, [])
    for write in (client.put("d", 1), client.put("d", 2)):
        await write.kept()
    await device.kill(client)
    offers: list[Reconnect] = []

    def decide(offer):
        offers.append(offer)
        for write in offer.conflicts:
            write.withdraw()

    client = await device.begin(on_reconnect=decide)
    await eventually(lambda: client.status().pending == 0)
    assert [list(write.changes) for write in offers[0].conflicts] == [["a"], ["b"]]
    assert [await stranger.get(key, "absent") for key in "abcd"] == ["theirs", "absent", "mine c", 2]


async def test_a_second_change_during_the_decision_is_shown_too(device):
    offers: list[Reconnect] = []
    stranger = await device.stranger()

    async def decide(offer):
        offers.append(offer)
        if len(offers) == 1:
            await stranger.put("a", "even newer")
            await asyncio.sleep(0.5)

    client, _, writes = await apart(device, [], decide)
    client.go_online()
    await soon(writes["a"])
    assert [offer.writes[0].changes["a"].current for offer in offers] == ["theirs", "even newer"]
