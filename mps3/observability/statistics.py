"""The statistics of a client."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Final

HEARD_WITHIN: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0, inf)
"""The bounds, in seconds, of the histogram of how long after its time stamp a commit was heard."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a client has done since it was created, and what it holds at the moment of the call.

    Attributes:
        requests: Requests by S3 action. A request that was retried counts once.
        failed_requests: Requests that failed, without those whose condition did not hold.
        request_retries: Retries of requests by the storage.
        bytes_sent: Bytes of objects that were sent.
        bytes_received: Bytes of objects that were received.
        polls: Polls for changes by other clients.
        polls_without_news: Polls that found no change.
        failed_polls: Polls that failed.
        wake_ups: Polls because of wake-ups.
        useful_wake_ups: Those that found a change.
        merged: Commits of other clients that became visible, without those that were never seen individually.
        heard_within: How long after its time stamp by the store's clock each of them became visible, as a histogram:
            how many took at most so many seconds, and more than the next smaller bound. It is as precise as the time
            stamps of the store: on S3 they are whole seconds.
        writes: Writes of this client, once for each manifest. Each run of a transaction counts.
        failed_writes: Writes that failed or were withdrawn, without the runs of transactions that were repeated.
        commits: Commits that were acknowledged.
        commits_sent: Commits that were sent; a commit counts each time it is sent.
        conflicts: Commits that failed because another client had committed first, or had changed a key that was read.
        retries: Transient failures to store a value or to commit.
        times_offline: How often the store stopped answering, or the client was switched offline.
        pending: Writes that are not in the store yet.
        subscriptions: Open subscriptions and watches.
        buffered: States that watches have not processed yet.
        cached_bytes: Bytes of values that are held in memory.
    """

    requests: Mapping[str, int]
    failed_requests: int
    request_retries: int
    bytes_sent: int
    bytes_received: int
    polls: int
    polls_without_news: int
    failed_polls: int
    wake_ups: int
    useful_wake_ups: int
    merged: int
    heard_within: Mapping[float, int]
    writes: int
    failed_writes: int
    commits: int
    commits_sent: int
    conflicts: int
    retries: int
    times_offline: int
    pending: int
    subscriptions: int
    buffered: int
    cached_bytes: int


@dataclass(slots=True)
class Counters:
    """The statistics that only grow."""

    requests: dict[str, int] = field(default_factory=dict)
    failed_requests: int = 0
    request_retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    polls: int = 0
    polls_without_news: int = 0
    failed_polls: int = 0
    wake_ups: int = 0
    useful_wake_ups: int = 0
    merged: int = 0
    heard_within: dict[float, int] = field(default_factory=lambda: dict.fromkeys(HEARD_WITHIN, 0))
    writes: int = 0
    failed_writes: int = 0
    commits: int = 0
    commits_sent: int = 0
    conflicts: int = 0
    retries: int = 0
    times_offline: int = 0

    def heard(self, seconds: float) -> None:
        """Count a commit of another client that became visible so many seconds after its time stamp."""
        self.heard_within[HEARD_WITHIN[bisect_left(HEARD_WITHIN, seconds)]] += 1

    def statistics(self, *, pending: int, subscriptions: int, buffered: int, cached_bytes: int) -> Statistics:
        """Return the counts, together with what the client holds now."""
        return Statistics(
            **asdict(self),
            pending=pending,
            subscriptions=subscriptions,
            buffered=buffered,
            cached_bytes=cached_bytes,
        )
