"""Wake-ups of one client: telling others of its commits, and hearing of theirs."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final, TypeAlias

from ..support.environment import Environment, wait_for_event
from ..types import Ref
from .hint import Hint, topic_of
from .protocol import Wake, WakeConnection
from .store_waker import StoreWaker

IDLE: Final = 30
"""How many times longer the polls are apart while wake-ups work, unless told otherwise."""
BEAT: Final = 10.0
"""Seconds between two heartbeats that a client sends to itself."""
LATE: Final = 5.0
"""Seconds after which one that has not come back means that wake-ups do not work."""
RETRIES: Final = 5.0
"""Seconds between two attempts to connect, at the most."""
SETTLED: Final = 15.0
"""Seconds that wake-ups have to work before polls become rare: the others may have to connect again, too."""
STEADY: Final = 60.0
"""Seconds that a connection has to last for the next one to be made at once."""
CLOSING: Final = 1.0
"""Seconds that closing waits for the last commits to be told."""

_log = logging.getLogger("mps3")


class Waker:
    """The wake-ups of one client.

    Args:
        wake: What can push.
        environment: The clock, randomness and names.
        idle_interval: Seconds between polls while wake-ups work.
        hear: Called with the topic and the position of each hint.
        changed: Called when wake-ups begin or cease to work, so that something may have been missed.
    """

    def __init__(
        self,
        wake: Wake,
        environment: Environment,
        *,
        idle_interval: float,
        hear: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._wake = wake
        self._environment = environment
        self._idle_interval = idle_interval
        self._hear = hear
        self._changed = changed
        self._name = environment.name()
        self._works_since: float | None = None
        self._beat_at = -math.inf
        self._sent_at: float | None = None
        self._untold: dict[str, str] = {}
        self._something = asyncio.Event()
        self._told = asyncio.Event()
        self._told.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def idle_interval(self) -> float | None:
        """Seconds between polls while wake-ups are known to work; ``None`` otherwise."""
        if self._works_since is None or self._environment.monotonic() < self._works_since + SETTLED:
            return None
        return self._idle_interval

    def start(self) -> None:
        """Connect, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mps3 wake-ups")

    async def aclose(self) -> None:
        """Tell the last commits, and end the connection."""
        if self._task is None:
            return
        try:
            if self._works_since is not None:
                await wait_for_event(self._told, CLOSING)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def announce(self, ref: Ref, position: str) -> None:
        """Tell the other clients that a manifest has moved, as soon as possible. Of several moves the last is told."""
        self._untold[topic_of(ref)] = position
        self._told.clear()
        self._something.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            began = self._environment.monotonic()
            try:
                async with self._wake.connect() as connection:
                    await self._serve(connection)
            except Exception as error:  # noqa: BLE001 - of whatever library it is
                if self._environment.monotonic() - began > STEADY:
                    failures = 0
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                _log.log(level, "wake-ups do not work (%s), so changes are heard by polls", type(error).__name__)
            finally:
                if self._works_since is not None:
                    self._works_since = None
                    self._changed()
            await asyncio.sleep(self._environment.backoff(failures, most=RETRIES))

    async def _serve(self, connection: WakeConnection) -> None:
        self._beat_at, self._sent_at = -math.inf, None
        both = [asyncio.create_task(work(connection)) for work in (self._receive, self._send)]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _receive(self, connection: WakeConnection) -> None:
        while True:
            hint = Hint.decode(await connection.receive())
            if hint is not None and hint.topic:
                self._hear(hint.topic, hint.position)
            elif hint is not None and hint.position == self._name:
                self._sent_at = None
                if self._works_since is None:
                    self._works_since = self._environment.monotonic()
                    self._changed()  # what was told before is not told again
            await asyncio.sleep(0)  # a flood of messages must not hold up everything else

    async def _send(self, connection: WakeConnection) -> None:
        while True:
            now = self._environment.monotonic()
            if self._sent_at is not None and now >= self._sent_at + LATE:
                raise TimeoutError("a heartbeat did not come back")
            if now >= self._beat_at:
                self._sent_at = now if self._sent_at is None else self._sent_at
                self._beat_at = now + BEAT * self._environment.random.uniform(0.8, 1.0)
                await self._publish(connection, Hint("", self._name))
            self._something.clear()
            for topic, position in list(self._untold.items()):
                await self._publish(connection, Hint(topic, position))
                if self._untold[topic] == position:
                    del self._untold[topic]
            if not self._untold:
                self._told.set()
            else:
                continue
            late_at = math.inf if self._sent_at is None else self._sent_at + LATE
            await wait_for_event(self._something, max(0.0, min(self._beat_at, late_at) - now))

    async def _publish(self, connection: WakeConnection, hint: Hint) -> None:
        async with asyncio.timeout(LATE):
            await connection.publish(hint.encode())


class NoWaker:
    """The wake-ups of a client that has none."""

    idle_interval: float | None = None

    def start(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    def announce(self, ref: Ref, position: str) -> None:
        """Do nothing."""


AnyWaker: TypeAlias = Waker | StoreWaker | NoWaker
"""The wake-ups of a client, whatever they come from."""
