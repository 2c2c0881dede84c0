"""What the tests of working offline share."""

from __future__ import annotations

import pytest

from .device import Device


@pytest.fixture(params=["merge", "log"])
async def device(request, tmp_path):
    """Clients of one store and one directory, with each journal."""
    device = Device(tmp_path / "offline", versioning=request.param == "merge")
    await device.storage.open()
    yield device
    device.up()
    device.storage.release()
    for client in list(device.open):
        await device.end(client)
    await device.storage.aclose()
