"""The servers that are installed quickly take a small exam in every run; `nox -s store -- NAME` is the whole one."""

from __future__ import annotations

import os

import pytest

from stores import modules, store
from stores.base import Unavailable
from stores.exam.paper import EVERYDAY, examine

QUICK = [name for name in modules() if store(name).quick]


@pytest.mark.parametrize("name", QUICK)
async def test_a_server_passes_the_exam(name, tmp_path):
    server = store(name)
    try:
        server.install()
    except Unavailable as why:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{server.name} cannot be had here: {why}")
    with server.running(tmp_path / "data") as address:
        result = await examine(
            address, versioning=server.versioning, weaknesses=server.weaknesses, size=EVERYDAY, tell=print
        )
    assert not result["problems"]


@pytest.mark.parametrize("name", modules())
def test_every_server_says_what_it_is(name):
    server = store(name)
    assert server.name and server.version and server.source
