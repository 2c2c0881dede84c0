"""The client is broken on purpose, one rule at a time: each must be noticed within 500 histories."""

from __future__ import annotations

import pytest

from .breaks import BREAKS
from .runner import find_first_violation


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_noticed(name, capsys):
    found = find_first_violation(name)
    assert found is not None, f"500 histories without {name}, and nothing was noticed"
    number, violations = found
    assert all(violation.promise not in ("clean", "stuck", "refused") for violation in violations[:1])
    with capsys.disabled():
        print(f"\nwithout {name}: noticed by history {number}: {violations[0]}")
