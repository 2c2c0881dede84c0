"""A game of two players, who collect stars. Each has a client, and a pane with the state of that client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from ... import DELETE, MPS3, MemoryStorage

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH: Final = 30
HEIGHT: Final = 9
_STEP_INTERVAL: Final = 0.25
_POLL_INTERVAL: Final = 0.25
_ONLINE, _OFFLINE = 24, 12
"""Steps for which Bob has a network, and then has none."""
_NAMES: Final = ("ann", "bob")
_STYLES: Final = {"ann": "bold cyan", "bob": "bold magenta", "star": "bold yellow"}


class Player:
    """A player with a client, and what the client knows: values by their keys, and the last events."""

    def __init__(self, name: str, client: MPS3, random: Random) -> None:
        self.name = name
        self.client = client
        self.world: dict[str, Any] = {}
        self.news: deque[str] = deque(maxlen=3)
        self._random = random

    async def follow(self) -> None:
        """Keep `world` up to date."""
        async for batch in self.client.watch():
            for change in batch.changes:
                if change.value is DELETE:
                    self.world.pop(change.key, None)
                else:
                    if change.key.startswith("score/") and not change.pending and not batch.initial:
                        self.news.append(f"{change.key.removeprefix('score/')} has a star")
                    self.world[change.key] = change.value

    async def play(self) -> None:
        """Move towards the star; no move waits for the store."""
        step = 0
        while True:
            await asyncio.sleep(_STEP_INTERVAL)
            step += 1
            if self.name == "bob" and step % (_ONLINE + _OFFLINE) == _ONLINE:
                self.client.go_offline()
                self.news.append("bob lost the network, and plays on")
            elif self.name == "bob" and step % (_ONLINE + _OFFLINE) == 0:
                self.client.go_online()
                self.news.append("bob is back")
            self.move()

    def move(self) -> None:
        """Move one step, or collect the star: the star and the score change in one commit."""
        star, (x, y) = self.world.get("star"), self.world.get(f"at/{self.name}", [0, 0])
        if star is None:
            return
        if [x, y] == star:
            score = self.world.get(f"score/{self.name}", 0)
            self.client.put_all({"star": self.random_place(), f"score/{self.name}": score + 1})
            return
        self.client.put(f"at/{self.name}", [x + _sign(star[0] - x), y + _sign(star[1] - y)])

    def random_place(self) -> list[int]:
        """Return coordinates of the field."""
        return [self._random.randrange(WIDTH), self._random.randrange(HEIGHT)]


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def field(world: Mapping[str, Any]) -> list[list[tuple[str, str]]]:
    """Return the field as rows of characters with their styles."""
    rows = [[("·", "dim")] * WIDTH for _ in range(HEIGHT)]
    things = [("star", "★", world.get("star")), *((name, name[0].upper(), world.get(f"at/{name}")) for name in _NAMES)]
    for what, character, place in things:
        if place is not None:
            rows[place[1]][place[0]] = (character, _STYLES[what])
    return rows


def pane(player: Player) -> RenderableType:
    """Return the pane of a player."""
    from rich.panel import Panel  # noqa: PLC0415 - takes a while to load
    from rich.text import Text  # noqa: PLC0415

    status = player.client.status()
    text = Text("\n").join(Text.assemble(*row) for row in field(player.world))
    scores = "   ".join(f"{name} {player.world.get(f'score/{name}', 0)}" for name in _NAMES)
    waiting = f", {status.pending} writes waiting" if status.pending and not status.online else ""
    state = "online" if status.online else f"offline{waiting}"
    text.append(f"\n\n{scores}   ({state})\n", "" if status.online else "red")
    news = [*player.news, "", "", ""][:3]
    text.append("\n".join(line[: WIDTH - 1] for line in news), "dim")
    return Panel(text, title=f"{player.name}'s client", width=WIDTH + 4, border_style=_STYLES[player.name])


async def play(seconds: float) -> None:
    """Show the game for so many seconds."""
    from rich.columns import Columns  # noqa: PLC0415 - takes a while to load
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    options: dict[str, Any] = {"storage": MemoryStorage(), "poll_interval": _POLL_INTERVAL}
    random = Random()  # noqa: S311 - a game
    async with MPS3("demo", **options) as one, MPS3("demo", **options) as other:
        players = Player("ann", one, random), Player("bob", other, random)
        await one.put_all({"at/ann": [2, 2], "at/bob": [WIDTH - 3, HEIGHT - 3], "star": players[0].random_place()})

        def frame() -> RenderableType:
            note = "One store in memory, two clients. Bob loses his network now and then. Ctrl-C ends it."
            return Group(Columns([pane(player) for player in players]), note)

        tasks = [asyncio.create_task(work()) for player in players for work in (player.follow, player.play)]
        try:
            with Live(frame(), console=Console(), auto_refresh=False) as live:
                async with asyncio.timeout(seconds):
                    while not any(task.done() for task in tasks):
                        live.update(frame(), refresh=True)
                        await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            other.go_online()
    print("That was mps3: README.md goes on from here.")  # noqa: T201
