"""The outbox: what is kept offline is sent exactly once, whatever becomes of the process."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone

import pytest
from commits import slots_of
from helpers import BUCKET, COMMIT, MANIFEST, eventually, soon, stored_manifest

from mps3 import DELETE, AccessError, ClosedError, UnavailableError, UnknownOutcomeError
from mps3.journal import settle
from mps3.support.environment import Environment
from offline.device import commits, drained, outboxes


async def test_what_is_kept_offline_is_sent_by_the_next_life(device):
    client = await device.begin()
    await client.put("old", 0)
    client.go_offline()
    writes = [client.put("n", number) for number in range(5)] + [client.put_all({"a": [1], "b": DELETE})]
    for write in writes:
        await soon(write.kept())
    assert all(write.pending for write in writes)
    await device.kill(client)

    again = await device.begin(online=False)
    assert again.status().pending == 6
    assert (await again.get("n"), await again.get("a"), await again.get("old")) == (4, [1], 0)
    again.put("n", 5)
    again.go_online()
    await drained(again)
    stranger = await device.stranger()
    assert (await stranger.get("n"), await stranger.get("a"), await stranger.get("b", "absent")) == (5, [1], "absent")
    await device.end(again)
    assert outboxes(device) == []


async def test_a_client_that_closes_offline_leaves_its_writes_to_the_next(device, caplog):
    client = await device.begin()
    await client.put("a", 1)
    device.down()
    write = client.put("a", 2)
    await write.kept()
    await eventually(lambda: not client.status().online)
    started = asyncio.get_running_loop().time()
    with caplog.at_level(logging.ERROR):
        await device.end(client)
    assert asyncio.get_running_loop().time() - started < 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    with pytest.raises(ClosedError, match="the next client"):
        await write
    device.up()
    again = await device.begin()
    await drained(again)
    assert await again.get("a") == 2


async def test_without_a_directory_kept_means_committed(device):
    client = await device.stranger()
    device.storage.hold("put", COMMIT)
    write = client.put("a", 1)
    kept = asyncio.create_task(write.kept())
    await asyncio.sleep(0.1)
    assert not kept.done()
    device.storage.release()
    await soon(kept)
    assert not write.pending


async def test_a_commit_that_landed_before_the_crash_is_not_applied_again(device):
    client = await device.begin()
    took_effect = device.swallow_answer()
    client.put("a", "before")
    await soon(took_effect.wait())
    await device.kill(client)
    stranger = await device.stranger()
    await stranger.put("a", "after")

    again = await device.begin()
    await drained(again)
    assert await again.get("a") == "after"
    assert await stranger.get("a") == "after"
    assert [keys for _, _, keys in await commits(device)].count(["a"]) == 2 + (await repeats(device))


async def repeats(device):
    """Commits that are in the log twice, because R8 asked for it: R4 lets them count once."""
    listed = [(session, sequence) for session, sequence, _ in await commits(device)]
    return len(listed) - len(set(listed))


async def test_a_commit_that_did_not_land_is_sent_with_the_same_sequence_and_fresh_values(device):
    client = await device.begin(inline=0)
    await client.put("first", 1)
    session, sequence, _ = (await commits(device))[-1]
    device.storage.hold("put", COMMIT)
    device.storage.calls.clear()
    client.put("a", 1)
    await eventually(lambda: device.storage.count("put", COMMIT))
    client.put("b", 2)
    await client.put("c", 3).kept()
    await device.kill(client)
    device.storage.release()
    device.storage.calls.clear()

    again = await device.begin(inline=0)
    await drained(again)
    assert sum(key.split("@")[0] == "a" for operation, key in device.storage.calls if operation == "put") == 1
    found = await commits(device)
    assert (session, sequence + 1, ["a"]) in found
    assert found.index((session, sequence + 1, ["a"])) < found.index((session, sequence + 2, ["b", "c"]))


async def test_of_many_values_to_be_stored_again_only_those_that_failed_are(device):
    client = await device.begin(inline=0)
    await client.put("a", 0)
    device.storage.hold("put", COMMIT)
    device.storage.calls.clear()
    first = client.put("first", 1)
    await eventually(lambda: device.storage.count("put", COMMIT))
    writes = [client.put(f"k/{number}", number) for number in range(40)]
    stored = lambda: sum(key.startswith("k/") for operation, key in device.storage.calls if operation == "put")
    await eventually(lambda: stored() == 40)
    await asyncio.gather(*(write.kept() for write in writes))
    for pending in client._manifests[client._default]._outbox._pending:
        pending.last_collection = "a collection before the last one"
    device.storage.fail = lambda operation, key: (
        UnavailableError("one in three") if operation == "put" and key.startswith("k/") and stored() % 3 == 0 else None
    )
    device.storage.release()
    await soon(asyncio.gather(first, *writes))
    assert stored() < 3 * 40


async def test_a_life_may_die_again_and_again(device):
    for number in range(6):
        client = await device.begin(online=number % 2 == 0) if number else await device.begin()
        took_effect = device.swallow_answer() if number % 2 == 0 else None
        await client.put(f"only/{number}", number).kept()
        await client.put("latest", number).kept()
        if took_effect is not None:
            await soon(took_effect.wait())
        await device.kill(client)
        device.storage.__dict__.pop("put", None)
    last = await device.begin()
    await drained(last)
    assert [await last.get(f"only/{number}") for number in range(6)] == list(range(6))
    assert await last.get("latest") == 5
    await device.end(last)
    assert outboxes(device) == []


async def test_what_nobody_can_know_is_set_aside(device, monkeypatch):
    monkeypatch.setattr(settle, "SESSIONS", 3)
    monkeypatch.setattr("mps3.format.commit_age.LATENESS", 2.0)  # the merge journal forgets nothing before that
    monkeypatch.setattr("mps3.journal.merge.journal.MergeJournal.__init__.__kwdefaults__", {"window": 0.05})
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 1)
    client = await device.begin()
    took_effect = device.swallow_answer()
    client.put_all({"a": "before", "only": 1})
    await soon(took_effect.wait())
    session = client._manifests[client._default].session.name
    await device.kill(client)
    forgotten, number = False, 0
    while not forgotten or number < 10:
        stranger = await device.stranger()
        await stranger.put_all({"a": f"after {number}", "only": DELETE})
        document = stranger._manifests[stranger._default]._state.view.document
        forgotten = session not in (*document.sessions, *(entry.session for entry in document.log))
        await device.end(stranger)
        number += 1
        assert number < 60
        device.storage.later(0.3)
    device.storage.later(1.1)
    again = await device.begin()
    await drained(again)
    (rejected,) = again.rejected()
    assert isinstance(rejected.error, UnknownOutcomeError)
    assert rejected.error.maybe_written
    assert rejected.values == {"a": "before", "only": 1}
    assert await again.get("a") == f"after {number - 1}"
    await rejected.retry()
    assert again.rejected() == ()
    assert await again.get("a") == "before"


async def kind(device):
    return "merge" if (await device.storage.capabilities(BUCKET)).versioning == "enabled" else "log"


async def test_two_clients_share_a_directory(device):
    one, two = await device.begin(), await device.begin()
    assert len(outboxes(device)) == 2
    one.go_offline()
    await one.put("a", 1).kept()
    three = await device.begin()
    assert three.status().pending == 0  # its owner lives
    await device.kill(one)
    four = await device.begin()
    assert four.status().pending in (0, 1)
    await eventually(lambda: four.status().pending == 0)
    assert await two.get("a") == 1
    assert await three.get("a") == 1


async def test_clients_that_are_always_killed_leave_no_files_behind_for_ever(device):
    for number in range(5):
        client = await device.begin()
        await client.put("a", number)
        await eventually(lambda client=client: client._outbox_queues[0]._task is None)  # that it left is written down
        await device.kill(client)
    assert len(outboxes(device)) == 1
    again = await device.begin()
    assert len(outboxes(device)) == 1
    assert await again.get("a") == 4


async def test_a_withdrawn_write_is_forgotten(device):
    client = await device.begin()
    client.go_offline()
    write = client.put("a", 1)
    await write.kept()
    assert write.withdraw()
    await client.put("b", 1).kept()  # and so is all before it
    await device.kill(client)
    again = await device.begin()
    await drained(again)
    assert await again.get("a", "absent") == "absent"
    assert await again.get("b") == 1


class Backwards(Environment):
    """Its wall clock goes back by a day each time that it is looked at."""

    def __init__(self):
        super().__init__()
        self.days = 0

    def now(self):
        self.days += 1
        return datetime(2030, 1, 1, tzinfo=timezone.utc) - timedelta(days=self.days)


async def test_a_clock_that_is_set_back_changes_nothing(device):
    environment = Backwards()
    client = await device.begin(environment=environment)
    await client.put("n", -1)
    client.go_offline()
    for number in range(3):
        await client.put("n", number).kept()
    assert (await client.get("n"), client.status().pending) == (2, 3)
    await device.kill(client)
    again = await device.begin(environment=environment, online=False)
    await again.put("n", 3).kept()
    assert (await again.get("n"), again.status().pending) == (3, 4)
    again.go_online()
    await drained(again)
    assert await again.get("n") == 3
    assert await (await device.stranger()).get("n") == 3
    await device.end(again)
    assert await (await device.begin(environment=environment, online=False)).get("n") == 3


async def test_what_is_refused_is_set_aside_and_the_others_go_on(device):
    client = await device.begin(inline=0)
    client.go_offline()
    writes = [client.put(key, {"at": key}) for key in ("a", "bad", "b")]
    writes.append(client.put("a", 2))
    for write in writes:
        await write.kept()
    device.storage.fail = lambda operation, key: (
        AccessError("refused", bucket=BUCKET, key=key, operation="PutObject")
        if operation == "put" and key.startswith("bad")
        else None
    )
    client.go_online()
    await soon(writes[3])
    with pytest.raises(AccessError):
        await writes[1]
    (rejected,) = client.rejected()
    assert (dict(rejected.values), rejected.manifest.key) == ({"bad": {"at": "bad"}}, MANIFEST)
    assert "bad" in repr(rejected)
    await client.put("c", 3)
    await device.kill(client)

    again = await device.begin(inline=0)
    (rejected,) = again.rejected()
    assert isinstance(rejected.error, AccessError)
    assert rejected.error.operation == "PutObject"
    assert rejected.made <= rejected.time
    assert (await again.get("a"), await again.get("b")) == (2, {"at": "b"})
    device.up()
    await rejected.retry()
    assert await again.get("bad") == {"at": "bad"}
    await device.end(again)
    assert (await device.begin(inline=0)).rejected() == ()


async def test_a_dropped_refusal_is_forgotten(device):
    client = await device.begin()
    device.storage.refuse(AccessError("refused", bucket=BUCKET, key=MANIFEST, operation="PutObject"), key=COMMIT)
    with pytest.raises(AccessError):
        await client.put("a", 1)
    device.up()
    await client.put("b", 1)
    await device.kill(client)
    again = await device.begin()
    (rejected,) = again.rejected()
    rejected.drop()
    assert again.rejected() == ()
    await device.end(again)
    assert outboxes(device) == []
    assert await (await device.stranger()).get("a", "absent") == "absent"


async def test_writes_to_another_manifest_go_out_although_nobody_opens_it(device):
    client = await device.begin()
    await client.put("a", 0, manifests=["other.json"])
    client.go_offline()
    await client.put("a", 1, manifests=["other.json", MANIFEST]).kept()
    await device.kill(client)
    again = await device.begin()
    await drained(again)
    last = await stored_manifest(device.storage, "other.json")
    if last["journal"] == "log":
        *_, last = await slots_of(device.storage, "other.json")
    assert list(last["update"]["files"]) == ["a"]
    assert await again.get("a", manifest="other.json") == 1


async def test_ten_thousand_writes_wait_without_a_task_each(device):
    client = await device.begin()
    client.go_offline()
    before = len(asyncio.all_tasks())
    writes = [client.put(f"k/{number}", number) for number in range(10_000)]
    await asyncio.gather(*(write.kept() for write in writes))
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) <= before + 1
