"""The checker of transactions notices each promise that is broken."""

from __future__ import annotations

import pytest

from .transacting import ACCOUNTS, CAS, COUNT, WATCHES, TxDone, TxFailed, TxInvoked, TxRun, TxState, check_transactions

ONE, OTHER, _ = ACCOUNTS


def ran(tx, run=0, **writes):
    """A run, as it is noted: of each key the amount, and whose value it replaced."""
    keys = {"count": COUNT, "one": ONE, "other": OTHER, "x": WATCHES[0], "y": WATCHES[1]}
    reads = {keys[name]: before for name, (_, before) in writes.items()}
    return {
        keys[name]: {"write": f"{tx}#{run}", "reads": reads, "amount": amount}
        for name, (amount, _) in writes.items()
        if amount is not None
    }


def history(*events):
    return [event for group in events for event in (group if isinstance(group, list) else [group])]


def done(tx, writes):
    run = next(iter(writes.values()))["write"]
    return [TxInvoked(0, "c", tx), TxRun(0, "c", run, writes), TxDone(0, "c", tx, writes)]


def seen(*groups, final=False, client="c"):
    return TxState(0, client, {key: value for group in groups for key, value in group.items()}, final)


A = ran("a", count=(1, None))
B = ran("b", count=(2, "a#0"))
MOVE = ran("m", one=(90, None), other=(110, None))
REST = ran("r", x=(0, None), y=(None, None))


def broken(*events):
    return {violation.promise for violation in check_transactions(history(*events))}


def test_a_good_history():
    assert not broken(done("a", A), seen(A), done("b", B), done("m", MOVE), seen(B, MOVE), seen(B, MOVE, final=True))


@pytest.mark.parametrize(
    ("promise", "events"),
    {
        "lost": [done("a", A), done("b", B), seen(A, final=True)],
        "overwrote": [
            done("a", A),
            done("b", ran("b", count=(1, None))),
            seen(A),
            seen(ran("b", count=(1, None)), final=True),
        ],
        "repeated": [
            done("a", A),
            done("b", B),
            [TxRun(0, "c", "a#1", ran("a", 1, count=(3, "b#0")))],
            seen(ran("a", 1, count=(3, "b#0")), final=True),
        ],
        "partial": [done("m", MOVE), seen({ONE: MOVE[ONE]}), seen(MOVE, final=True)],
        "sum": [
            done("m", ran("m", one=(90, None), other=(120, None))),
            seen(ran("m", one=(90, None), other=(120, None)), final=True),
        ],
        "refused": [done("a", A), [TxFailed(0, "c", "f", "ConflictError()")], seen(A, final=True)],
        "circular": [
            done("r", REST),
            done("s", ran("s", x=(None, None), y=(0, None))),
            seen(REST, ran("s", x=(None, None), y=(0, None)), final=True),
        ],
        "early": [
            done("b", ran("b", count=(1, None))),
            done("a", ran("a", count=(2, "c#0"))),
            [TxRun(0, "c", "c#0", ran("c", count=(1, None)))],
            [TxInvoked(0, "c", "c")],
            seen(ran("a", count=(2, "c#0")), final=True),
        ],
        "cas": [
            [TxInvoked(0, "c", tx) for tx in "vw"],
            [TxDone(0, "c", tx, {CAS: {"write": tx, "reads": {}, "amount": 0, "if": "1"}}) for tx in "vw"],
            seen(final=True),
        ],
    }.items(),
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_broken_is_noticed(promise, events):
    assert promise in broken(*events)


def test_a_failed_transaction_is_not_seen():
    assert "late" in broken(
        [TxInvoked(0, "c", "a"), TxRun(0, "c", "a#0", A), TxFailed(0, "c", "a", "")], seen(A, final=True)
    )


def test_what_was_seen_stays():
    assert "lost" in broken(done("a", A), seen(A), seen())


def test_a_transaction_whose_lease_was_over_does_not_count():
    events = history(done("a", A), seen(A), seen(A, final=True))
    assert {violation.promise for violation in check_transactions(events, {"a#0"})} == {"overdue"}
    assert not check_transactions(events, {"b#0"})
