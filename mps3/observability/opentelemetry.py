"""Events as traces and metrics of OpenTelemetry. Needs the extra ``mps3[opentelemetry]``."""

from __future__ import annotations

import time
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Final

from ..types import Ref
from .events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Event,
    Merged,
    Polled,
    Problem,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    raise ImportError("traces and metrics need OpenTelemetry: pip install 'mps3[opentelemetry]'") from error

SCOPE: Final = "mps3"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
WRITES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MINTED: Final = "@mps3-"
"""Follows the key of a value where buckets have no versions."""


@dataclass(slots=True)
class _Write:
    """A write that is pending."""

    context: Context
    keys: tuple[str, ...]


@dataclass(slots=True)
class _Commit:
    """A commit that is under way."""

    span: Span
    token: Token[Context]


class OpenTelemetryHook:
    """A hook that makes traces and metrics of events. One will do for all clients of a process.

    Each request is a span. A commit is a span with those of its requests in it. The span of a commit, and those of the
    values that it needs, are in the trace of what was current when the (first) write was made, and have links to the
    others.

    Args:
        tracer_provider: Makes the tracer; the global one if ``None``.
        meter_provider: Makes the meter; the global one if ``None``.
        polls: Whether requests that were answered by "nothing new" are spans too: mostly polls, one a second.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        polls: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._polls = polls
        self._writes: dict[int, _Write] = {}
        self._by_key: dict[str, int] = {}
        self._commits: dict[str, _Commit] = {}
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)

        def histogram(name: str, description: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=SECONDS)

        self._request_duration = histogram("mps3.request.duration", "Time that requests took, with all their tries")
        self._request_sent = meter.create_counter("mps3.request.sent", "By", "Bytes of objects that were sent")
        self._request_received = meter.create_counter(
            "mps3.request.received", "By", "Bytes of objects that were received"
        )
        self._retries = meter.create_counter("mps3.retries", "{retry}", "What failed in passing and was tried again")
        self._poll_duration = histogram("mps3.poll.duration", "Time that looking for what others did took")
        self._merged = meter.create_counter("mps3.merged", "{commit}", "Commits of others that were seen")
        self._write_duration = histogram("mps3.write.duration", "Time from a write until it was durable")
        self._write_pending = meter.create_up_down_counter("mps3.write.pending", "{write}", "Writes not yet durable")
        self._write_failures = meter.create_counter("mps3.write.failures", "{write}", "Writes that came to nothing")
        self._commit_duration = histogram("mps3.commit.duration", "Time from sending a commit until it was durable")
        self._commit_writes = meter.create_histogram(
            "mps3.commit.writes", "{write}", "Writes in a commit", explicit_bucket_boundaries_advisory=WRITES
        )
        self._conflicts = meter.create_counter("mps3.commit.conflicts", "{conflict}", "Commits that came second")
        self._offline = meter.create_counter("mps3.offline", "{time}", "Times that the store stopped answering")
        self._offline_duration = histogram("mps3.offline.duration", "Time until it answered again")

    def __call__(self, event: Event) -> None:
        """Record an event."""
        match event:
            case RequestMade():
                self._request(event)
            case Retried():
                said = {"mps3.what": event.what, "mps3.operation": event.operation, "mps3.bucket": event.bucket}
                self._retries.add(1, said | _kind(event.error))
                if event.commit is not None:
                    self._end(event.commit, event.error)
            case Polled():
                said = _manifest(event.manifest) | {"mps3.news": event.news}
                self._poll_duration.record(event.seconds, said | _kind(event.error))
            case Merged():
                self._merged.add(len(event.commits), _manifest(event.manifest))
            case WriteMade():
                self._writes[event.write] = _Write(_current(), event.keys)
                self._by_key.update(dict.fromkeys(event.keys, event.write))
                self._write_pending.add(1, _manifest(event.manifest))
            case WriteFailed():
                self._failed(event)
            case CommitSent():
                self._sent(event)
            case Conflicted():
                self._conflicts.add(1, _manifest(event.manifest))
                self._end(event.commit, Problem("ConflictError", "somebody else committed first"))
            case Acknowledged():
                self._acknowledged(event)
            case WentOffline():
                self._offline.add(1, _kind(event.error))
            case CameOnline() if event.away is not None:
                self._offline_duration.record(event.away)

    def _request(self, event: RequestMade) -> None:
        said: dict[str, Any] = {"mps3.operation": event.operation, "mps3.bucket": event.bucket}
        self._request_duration.record(event.seconds, {**said, "mps3.outcome": event.outcome, **_kind(event.error)})
        if event.sent:
            self._request_sent.add(event.sent, said)
        if event.received:
            self._request_received.add(event.received, said)
        if event.outcome == "unchanged" and not self._polls:
            return
        now = time.time_ns()
        span = self._tracer.start_span(
            event.operation,
            self._context_of(event),
            SpanKind.CLIENT,
            {
                "aws.s3.bucket": event.bucket,
                **({} if event.key is None else {"aws.s3.key": event.key}),
                "mps3.outcome": event.outcome,
                "mps3.bytes_sent": event.sent,
                "mps3.bytes_received": event.received,
                **_kind(event.error),
            },
            start_time=now - round(event.seconds * 1e9),
        )
        _fail(span, event.error)
        span.end(now)

    def _context_of(self, event: RequestMade) -> Context:
        """What was going on when it was made; for the value of a pending write, when that was made."""
        if event.operation == "PutObject" and event.key is not None:
            key = event.key.partition(MINTED)[0]
            number = self._by_key.get(f"s3://{event.bucket}/{key}", self._by_key.get(key))
            if number is not None and number in self._writes:
                return self._writes[number].context
        return _current()

    def _sent(self, event: CommitSent) -> None:
        self._end(event.commit, None)  # a transaction that is sent again after it had arrived
        made = [self._writes[write].context for write in event.writes if write in self._writes]
        spans = [span for span in map(trace.get_current_span, made) if span.get_span_context().is_valid]
        parent = trace.set_span_in_context(spans[0]) if spans else Context()
        span = self._tracer.start_span(
            "commit",
            parent,
            attributes={
                **_manifest(event.manifest),
                "mps3.commit": event.commit,
                "mps3.attempt": event.attempt,
                "mps3.client.writes": len(event.writes),
            },
            links=[Link(other.get_span_context()) for other in spans[1:]],
        )
        # The hook is called in the task that commits, so the requests that follow find the span.
        token = contexts.attach(trace.set_span_in_context(span))
        self._commits[event.commit] = _Commit(span, token)

    def _acknowledged(self, event: Acknowledged) -> None:
        said = _manifest(event.manifest)
        if event.seconds is not None:
            self._commit_duration.record(event.seconds, said)
        self._commit_writes.record(len(event.writes), said)
        for write, waited in zip(event.writes, event.waited, strict=True):
            self._write_duration.record(waited, said)
            self._forget(write)
        self._write_pending.add(-len(event.writes), said)
        self._end(event.commit, None)

    def _failed(self, event: WriteFailed) -> None:
        said = _manifest(event.manifest)
        self._write_failures.add(len(event.writes), said | _kind(event.error))
        self._write_pending.add(-len(event.writes), said)
        for write in event.writes:
            self._forget(write)
        if event.commit is not None:
            self._end(event.commit, event.error)

    def _forget(self, write: int) -> None:
        made = self._writes.pop(write, None)
        for key in made.keys if made is not None else ():
            if self._by_key.get(key) == write:
                del self._by_key[key]

    def _end(self, name: str, error: Problem | None) -> None:
        commit = self._commits.pop(name, None)
        if commit is None:
            return
        # Where transactions wait for their verdict, the next commit may have begun.
        if trace.get_current_span() is commit.span:
            contexts.detach(commit.token)
        if error is not None:
            commit.span.set_attributes(_kind(error))
        _fail(commit.span, error)
        commit.span.end()


def _current() -> Context:
    """What is going on. A span that has ended is left behind: the one in which a client was opened, mostly."""
    span = trace.get_current_span()
    ended = not isinstance(span, NonRecordingSpan) and not span.is_recording() and span.get_span_context().is_valid
    return Context() if ended else contexts.get_current()


def _manifest(manifest: Ref) -> dict[str, Any]:
    return {"mps3.manifest": str(manifest)}


def _kind(error: Problem | None) -> dict[str, Any]:
    return {} if error is None else {"error.type": error.kind}


def _fail(span: Span, error: Problem | None) -> None:
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error.message))
