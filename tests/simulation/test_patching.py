"""The checker of patches notices each promise that is broken."""

from __future__ import annotations

import pytest

from .history import Opened
from .patching import (
    COUNTERS,
    FIELDS,
    RESET,
    PatchDone,
    PatchFailed,
    PatchInvoked,
    PatchKept,
    PatchSeen,
    PatchUnknown,
    check_patches,
    modelled,
)

KEY = "patch/a"


def made(op, kind="tick", key=KEY, about=None, client="c0.0"):
    return PatchInvoked(0, client, op, key, kind, about)


def done(op, *args, client="c0.0", **options):
    return [made(op, *args, client=client, **options), PatchDone(0, client, op)]


def seen(value, key=KEY, client="c0.0", **options):
    return PatchSeen(0, client, {key: value}, 10**6, **{"resolved": not options.get("final"), **options})


def document(*ops, kind="tick"):
    value = None
    for op in ops:
        value = modelled(value, op, made(op, kind))
    return value


def broken(*events, **options):
    history = [event for group in events for event in (group if isinstance(group, list) else [group])]
    return {violation.promise for violation in check_patches(history, **options)}


ONE, TWO = "c0.0/p001", "c0.0/p002"
OTHER = "c1.0/p001"


def test_a_good_history():
    assert not broken(
        done(ONE),
        seen(document(ONE)),
        done(OTHER, client="c1.0"),
        [made(TWO), PatchUnknown(0, "c0.0", TWO)],
        seen(document(ONE, OTHER)),
        seen(document(ONE, OTHER), final=True),
        seen(document(ONE, OTHER), final=True, client="c1.0"),
        done("c0.0/p003", "field", FIELDS),
        seen({"c0.0": "c0.0/p003", "last": "c0.0/p003"}, FIELDS),
        done("c0.0/p004", "count", COUNTERS[0], 0),
        seen(1, COUNTERS[0]),
        done("c0.0/p005", "put", RESET),
        seen(None, RESET),
    )


@pytest.mark.parametrize(
    ("promise", "events"),
    {
        "wrong": [done(ONE), seen({"log": [ONE], "n": 2})],
        "wrong, twice": [done(ONE), seen(document(ONE, ONE))],
        "wrong, by half": [done(ONE, "front"), seen({"log": [ONE]})],
        "reordered": [done(ONE), done(TWO), seen(document(TWO, ONE))],
        "lost": [done(ONE), seen(None, final=True, client="c1.0")],
        "lost, of a counter": [done(ONE, "count", COUNTERS[0], 0), seen(0, COUNTERS[0], final=True)],
        "lost, though kept": [made(ONE), PatchKept(0, "c0.0", ONE), seen(None, final=True)],
        "unseen": [done(ONE), seen(None)],
        "unseen, its own": [made(ONE), seen(None, resolved=False)],
        "unseen, again": [done(OTHER, client="c1.0"), seen(document(OTHER)), seen(None)],
        "unseen, by a newcomer": [done(OTHER, client="c1.0"), Opened(0, "c2.0", 2), seen(None, client="c2.0")],
        "late": [made(OTHER, client="c1.0"), PatchFailed(0, "c1.0", OTHER, ""), seen(document(OTHER))],
        "invented": [seen({"log": [ONE], "n": 1})],
        "invented, by a counter": [seen(1, COUNTERS[0])],
        "diverged": [
            made(ONE),
            PatchUnknown(0, "c0.0", ONE),
            seen(document(ONE), final=True),
            seen(None, final=True, client="c1.0"),
        ],
        "refused": [made(ONE), PatchFailed(0, "c0.0", ONE, "ConflictError(does not apply)")],
    }.items(),
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_broken_is_noticed(promise, events):
    assert promise.partition(",")[0] in broken(*events)


def test_a_patch_that_does_not_apply_any_more_is_only_known_where_places_are_certain():
    events = [done(ONE, "clash number"), seen(document(ONE, kind="clash number")), seen(None)]
    assert "unseen" in broken(*events)
    assert not broken(*events, strict=False)
