"""Stores whose clock can be put forward, to collect in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import Clock, Unreliable


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[[bool], Unreliable]:
    return lambda versioning: Unreliable(versioning=versioning, clock=clock)
