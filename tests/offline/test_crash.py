"""A writer is killed at random moments. `nox -s crash` does it thousands of times."""

from __future__ import annotations

import os

import crash
import pytest

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="lives and deaths are followed as on Linux"),
]


@pytest.fixture
def journal(request: pytest.FixtureRequest) -> str:
    """A journal for which the server has what it needs."""
    if request.param == "merge":
        request.getfixturevalue("bucket")
    return request.param


@pytest.mark.parametrize(
    "journal",
    [one if one == "log" else pytest.param(one, marks=pytest.mark.thorough) for one in crash.JOURNALS],
    indirect=True,
)
async def test_what_is_kept_is_applied_once_and_in_order(server, journal, capsys):
    verdict = await crash.run(12, journal, server, seed=1)
    with capsys.disabled():
        print(f"\n{journal}: {verdict}")
    assert verdict.good, verdict
    assert verdict.kept > 0
    assert verdict.busy > verdict.kills // 2, verdict
