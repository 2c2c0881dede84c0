"""Fixtures for pytest: put ``pytest_plugins = ["mps3.testing.fixtures"]`` into the topmost ``conftest.py``.

They are plain fixtures: they work with pytest-asyncio, with anyio, and in tests that are not async.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

import pytest

from ..client.client import MPS3
from ..storage.memory import MemoryStorage
from ..types import Ref
from .clock import VirtualClock, VirtualEnvironment, VirtualLoop
from .faulty import FaultyStorage

CLOCK = "mps3_clock"
POLL_INTERVAL = 0.05
"""Seconds between two polls of clients in real time."""


class MakeClient(Protocol):
    """The type of the fixture ``mps3_client``."""

    def __call__(self, default_manifest: str | Ref = "manifest.json", **options: Any) -> MPS3:
        """Create a client that is not open yet.

        Args:
            default_manifest: As for `MPS3`.
            **options: Other arguments of `MPS3`; they replace those of the fixture.
        """
        ...


@pytest.fixture
def mps3_store(request: pytest.FixtureRequest) -> FaultyStorage:
    """A store in memory for one test, with versions, which fails on demand."""
    if CLOCK in request.fixturenames:
        return FaultyStorage(MemoryStorage(clock=request.getfixturevalue(CLOCK).time))
    return FaultyStorage()


@pytest.fixture
def mps3_client(request: pytest.FixtureRequest, mps3_store: FaultyStorage) -> MakeClient:
    """A function that creates clients of ``mps3_store``, to be opened with ``async with``."""
    usual: dict[str, Any] = {"storage": mps3_store}
    usual |= (
        {"environment": VirtualEnvironment()} if CLOCK in request.fixturenames else {"poll_interval": POLL_INTERVAL}
    )

    def make(default_manifest: str | Ref = "manifest.json", **options: Any) -> MPS3:
        return MPS3("bucket", default_manifest, **{**usual, **options})

    return make


@pytest.fixture
def mps3_clock() -> VirtualClock:
    """A clock of virtual time, in which the test and its clients run."""
    return VirtualClock()


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Generator[None, Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None, Any]:
    """Run tests that use the clock in a `VirtualLoop`."""
    found = yield
    if CLOCK in getattr(item, "fixturenames", ()):
        return {"virtual": VirtualLoop}
    return found or {"asyncio": asyncio.new_event_loop}
