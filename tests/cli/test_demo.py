"""``mps3 demo``."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import pytest

from mps3 import MPS3, MemoryStorage
from mps3.cli.demonstration.game import HEIGHT, WIDTH, Player, field
from mps3.cli.demonstration.transcript import print_transcript

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


async def test_the_transcript_is_always_the_same():
    told = []
    for _ in range(2):
        stream = io.StringIO()
        await print_transcript(stream)
        told.append(stream.getvalue())
    assert told[0] == told[1]
    assert told[0].startswith("ANN ") and told[0].rstrip().endswith('sees color = "red"')
    assert "goes offline" in told[0]
    if PAGE.is_file():
        assert f"$ mps3 demo | cat\n{told[0]}" in PAGE.read_text(encoding="utf-8")


def test_into_a_pipe(run):
    found = run("demo")
    assert (found.code, found.err) == (0, "") and found.out.startswith("ANN ")


def test_two_panes_on_a_terminal(terminal):
    shown = terminal("demo", "--seconds", "3")
    assert shown.ends() == 0
    assert "ann's client" in shown.plain and "bob's client" in shown.plain and "★" in shown.plain
    assert "Traceback" not in shown.plain and shown.plain.rstrip().endswith("goes on from here.")


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan"])
def test_wrong_arguments(mps3, seconds):
    found = mps3("demo", "--seconds", seconds)
    assert found.code == 2 and "positive number of seconds" in found.err


async def test_players_reach_the_star_and_score():
    storage = MemoryStorage()
    async with MPS3("demo", storage=storage) as client:
        ann = Player("ann", client, random.Random(1))
        ann.world = {"star": [3, 1], "at/ann": [0, 0]}
        for place in ([1, 1], [2, 1], [3, 1]):
            ann.move()
            assert await client.get("at/ann") == place
            ann.world["at/ann"] = place
        ann.move()
        assert await client.get("score/ann") == 1
        x, y = await client.get("star")
        assert 0 <= x < WIDTH and 0 <= y < HEIGHT


def test_the_field_shows_what_a_client_knows():
    rows = field({"at/ann": [0, 0], "at/bob": [WIDTH - 1, HEIGHT - 1], "star": [1, 0]})
    text = ["".join(character for character, _ in row) for row in rows]
    assert re.fullmatch(r"A★·+", text[0]) and re.fullmatch(r"·+B", text[-1])
    assert len(text) == HEIGHT and {len(row) for row in text} == {WIDTH}
