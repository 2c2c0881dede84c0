"""Histories that went wrong once."""

from __future__ import annotations

import pytest

from .kinds import Kind
from .runner import one

FOUND = [
    # A watch was not told that a key had gone that had a value which expired, then another one, and then none.
    (65, Kind(versioning=False, watch=True, expiring=True)),
    # The same of a key that was delivered as deleted and then with a value, together.
    (18, Kind(watch=True, expiring=True)),
    # A watch that skipped to the present did not tell of a deletion: the key had been deleted before, and put again,
    # in steps that were delivered together.
    (30033, Kind(overdue=True, watch=True)),
    # A watch told of an older commit while what hides it was delivered already, and had changed places with others.
    (91, Kind(overdue=True, watch=True)),
    # A commit that was stored too slowly was acknowledged because others had settled it, and lost when a writer that
    # had not seen it settled past it.
    (31105, Kind(overdue=True, watch=True, expiring=True)),
    # A conditional write had failed, and the client was killed before that was on its disk: the next one sent it.
    (31036, Kind(versioning=False, durable=True, transact=True)),
    # The cursor of an empty present named a transaction that was not decided yet, which was then never told.
    (31097, Kind(watch=True, transact=True, tiny=True)),
    # The check held an overdue commit to a place before what others had based on it, though they had settled past it.
    (31007, Kind(overdue=True, watch=True, collect=True)),
    # Two changes that were stored as runs had changed places, and a watch was not told of what differed then.
    (30505, Kind(overdue=True, watch=True)),
    # A collection took what was stored after its announcement, and committed while it was asleep.
    (21, Kind.that_shows("R17 announcement", whole=True)),
    (22, Kind.that_shows("L9 a late answer", whole=True)),
    # The check believed the earlier of two ends of a lease.
    (82, Kind(leases=True)),
    # The first state of a log was not kept on disk, because another node of the store had been asked before it.
    (50098, Kind(versioning=False, durable=True)),
    # A value of a state that is kept on disk had been collected: reading it was an error, though it was not known
    # whether that is the newest state.
    (50438, Kind(versioning=False, durable=True)),
    # A device that stalls again and again came too late ten times, and blamed the clocks of the store's nodes.
    (50261, Kind(durable=True)),
    # A watch that went on was never told of a commit that had become visible too late, and was built on by others.
    (9072, Kind(overdue=True, watch=True, tiny=True, expiring=True)),
    # A watch that went on was not told what differs since a commit has taken another place.
    (60273, Kind(overdue=True, watch=True, expiring=True)),
    # The check demanded that a transaction stays decided though another became visible before it, too late.
    (60416, Kind(overdue=True, transact=True)),
    # A watch that went on applied patches again that had been settled meanwhile.
    (119, Kind(watch=True, patch=True)),
    (65, Kind(versioning=False, watch=True, tiny=True, patch=True)),
    # A watch was not told of a commit that became visible late, below patches that it had been told of.
    (118, Kind(watch=True, patch=True)),
    # A patch that an earlier client had sent with another version was said not to apply.
    (23, Kind(durable=True, patch=True)),
    # A collection deleted the value of a transaction that was undecided for long, since nobody else committed.
    (69, Kind(collect=True, patch=True)),
    # A client whose process died while it judged patches was followed by one that sent them again, because the next
    # commit of the session had taken their place on the disk.
    (36, Kind(durable=True, patch=True)),
    # A writer took the time of the answer for the stamp of its slot: a key was patched that had expired for others.
    (100375, Kind(versioning=False, patch=True)),
    # A watch that looked back to a state whose runs had been collected ended with a complaint about a missing run.
    (1003, Kind(durable=True, watch=True, tiny=True)),
    # Runs that are read in pieces: who watched was not told that a key had expired that another one had read, ...
    (1020, Kind(versioning=False, watch=True, expiring=True, tiny=True)),
    # ... or that an earlier watch had told of, ...
    (1037, Kind(versioning=False, watch=True, expiring=True, tiny=True)),
    # ... or was told of a commit twice, as a request of its beginning had failed.
    (1096, Kind(versioning=False, watch=True, expiring=True, tiny=True)),
]

LONG = {21, 22, 1037, 31007, 31105, 50261, 50438}
"""Seeds of histories that take seconds."""


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        pytest.param(seed, kind, id=f"{seed} {kind.flags()}", marks=[pytest.mark.thorough] if seed in LONG else [])
        for seed, kind in FOUND
    ],
)
def test_a_history_that_went_wrong_is_good(seed, kind):
    assert one(seed, kind).violations == []
