"""The hook for OpenTelemetry traces and metrics. Needs the extra ``mps3[opentelemetry]``."""

from __future__ import annotations

import time
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Final

from ..types import Ref
from . import events

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
VERSION_MARK: Final = "@mps3-"
"""Follows the key of a value in buckets without versioning."""


@dataclass(slots=True)
class _Write:
    """A write that is pending."""

    context: Context
    keys: tuple[str, ...]


@dataclass(slots=True)
class _Commit:
    """A commit that is not decided yet."""

    span: Span
    token: Token[Context]


class OpenTelemetryHook:
    """A hook that records events as traces and metrics. All clients of a process can share it.

    Each request is a span, and each commit is a span that contains its requests. The spans of a commit and of its
    values belong to the trace that was current when the first of its writes was called; the commit has links to the
    traces of the other writes.

    Args:
        tracer_provider: Creates the tracer; the global provider if ``None``.
        meter_provider: Creates the meter; the global provider if ``None``.
        polls: Whether requests with the outcome ``unchanged`` are spans, too: mostly polls, one a second.
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

        self._request_duration = histogram("mps3.request.duration", "Duration of requests, with all attempts")
        self._request_sent = meter.create_counter("mps3.request.sent", "By", "Bytes of objects that were sent")
        self._request_received = meter.create_counter(
            "mps3.request.received", "By", "Bytes of objects that were received"
        )
        self._retries = meter.create_counter("mps3.retries", "{retry}", "Transient failures that were retried")
        self._poll_duration = histogram("mps3.poll.duration", "Duration of polls")
        self._merged = meter.create_counter("mps3.merged", "{commit}", "Commits of other clients that became visible")
        self._heard = histogram("mps3.heard.duration", "Time from a commit of another client until it was visible")
        self._write_duration = histogram("mps3.write.duration", "Time from a write until it was durable")
        self._write_pending = meter.create_up_down_counter("mps3.write.pending", "{write}", "Writes not yet durable")
        self._write_failures = meter.create_counter("mps3.write.failures", "{write}", "Writes that failed")
        self._commit_duration = histogram("mps3.commit.duration", "Time from sending a commit until it was durable")
        self._commit_writes = meter.create_histogram(
            "mps3.commit.writes", "{write}", "Writes in a commit", explicit_bucket_boundaries_advisory=WRITES
        )
        self._conflicts = meter.create_counter(
            "mps3.commit.conflicts", "{conflict}", "Commits that failed because of a conflict"
        )
        self._offline = meter.create_counter("mps3.offline", "{time}", "Times that the client went offline")
        self._offline_duration = histogram("mps3.offline.duration", "Time that the client was offline")

    def __call__(self, event: events.Event) -> None:
        """Record an event."""
        match event:
            case events.RequestMade():
                self._request(event)
            case events.Retried():
                attributes = {"mps3.what": event.what, "mps3.operation": event.operation, "mps3.bucket": event.bucket}
                self._retries.add(1, attributes | _kind(event.error))
                if event.commit is not None:
                    self._end(event.commit, event.error)
            case events.Polled():
                attributes = _manifest(event.manifest) | {"mps3.news": event.news, "mps3.woken": event.woken}
                self._poll_duration.record(event.seconds, attributes | _kind(event.error))
            case events.Merged():
                attributes = _manifest(event.manifest)
                self._merged.add(len(event.commits), attributes)
                for seconds in event.seconds:
                    self._heard.record(seconds, attributes)
            case events.WriteMade():
                self._writes[event.write] = _Write(_current(), event.keys)
                self._by_key.update(dict.fromkeys(event.keys, event.write))
                self._write_pending.add(1, _manifest(event.manifest))
            case events.WriteFailed():
                self._failed(event)
            case events.CommitSent():
                self._sent(event)
            case events.Conflicted():
                self._conflicts.add(1, _manifest(event.manifest))
                self._end(event.commit, events.Problem("ConflictError", "another client committed first"))
            case events.Acknowledged():
                self._acknowledged(event)
            case events.WentOffline():
                self._offline.add(1, _kind(event.error))
            case events.CameOnline() if event.away is not None:
                self._offline_duration.record(event.away)

    def _request(self, event: events.RequestMade) -> None:
        attributes: dict[str, Any] = {"mps3.operation": event.operation, "mps3.bucket": event.bucket}
        self._request_duration.record(
            event.seconds, {**attributes, "mps3.outcome": event.outcome, **_kind(event.error)}
        )
        if event.sent:
            self._request_sent.add(event.sent, attributes)
        if event.received:
            self._request_received.add(event.received, attributes)
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

    def _context_of(self, event: events.RequestMade) -> Context:
        """Return the context of a request: that of the write, for a value of a pending write, else the current one."""
        if event.operation == "PutObject" and event.key is not None:
            key = event.key.partition(VERSION_MARK)[0]
            number = self._by_key.get(f"s3://{event.bucket}/{key}", self._by_key.get(key))
            if number is not None and number in self._writes:
                return self._writes[number].context
        return _current()

    def _sent(self, event: events.CommitSent) -> None:
        self._end(event.commit, None)  # a transaction that is sent again although it had arrived
        origins = [self._writes[write].context for write in event.writes if write in self._writes]
        spans = [span for span in map(trace.get_current_span, origins) if span.get_span_context().is_valid]
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
        # The hook is called in the task that commits, so the span is current for its requests.
        token = contexts.attach(trace.set_span_in_context(span))
        self._commits[event.commit] = _Commit(span, token)

    def _acknowledged(self, event: events.Acknowledged) -> None:
        attributes = _manifest(event.manifest)
        if event.seconds is not None:
            self._commit_duration.record(event.seconds, attributes)
        self._commit_writes.record(len(event.writes), attributes)
        for write, waited in zip(event.writes, event.waited, strict=True):
            self._write_duration.record(waited, attributes)
            self._forget(write)
        self._write_pending.add(-len(event.writes), attributes)
        self._end(event.commit, None)

    def _failed(self, event: events.WriteFailed) -> None:
        attributes = _manifest(event.manifest)
        self._write_failures.add(len(event.writes), attributes | _kind(event.error))
        self._write_pending.add(-len(event.writes), attributes)
        for write in event.writes:
            self._forget(write)
        if event.commit is not None:
            self._end(event.commit, event.error)

    def _forget(self, write: int) -> None:
        forgotten = self._writes.pop(write, None)
        for key in forgotten.keys if forgotten is not None else ():
            if self._by_key.get(key) == write:
                del self._by_key[key]

    def _end(self, name: str, error: events.Problem | None) -> None:
        commit = self._commits.pop(name, None)
        if commit is None:
            return
        # The next commit may have begun while a transaction waited for its outcome.
        if trace.get_current_span() is commit.span:
            contexts.detach(commit.token)
        if error is not None:
            commit.span.set_attributes(_kind(error))
        _fail(commit.span, error)
        commit.span.end()


def _current() -> Context:
    """Return the current context, unless its span has ended, such as that in which the client was opened."""
    span = trace.get_current_span()
    ended = not isinstance(span, NonRecordingSpan) and not span.is_recording() and span.get_span_context().is_valid
    return Context() if ended else contexts.get_current()


def _manifest(manifest: Ref) -> dict[str, Any]:
    return {"mps3.manifest": str(manifest)}


def _kind(error: events.Problem | None) -> dict[str, Any]:
    return {} if error is None else {"error.type": error.kind}


def _fail(span: Span, error: events.Problem | None) -> None:
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error.message))
