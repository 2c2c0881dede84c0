"""Clients that come and go, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from helpers import BUCKET, Unreliable, by_versions
from simulation.loop import run

from mps3 import MPS3, Presence
from mps3.support.environment import Environment


class Room:
    """Clients of one store, in a loop whose time is virtual."""

    def __init__(self, *, versioning: bool) -> None:
        loop = asyncio.get_running_loop()
        self.storage = Unreliable(versioning=versioning, clock=lambda: 1_700_000_000.0 + loop.time())

    def client(self, name: str) -> MPS3:
        environment, how = Environment(random.Random(name)), by_versions(self.storage)
        return MPS3(BUCKET, storage=self.storage, poll_interval=1.0, environment=environment, inline=0, **how)

    def renewals(self, key: str) -> int:
        """How often a key was put; without versions, what is put has a name of its own each time."""
        return sum(operation == "put" and name.partition("@")[0] == key for operation, name in self.storage.calls)


Story = Callable[[Room], Coroutine[Any, Any, None]]


def told(story: Story, *, versioning: bool = True) -> None:
    """Run a story in virtual time; whatever goes wrong in it fails the test."""

    async def main() -> None:
        await story(Room(versioning=versioning))

    outcome = run(main)
    if outcome.error is not None:
        raise outcome.error
    assert not outcome.complaints


async def follow(presence: Presence, seen: list[dict[str, Any]]) -> None:
    async for members in presence:
        seen.append(dict(members))
