"""What the tests of working offline share."""

from __future__ import annotations

import pytest

from .lives import Lives


@pytest.fixture(params=["merge", "conditional"])
async def lives(request, tmp_path):
    """Clients of one store and one directory, with each journal."""
    lives = Lives(tmp_path / "offline", versioning=request.param == "merge")
    await lives.storage.open()
    yield lives
    lives.up()
    lives.storage.release()
    for client in list(lives.open):
        await lives.end(client)
    await lives.storage.aclose()
