"""What a client has done so far, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a client has done since it was made, and what it holds, at the moment it was asked.

    Attributes:
        requests: How many requests of each operation it made, as S3 names them. One that was repeated counts once.
        failed_requests: How many of them failed; a condition that did not hold is no failure.
        request_retries: How often requests were repeated before their caller heard of it.
        bytes_sent: Bytes of objects that were sent.
        bytes_received: Bytes of objects that were received.
        polls: How often it looked for what others did.
        polls_without_news: How often there was nothing.
        failed_polls: How often that failed.
        merged: Commits of others that became part of what is shown, as far as they were seen one by one.
        writes: Writes made here, once for each manifest. Each run of a transaction is one.
        failed_writes: Those that came to nothing, withdrawn ones included, but not what was run again.
        commits: Commits that were acknowledged.
        commits_sent: How often commits were sent; more than ``commits`` where some had to be sent again.
        conflicts: How often somebody else had committed first, or had changed what a transaction was made from.
        retries: How often storing a value or committing failed in a way that may pass.
        times_offline: How often the store stopped answering, or was not to be asked any more.
        pending: Writes that are not yet in the store.
        subscriptions: Subscriptions and watches that are open.
        buffered: States that wait for watches to look at them.
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
    merged: int
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
    """Those of the numbers that only grow."""

    requests: dict[str, int] = field(default_factory=dict)
    failed_requests: int = 0
    request_retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    polls: int = 0
    polls_without_news: int = 0
    failed_polls: int = 0
    merged: int = 0
    writes: int = 0
    failed_writes: int = 0
    commits: int = 0
    commits_sent: int = 0
    conflicts: int = 0
    retries: int = 0
    times_offline: int = 0

    def statistics(self, *, pending: int, subscriptions: int, buffered: int, cached_bytes: int) -> Statistics:
        """They, and what there is at the moment."""
        return Statistics(
            dict(self.requests),
            self.failed_requests,
            self.request_retries,
            self.bytes_sent,
            self.bytes_received,
            self.polls,
            self.polls_without_news,
            self.failed_polls,
            self.merged,
            self.writes,
            self.failed_writes,
            self.commits,
            self.commits_sent,
            self.conflicts,
            self.retries,
            self.times_offline,
            pending,
            subscriptions,
            buffered,
            cached_bytes,
        )
