"""Fixtures for pytest: put ``pytest_plugins = ["mps3.testing.fixtures"]`` into the topmost ``conftest.py``.

They are plain fixtures, so that they work with pytest-asyncio, with anyio, and in tests that are not async at all.
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
QUICK = 0.05
"""Seconds between two polls of clients that live in real time."""


class MakeClient(Protocol):
    """What the fixture ``mps3_client`` is."""

    def __call__(self, default_manifest: str | Ref = "manifest.json", **options: Any) -> MPS3:
        """A client that is not open yet.

        Args:
            default_manifest: As for `MPS3`.
            **options: Further arguments of `MPS3`, which take the place of those of the fixture.
        """
        ...


@pytest.fixture
def mps3_store(request: pytest.FixtureRequest) -> FaultyStorage:
    """A store in memory of the test's own, with versions, that misbehaves when it is told to."""
    if CLOCK in request.fixturenames:
        return FaultyStorage(MemoryStorage(clock=request.getfixturevalue(CLOCK).time))
    return FaultyStorage()


@pytest.fixture
def mps3_client(request: pytest.FixtureRequest, mps3_store: FaultyStorage) -> MakeClient:
    """What makes clients of ``mps3_store``: each call gives one, to be opened with ``async with``."""
    usual: dict[str, Any] = {"storage": mps3_store}
    usual |= {"environment": VirtualEnvironment()} if CLOCK in request.fixturenames else {"poll_interval": QUICK}

    def make(default_manifest: str | Ref = "manifest.json", **options: Any) -> MPS3:
        return MPS3("bucket", default_manifest, **{**usual, **options})

    return make


@pytest.fixture
def mps3_clock() -> VirtualClock:
    """Lets the test run in virtual time, and its clients too."""
    return VirtualClock()


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Generator[None, Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None, Any]:
    """Tests that ask for the clock run in a `VirtualLoop`, others as ever."""
    found = yield
    if CLOCK in getattr(item, "fixturenames", ()):
        return {"virtual": VirtualLoop}
    return found or {"asyncio": asyncio.new_event_loop}
