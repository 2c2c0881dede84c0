"""Ann and Bob run after stars. Each has a client of one store, and a pane that shows what that client knows."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ... import DELETE, MPS3, MemoryStorage

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH: Final = 30
HEIGHT: Final = 9
_STEP: Final = 0.25
"""Seconds between two steps of a player."""
_POLL: Final = 0.25
"""Seconds between two looks of a client at the store."""
_ONLINE, _OFFLINE = 24, 12
"""Steps that Bob has a network, and steps that he has none."""
_NAMES: Final = ("ann", "bob")
_STYLES: Final = {"ann": "bold cyan", "bob": "bold magenta", "star": "bold yellow"}


class Player:
    """One of the two.

    Args:
        name: What they are called.
        client: Theirs.
        chance: Where stars appear.

    Attributes:
        world: What their client knows, by key.
        news: What happened last.
    """

    def __init__(self, name: str, client: MPS3, chance: random.Random) -> None:
        self.name = name
        self.client = client
        self.world: dict[str, Any] = {}
        self.news: deque[str] = deque(maxlen=3)
        self._chance = chance

    async def follow(self) -> None:
        """Keep `world` as it is in the store, with this client's own writes."""
        async for batch in self.client.watch():
            for change in batch.changes:
                if change.value is DELETE:
                    self.world.pop(change.key, None)
                else:
                    if change.key.startswith("score/") and not change.pending and not batch.initial:
                        self.news.append(f"{change.key.removeprefix('score/')} has a star")
                    self.world[change.key] = change.value

    async def play(self) -> None:
        """Run after the star; nothing waits for the store."""
        step = 0
        while True:
            await asyncio.sleep(_STEP)
            step += 1
            if self.name == "bob" and step % (_ONLINE + _OFFLINE) == _ONLINE:
                self.client.go_offline()
                self.news.append("bob lost the network, and plays on")
            elif self.name == "bob" and step % (_ONLINE + _OFFLINE) == 0:
                self.client.go_online()
                self.news.append("bob is back")
            self.move()

    def move(self) -> None:
        """One step; the star and the score change together."""
        star, (x, y) = self.world.get("star"), self.world.get(f"at/{self.name}", [0, 0])
        if star is None:
            return
        if [x, y] == star:
            score = self.world.get(f"score/{self.name}", 0)
            self.client.put_all({"star": self.place(), f"score/{self.name}": score + 1})
            return
        self.client.put(f"at/{self.name}", [x + _sign(star[0] - x), y + _sign(star[1] - y)])

    def place(self) -> list[int]:
        """Somewhere."""
        return [self._chance.randrange(WIDTH), self._chance.randrange(HEIGHT)]


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def field(world: Mapping[str, Any]) -> list[list[tuple[str, str]]]:
    """What a client knows, as rows of characters and their styles. Pure."""
    rows = [[("·", "dim")] * WIDTH for _ in range(HEIGHT)]
    things = [("star", "★", world.get("star")), *((name, name[0].upper(), world.get(f"at/{name}")) for name in _NAMES)]
    for what, character, place in things:
        if place is not None:
            rows[place[1]][place[0]] = (character, _STYLES[what])
    return rows


def pane(player: Player) -> RenderableType:
    """What one of them sees."""
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
    """Let them play.

    Args:
        seconds: How long.
    """
    from rich.columns import Columns  # noqa: PLC0415 - takes a while to load
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    options: dict[str, Any] = {"storage": MemoryStorage(), "poll_interval": _POLL}
    chance = random.Random()  # noqa: S311 - a game
    async with MPS3("demo", **options) as one, MPS3("demo", **options) as other:
        players = Player("ann", one, chance), Player("bob", other, chance)
        await one.put_all({"at/ann": [2, 2], "at/bob": [WIDTH - 3, HEIGHT - 3], "star": players[0].place()})

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
