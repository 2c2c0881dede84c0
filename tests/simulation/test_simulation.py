"""Nothing acknowledged is lost, whatever the store and the network do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from .runner import many, one, report

ROOT = Path(__file__).parents[2]


def test_no_promise_is_broken(histories, seed, capsys):
    totals = many(seed, histories)
    with capsys.disabled():
        print(f"\n{totals}")
    if totals.wrong:
        print(report(one(totals.wrong[0][0])))
    assert not totals.wrong, totals
    assert totals.histories == histories
    # A history in which nothing succeeds proves nothing.
    assert totals.acknowledged > 5 * histories


TRACE = """
import hashlib
from tests.simulation.runner import one
for seed in range({first}, {last}):
    print(seed, hashlib.sha256(repr(one(seed).trace).encode()).hexdigest())
"""


def traces(first, last, hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", TRACE.format(first=first, last=last)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_seed_is_one_history_in_every_process():
    first = traces(0, 10, hash_seed=1)
    assert len(first.splitlines()) == 10
    assert traces(0, 10, hash_seed=2) == first
    assert len({line.split()[1] for line in first.splitlines()}) == 10


def test_a_seed_is_one_history_within_a_process():
    script = TRACE.format(first=3, last=4).replace("range(3, 4)", "[3, 4, 3]")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, other, again = done.stdout.splitlines()
    assert first == again != other


def test_a_report_can_be_read():
    text = report(one(1))
    assert "seed 1: Options(" in text
    assert "manifest versions" in text
    assert hashlib.sha256(text.encode())  # no lone surrogates
