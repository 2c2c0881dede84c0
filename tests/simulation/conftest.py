"""``pytest tests/simulation --histories 10000 --seed 0``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--histories", type=int, default=100, help="how many simulated histories to run")
    group.addoption("--seed", type=int, default=0, help="the seed of the first of them")


# The options are unknown to pytest when this file is not among its arguments; then the defaults hold.


@pytest.fixture
def histories(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--histories", 100)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--seed", 0)
