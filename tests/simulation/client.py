"""What one client of a history does in one of its lives: a random mix of all the library can do."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import TYPE_CHECKING, Any

import mps3.world
from mps3 import DELETE, MPS3
from mps3.errors import MPS3Error, UnavailableError, WithdrawnError

from .history import Acknowledged, Failed, Final, Invoked, Observed, Opened, State, Watched, Withdrawn
from .loop import Process
from .store import SimStorage

if TYPE_CHECKING:
    from .histories import Person, World

ABSENT = object()


class Life:
    """One session of one client: opens it, works, reads everything in the end, closes it."""

    def __init__(self, world: World, name: str, process: Process, storage: SimStorage, dice: random.Random) -> None:
        self.world = world
        self.name = name
        self.process = process
        self.storage = storage
        self.dice = dice
        self.client: Any = None
        self.made: list[Any] = []
        self.count = 0
        self.waiting: list[asyncio.Task[None]] = []
        self.readers: list[asyncio.Task[None]] = []
        self.watched: dict[int, Watched] = {}
        self.closing = False
        self.seen: Any = None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def record(self, event: Any) -> None:
        if not self.process.dead:
            self.world.record(event)

    # Its life.

    async def open(self) -> None:
        for attempt in count():
            since = len(self.world.history)
            client = MPS3(
                "bucket",
                storage=self.storage,
                poll_interval=self.world.options.poll_interval,
                world=mps3.world.World(random.Random(f"{self.world.seed} {self.name} library {attempt}")),
            )
            self.made.append(client)
            try:
                await client.__aenter__()
            except UnavailableError:
                await asyncio.sleep(self.dice.random())
            else:
                break
        self.client = client
        self.storage.before_each = self.look
        self.record(Opened(self.now(), self.name, since))

    async def work(self, person: Person) -> None:
        await self.open()
        while person.left:
            person.left -= 1
            options = self.world.options
            await asyncio.sleep(options.pause * self.dice.random() ** 2)
            if not self.world.calm and self.dice.random() < options.offline:
                self.storage.offline_until = self.now() + 20 * self.dice.random()
            await self.operation()
            self.look()
        if self.waiting:
            await asyncio.gather(*self.waiting)
        self.look()

    async def read_all(self) -> None:
        keys = sorted({key for event in self.world.history if isinstance(event, Invoked) for key in event.changes})
        values = await asyncio.gather(*(self.client.get(key, ABSENT) for key in keys))
        found = {key: value["write"] for key, value in zip(keys, values, strict=True) if value is not ABSENT}
        self.look()
        self.record(Final(self.now(), self.name, found))
        for watched in self.watched.values():
            self.record(watched)

    async def close(self) -> None:
        self.closing = True
        for reader in self.readers[::2]:
            reader.cancel()
        await self.client.aclose()
        await self.client.aclose()
        if self.readers:
            await asyncio.wait(self.readers, timeout=60)
        for task in self.readers:
            assert task.done(), "a subscription does not end with its client"

    def forget(self) -> None:
        """A killed client closes nothing, and nobody is to be warned of that."""
        for client in self.made:
            client._state = "closed"

    # What it does.

    async def operation(self) -> None:
        dice = self.dice
        kind = dice.choices(
            ["put_all", "put", "plain put", "delete", "burst", "get", "reply", "subscribe", "withdraw", "restart"],
            [30, 8, 5, 8, 8, 12, 12, 9, 4, 4],
        )[0]
        match kind:
            case "put_all":
                await self.perhaps_wait(self.write(self.some_keys()))
            case "put":
                await self.perhaps_wait(self.write([]))
            case "plain put":
                await self.perhaps_wait(self.write([self.a_key()], own=False))
            case "delete":
                await self.perhaps_wait(self.write([self.a_key()], own=dice.random() < 0.5, delete=True))
            case "burst":
                for _ in range(dice.randint(2, 4)):
                    self.write(self.some_keys())
            case "get":
                await self.get(self.a_key())
            case "reply":
                await self.get(self.a_key())
                await self.perhaps_wait(self.write(self.some_keys()))
            case "subscribe":
                self.readers.append(asyncio.create_task(self.read(self.a_key(), len(self.readers))))
            case "withdraw":
                self.withdraw()
            case "restart":
                await self.cancelled_get(self.a_key())

    def a_key(self) -> str:
        return "abcdef"[self.dice.randrange(self.world.options.keys)]

    def some_keys(self) -> list[str]:
        keys = list("abcdef"[: self.world.options.keys])
        return self.dice.sample(keys, self.dice.randint(1, min(3, len(keys))))

    def write(self, keys: list[str], *, own: bool = True, delete: bool = False) -> Any:
        name = f"{self.name}/{self.count}"
        self.count += 1
        changes = dict.fromkeys(keys, not delete)
        if own:
            changes[f"only/{name}"] = True
        self.record(Invoked(self.now(), self.name, name, changes))
        values = {key: {"write": name, "key": key} if put else DELETE for key, put in changes.items()}
        if len(values) == 1 and self.dice.random() < 0.7:
            ((key, value),) = values.items()
            pending = self.client.delete(key) if value is DELETE else self.client.put(key, value)
        else:
            pending = self.client.put_all(values)
        self.waiting.append(asyncio.create_task(self.outcome(name, pending)))
        return name, pending

    async def outcome(self, name: str, pending: Any) -> None:
        try:
            commit = await pending
        except WithdrawnError:
            pass
        except MPS3Error as error:
            self.record(Failed(self.now(), self.name, name, repr(error)))
        else:
            self.record(Acknowledged(self.now(), self.name, name, commit.id))
            self.look()

    async def perhaps_wait(self, written: tuple[str, Any]) -> None:
        _, pending = written
        if self.dice.random() < 0.5:
            # Giving up on waiting does not give up the write.
            try:
                async with asyncio.timeout(self.dice.random() * 5):
                    await pending
            except (TimeoutError, MPS3Error):
                pass

    def withdraw(self) -> None:
        written = [self.write(self.some_keys()) for _ in range(self.dice.randint(1, 3))]
        name, pending = self.dice.choice(written)
        if pending.withdraw():
            self.record(Withdrawn(self.now(), self.name, name))

    # What it sees.

    def look(self) -> None:
        """At its whole state, as resolved, whenever that is another than before."""
        view = self.client._manifests[self.client._default]._view
        if view is not self.seen:
            self.seen = view
            files = {key: view.look_up(key) for key in view.names()}
            values = {key: self.world.write_of(key, file["version"]) for key, file in files.items()}
            self.record(State(self.now(), self.name, values, tuple(commit.id for commit in view.commits)))

    def observed(self, how: str, key: str, value: Any, since: int) -> None:
        write = None if value is ABSENT else value["write"]
        if write is not None and value["key"] != key:
            write = f"the value of {value['key']}"
        self.record(Observed(self.now(), self.name, how, key, write, since))

    async def get(self, key: str) -> None:
        since, begun = len(self.world.history), self.now()
        try:
            value = await self.client.get(key, ABSENT)
        except UnavailableError:
            assert begun < self.world.calm_from(), "nothing fails any more, yet a read does"
        else:
            self.observed("get", key, value, since)

    async def cancelled_get(self, key: str) -> None:
        reading = asyncio.create_task(self.client.get(key, ABSENT))
        await asyncio.sleep(self.dice.random() * 0.1)
        reading.cancel()
        await asyncio.wait((reading,))

    async def read(self, key: str, number: int) -> None:
        """Subscribe: fast or slow, to the end, for some values, or until cancelled."""
        dice = random.Random(f"{self.world.seed} {self.name} reader {number}")
        most = dice.choice([1, 3, 1000, 1000, 1000])
        slow = dice.choice([0.0, 0.0, 0.5, 8.0])
        if dice.random() < 0.3:
            asyncio.get_running_loop().call_later(dice.random() * 20, asyncio.current_task().cancel)
        since = len(self.world.history)
        try:
            async with self.client.subscribe(key, ABSENT) as values:
                async for value in values:
                    self.observed(f"subscription {number}", key, value, since)
                    self.look()
                    self.watched[number] = Watched(self.now(), self.name, key, self.written(value))
                    most -= 1
                    if not most:
                        break
                    await asyncio.sleep(slow * dice.random())
                    since = len(self.world.history)
                else:
                    assert self.closing, "a subscription ended by itself"
        finally:
            self.watched.pop(number, None)

    @staticmethod
    def written(value: Any) -> str | None:
        return None if value is ABSENT else value["write"]
