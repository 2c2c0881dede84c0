"""What is different for tests that start servers of every kind."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_race_where_none_is_lost() -> None:
    """Let clients try create-if-absent in races, unlike other tests: some of these servers lose them."""
