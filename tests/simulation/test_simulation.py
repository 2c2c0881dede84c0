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
from .kinds import Kind
from .runner import many, one, report

ROOT = Path(__file__).parents[2]


MERGE, LOG = Kind(), Kind(versioning=False)


@pytest.fixture
def run(seed, capsys):
    """Runs many histories of a kind; the totals of them, of which none went wrong."""

    def run(histories, kind):
        number = max(1, histories)
        totals = many(seed, number, kind)
        with capsys.disabled():
            print(f"\n{kind.flags() or 'ordinary ones'}: {totals}")
        if totals.wrong:
            print(report(one(totals.wrong[0][0], kind)))
        assert not totals.wrong, totals
        assert totals.histories == number
        # A history in which nothing succeeds proves nothing.
        assert totals.acknowledged > 5 * number
        return totals

    return run


def test_no_promise_is_broken(run, histories):
    run(histories, MERGE)


@pytest.mark.parametrize("collect", [False, True], ids=["", "sleepers and collectors"])
@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_no_promise_is_broken_for_devices_with_a_disk(run, histories, journal, collect):
    totals = run(histories // 6, replace(journal, durable=True, collect=collect))
    assert totals.kept > 5 * totals.histories
    assert totals.killed > totals.histories


@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_transactions_are_serialisable(run, histories, journal):
    run(histories // 3, replace(journal, transact=True))


@pytest.mark.parametrize(
    "more",
    [{}, {"durable": True}, {"watch": True, "tiny": True}, {"transact": True}, {"collect": True}],
    ids=["", "disk", "watch", "transactions", "collectors"],
)
@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_each_patch_is_applied_once_to_what_is_there(run, histories, journal, more):
    run(histories // (6 if more else 2), replace(journal, patch=True, **more))


@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
@pytest.mark.parametrize("transact", [False, True], ids=["", "transactions"])
def test_what_was_forgotten_is_not_taken_for_what_did_not_happen(run, histories, journal, transact):
    run(histories // 20, replace(journal, forgetful=True, transact=transact))


@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_no_transaction_counts_after_it_has_failed_or_when_its_lease_is_over(run, histories, journal):
    totals = run(histories // 6, replace(journal, leases=True))
    assert totals.expiring > totals.histories


@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_what_expires_does_so_in_time_and_nothing_else_does(run, histories, journal):
    totals = run(histories // 5, replace(journal, watch=True, expiring=True))
    assert totals.expiring > 5 * totals.histories
    assert totals.left_out > 0


@pytest.mark.parametrize("tiny", [False, True], ids=["", "tiny runs"])
@pytest.mark.parametrize("journal", [MERGE, LOG], ids=["merge", "log"])
def test_nothing_live_is_collected(run, histories, journal, tiny):
    totals = run(histories // 5, replace(journal, collect=True, tiny=tiny))
    assert totals.collected > 10 * totals.histories


@pytest.mark.parametrize(
    "more",
    [{}, {"collect": True}, {"transact": True}, {"patch": True}, {"forgetful": True}, {"expiring": True}],
    ids=["", "collectors", "transactions", "patches", "forgetful", "expiring"],
)
def test_no_promise_is_broken_where_commits_are_ahead_of_the_state(run, histories, more):
    run(histories // (10 if more else 2), replace(LOG, crowd=True, **more))


FAILED = [
    (2173, {}),
    (12487, {"overdue": True}),
    (13533, {"overdue": True}),
    (163, {"transact": True}),
    (416, {"transact": True}),
    (76, {"transact": True, "versioning": False}),
    (171, {"transact": True, "watch": True}),
    (362, {"transact": True, "watch": True}),
    (0, {"forgetful": True}),
    (123, {"forgetful": True}),
    (132, {"collect": True}),
    pytest.param(1088, {"collect": True}, marks=pytest.mark.thorough),
    (236, {"collect": True, "durable": True, "tiny": True}),
    pytest.param(149, {"collect": True, "watch": True, "tiny": True, "versioning": False}, marks=pytest.mark.thorough),
    (169, {"collect": True, "watch": True, "tiny": True, "versioning": False}),
    (184, {"collect": True, "watch": True, "tiny": True, "versioning": False}),
]
"""Histories that once went wrong: the seed, and of which kind."""


@pytest.mark.parametrize(("number", "kind"), FAILED)
def test_what_once_went_wrong_does_so_no_more(number, kind):
    result = one(number, Kind(stored=True, **kind))
    assert not result.violations, report(result)


def test_a_failure_says_how_to_replay_it():
    for options, flags in [
        ({}, ""),
        ({"versioning": False}, " --unversioned"),
        ({"overdue": True}, " --overdue"),
        ({"expiring": True}, " --expiring"),
        ({"tiny": True, "collect": True}, " --collect --tiny"),
        ({"broken": "R3 no siblings"}, " --broken='R3 no siblings'"),
        ({"broken": "R3 no siblings", "overdue": True}, " --overdue --broken='R3 no siblings'"),
        ({"broken": "R7 bound", "whole": True}, " --broken='R7 bound' --whole"),
    ]:
        result = replace(one(1, Kind(**options)), violations=[Violation("lost", 1.0, "w1")])
        assert report(result).endswith(f"replay with: python -m tests.simulation 1{flags}"), options


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
