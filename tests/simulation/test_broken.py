"""The client is broken on purpose, one rule at a time: each must be noticed within 500 histories.

`nox` tries those that are noticed by one of the first few, and the session `simulation` all of them.
"""

from __future__ import annotations

import pytest

from .breaks import BREAKS
from .runner import find_first_violation

AT_ONCE = {
    "R3 no siblings",
    "R4 once",
    "R5 order",
    "outbox forgets what it sent",
    "outbox promises too early",
    "R19 the time of a value",
    "R20 expectations",
    "R23 forgets at once",
    "L3 another slot in doubt",
    "L6 a checkpoint of what it does not have",
    "L10 outbox forgets what it sent",
    "collects every old manifest",
    "watch without late commits",
    "patches: applied twice",
    "patches: joining loses a step",
}


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.thorough) for name in BREAKS]
)
def test_a_broken_rule_is_noticed(name, capsys):
    found = find_first_violation(name)
    assert found is not None, f"500 histories, broken: {name}, and nothing was noticed"
    number, violations = found
    # Where something is missing that is needed, nothing can be written either.
    otherwise = ("clean", "stuck") if BREAKS[name].collect else ("clean", "stuck", "refused")
    assert all(violation.promise not in otherwise for violation in violations[:1])
    with capsys.disabled():
        print(f"\nbroken: {name}: noticed by history {number}: {violations[0]}")


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in BREAKS if BREAKS[name].options])
def test_the_same_histories_are_good_with_the_client_whole(name, histories):
    assert find_first_violation(name, most=max(1, histories // 10), whole=True) is None
