"""The state at a commit and at a time, after a history with late, lost and repeated commits: wherever the walk begins."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mps3 import MPS3, ExpiredError, MPS3Error
from mps3.journal.log.past import LogPast
from mps3.journal.merge.versioned_past import VersionedPast
from mps3.journal.past import Past

from . import client as simulated
from .kinds import Kind
from .runner import one

PASTS: tuple[Any, ...] = (VersionedPast, LogPast)
WALKS = {past: (past.walk, past.walk_to) for past in PASTS}
ASKED = 16
"""Commits of each history whose states are compared."""


async def newest(past: Past, view: Any) -> Any:
    """Begin with the newest."""
    return await WALKS[type(past)][0](past, view)


async def whole_walk(past: Past, view: Any) -> Any:
    """All that there is, before anything is looked for."""
    walk = await newest(past, view)
    while await walk.further():
        pass
    return walk


async def nowhere(*_: Any) -> None:
    """Do not begin near the moment."""


async def said(client: MPS3, at: Any) -> Any:
    try:
        snapshot = await client.snapshot(at)
        return snapshot.id, [(file.key, file.version) for file in await snapshot.files()]
    except MPS3Error as error:
        return type(error)


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        (Kind(), range(20, 26)),
        # In these a walk that stopped at its bound left out a commit, or gave a void transaction another place.
        (Kind(expiring=True), (44, 51)),
        (Kind(transact=True), (39, 102, 129)),
        (Kind(collect=True), range(1, 2)),
        (Kind(versioning=False, tiny=True), range(20, 26)),
        pytest.param(Kind(versioning=False, tiny=True, expiring=True), range(4), marks=pytest.mark.thorough),
        pytest.param(Kind(versioning=False, tiny=True, collect=True), range(1, 3), marks=pytest.mark.thorough),
    ],
    ids=["merge", "expiring", "transactions", "collecting", "log", "log, expiring", "log, collecting"],
)
def test_the_state_at_a_commit_is_the_same_however_far_one_has_read(kind, seeds, monkeypatch):
    read_all = simulated.Life.read_all
    begun, different = [], []

    async def noting(past: Past, view: Any, moment: Any) -> Any:
        walk = await WALKS[type(past)][1](past, view, moment)
        begun.append(walk is not None)
        return walk

    async def compare(life: Any) -> None:
        await read_all(life)
        if not life.name.startswith("fresh"):
            return
        (client,) = (one for one in vars(life).values() if isinstance(one, MPS3))
        log = await client.log()
        for entry in random.Random(life.name).sample(log, min(ASKED, len(log))):
            for at in (entry.id, entry.time):
                found = []
                for walk, walk_to in ((newest, noting), (newest, nowhere), (whole_walk, nowhere)):
                    for past in PASTS:
                        monkeypatch.setattr(past, "walk", walk)
                        monkeypatch.setattr(past, "walk_to", walk_to)
                    found.append(await said(client, at))
                if kind.collect and not kind.versioning:
                    # A collection that was cut off leaves a gap in the log. A walk that begins behind it tells more.
                    found = [one for one in found if one is not ExpiredError]
                if any(one != found[0] for one in found):
                    different.append((at, found))
        for past, (walk, _) in WALKS.items():
            monkeypatch.setattr(past, "walk", walk)

    monkeypatch.setattr(simulated.Life, "read_all", compare)
    for seed in seeds:
        assert not one(seed, kind).violations
    assert not different
    # Without collections these histories are too short for a checkpoint that is later than a moment by some windows.
    assert any(begun) or (kind.collect if kind.versioning else not kind.collect)
