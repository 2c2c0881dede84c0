"""``pytest tests/simulation --histories 10000 --seed 0``."""

from __future__ import annotations

import os

import pytest
from helpers import PROFILE

# Everyday tests try each kind; the session `simulation` tries as many as it is told to.
HISTORIES = 6 if PROFILE == "everyday" else int(os.environ.get("MPS3_TEST_HISTORIES", "100"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--histories", type=int, default=HISTORIES, help="how many simulated histories to run")
    group.addoption("--seed", type=int, default=0, help="the seed of the first of them")


# The options are unknown to pytest when this file is not among its arguments; then the defaults hold.


@pytest.fixture
def histories(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--histories", HISTORIES)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--seed", 0)
