"""Nothing acknowledged is lost, whatever the store and the network do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from .history import Violation
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


@pytest.mark.parametrize("collect", [False, True], ids=["", "sleepers and collectors"])
@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "conditional"])
def test_no_promise_is_broken_for_devices_with_a_disk(histories, seed, versioning, collect, capsys):
    totals = many(seed, histories // 6, durable=True, versioning=versioning, collect=collect)
    with capsys.disabled():
        print(f"\n{totals}")
    if totals.wrong:
        print(report(one(totals.wrong[0][0], durable=True, versioning=versioning, collect=collect)))
    assert not totals.wrong, totals
    assert totals.kept > 5 * totals.histories
    assert totals.killed > totals.histories


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "conditional"])
def test_transactions_are_serialisable(histories, seed, versioning, capsys):
    number = max(1, histories // 3)
    totals = many(seed, number, versioning=versioning, transact=True)
    with capsys.disabled():
        print(f"\nwith transactions, {'merge' if versioning else 'conditional'} journal: {totals}")
    if totals.wrong:
        print(report(one(totals.wrong[0][0], versioning=versioning, transact=True)))
    assert not totals.wrong, totals
    assert totals.acknowledged > 5 * number


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "conditional"])
def test_what_expires_does_so_in_time_and_nothing_else_does(histories, seed, versioning, capsys):
    number = max(1, histories // 5)
    totals = many(seed, number, versioning=versioning, watch=True, expiring=True)
    with capsys.disabled():
        print(f"\nwith values that expire, {'merge' if versioning else 'conditional'} journal: {totals}")
    if totals.wrong:
        print(report(one(totals.wrong[0][0], versioning=versioning, watch=True, expiring=True)))
    assert not totals.wrong, totals
    assert totals.expiring > 5 * number
    assert totals.left_out > 0


FAILED = [
    (2173, {}),
    (12487, {"overdue": True}),
    (13533, {"overdue": True}),
    (163, {"transact": True}),
    (416, {"transact": True}),
    (76, {"transact": True, "versioning": False}),
    (171, {"transact": True, "watch": True}),
    (362, {"transact": True, "watch": True}),
    (132, {"collect": True}),
    (1088, {"collect": True}),
]
"""Histories that once went wrong: the seed, and of which kind."""


@pytest.mark.parametrize(("number", "kind"), FAILED)
def test_what_once_went_wrong_does_so_no_more(number, kind):
    result = one(number, **kind)
    assert not result.violations, report(result)


def test_a_failure_says_how_to_replay_it():
    for options, flags in [
        ({}, ""),
        ({"versioning": False}, " --unversioned"),
        ({"overdue": True}, " --overdue"),
        ({"expiring": True}, " --expiring"),
        ({"broken": "R3 no siblings"}, " --broken='R3 no siblings'"),
        ({"broken": "R3 no siblings", "overdue": True}, " --overdue --broken='R3 no siblings'"),
        ({"broken": "R7 bound", "whole": True}, ""),
    ]:
        result = replace(one(1, **options), violations=[Violation("lost", 1.0, "w1")])
        assert report(result).endswith(f"replay with: python -m tests.simulation 1{flags}"), options


@pytest.mark.parametrize("versioning", [True, False])
def test_nothing_live_is_collected(histories, seed, versioning, capsys):
    number = max(1, histories // 5)
    totals = many(seed, number, versioning=versioning, collect=True)
    with capsys.disabled():
        print(f"\nwith collectors, {'merge' if versioning else 'conditional'} journal: {totals}")
    if totals.wrong:
        print(report(one(totals.wrong[0][0], versioning=versioning, collect=True)))
    assert not totals.wrong, totals
    assert totals.acknowledged > 5 * number
    assert totals.collected > 10 * number


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
