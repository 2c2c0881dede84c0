"""Who has the board open, told by all server processes to each other.

Each open tab is a key ``here/<tab>`` that its server writes again every few seconds. A server that is killed cannot
say good-bye for its tabs, so the others watch: an entry that has not been written for a while by *their* clock is
removed. Nobody's clock is compared with anybody else's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self

from mps3 import DELETE, JSON, MPS3, Batch, ClosedError, Subscription

BEAT = 10.0
"""Seconds between two signs of life."""
STALE = 2.5 * BEAT
"""Seconds without one, after which somebody is gone."""


class Here:
    """The tabs that are connected to this process, and a view of all others.

    Their comings and goings are many and nobody needs them later, so they have a manifest of their own: the history of
    the board stays the history of the board, and going on after a break is cheap.

    Args:
        client: The store.
        manifest: The key of their manifest.
    """

    def __init__(self, client: MPS3, manifest: str) -> None:
        self._client = client
        self._manifest = manifest
        self._tabs: dict[str, dict[str, JSON]] = {}
        self._connections: Counter[str] = Counter()
        self._beats = 0
        self._signs: dict[str, float] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, client: MPS3, manifest: str) -> AsyncIterator[Self]:
        """Keep it going, until the end of the block."""
        here = cls(client, manifest)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(here._beat()), tasks.create_task(here._look())]
            try:
                yield here
            finally:
                for task in running:
                    task.cancel()

    @contextmanager
    def present(self, tab: str, guest: dict[str, JSON]) -> Iterator[None]:
        """Somebody is here, for as long as the block lasts.

        A tab that reconnects may be here twice for a moment.
        """
        self._connections[tab] += 1
        self._tabs[tab] = guest
        self._tell(tab)
        try:
            yield
        finally:
            self._connections[tab] -= 1
            if not self._connections[tab]:
                del self._connections[tab], self._tabs[tab]
                with suppress(ClosedError):  # the server did not wait for its connections: silence will tell, too
                    self._client.delete(_key(tab), manifests=[self._manifest])

    def move(self, tab: str, where: dict[str, JSON]) -> bool:
        """Somebody points elsewhere; false if they are not here."""
        if tab not in self._tabs:
            return False
        self._tabs[tab] = {**self._tabs[tab], **where}
        self._tell(tab)
        return True

    def watch(self) -> Subscription[Batch[JSON]]:
        """Who is here, and then each change."""
        return self._client.watch("here/", manifest=self._manifest)

    def _tell(self, *tabs: str) -> None:
        # Nothing to wait for: what cannot be said now is said with the next beat.
        self._beats += 1
        values = {_key(tab): {**self._tabs[tab], "beat": self._beats} for tab in tabs}
        self._client.put_all(values, manifests=[self._manifest])

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(BEAT)
            if self._tabs:
                self._tell(*self._tabs)
            stale = [key for key, sign in self._signs.items() if now() - sign > STALE and _tab(key) not in self._tabs]
            if stale:
                self._client.put_all(dict.fromkeys(stale, DELETE), manifests=[self._manifest])

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time
        async for batch in self.watch():
            for change in batch.changes:
                if change.value is not DELETE:
                    self._signs[change.key] = now()
                    continue
                self._signs.pop(change.key, None)
                if _tab(change.key) in self._tabs and not change.pending:
                    self._tell(_tab(change.key))  # it has come here from a server that said good-bye for it just now


def _key(tab: str) -> str:
    return f"here/{tab}"


def _tab(key: str) -> str:
    return key.removeprefix("here/")
