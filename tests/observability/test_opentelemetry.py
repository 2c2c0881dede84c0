"""The bundled hook for OpenTelemetry: traces and metrics; nothing secret is in them, nor in the log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import subprocess
import sys

import pytest
from commits import is_commit
from helpers import BUCKET, COMMIT, MANIFEST, Unreliable, eventually, memory_client, soon
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from proxy import FaultyProxy
from servers import MOTO

from mps3 import MPS3, AccessError, MPS3Error, UnavailableError
from mps3.observability.events import (
    Event,
)
from mps3.observability.logging import LoggingHook
from mps3.observability.opentelemetry import OpenTelemetryHook

PLACE = f"s3://{BUCKET}/{MANIFEST}"


@pytest.fixture
def storage():
    return Unreliable()


# OpenTelemetry --------------------------------------------------------------------------------------------------------


class Telemetry:
    """A hook, and what came of it."""

    def __init__(self, **options):
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.hook = OpenTelemetryHook(
            tracer_provider=self.tracers, meter_provider=MeterProvider([self.reader]), **options
        )

    def spans(self, name=None):
        return [span for span in self.exporter.get_finished_spans() if name in (None, span.name)]

    def points(self, name):
        """Of a metric: attributes and number, or sum and count."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for metric in resource.scope_metrics[0].metrics:
                for point in metric.data.data_points if metric.name == name else ():
                    value = (point.sum, point.count) if hasattr(point, "count") else point.value
                    found[tuple(sorted(point.attributes.items()))] = value
        return found

    def total(self, name, **attributes):
        values = [
            value[1] if isinstance(value, tuple) else value
            for said, value in self.points(name).items()
            if all(dict(said).get(key.replace("_", ".")) == wanted for key, wanted in attributes.items())
        ]
        return sum(values)


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_write_is_in_the_trace_of_who_made_it(telemetry, versioning):
    storage = Unreliable(versioning=versioning)
    tracer = telemetry.tracers.get_tracer("test")
    async with memory_client(storage, hooks=[telemetry.hook], inline=0) as one:
        await one.put("before", 0)
        telemetry.exporter.clear()
        with tracer.start_as_current_span("handler"):
            commit = await one.put("k", 1)
        await asyncio.sleep(0)
    (handler,), (done,) = telemetry.spans("handler"), telemetry.spans("commit")
    assert done.parent.span_id == handler.context.span_id
    assert done.attributes == {
        "mps3.manifest": PLACE,
        "mps3.commit": commit.id,
        "mps3.attempt": 1,
        "mps3.client.writes": 1,
    }
    puts = {span.attributes["aws.s3.key"].partition("@")[0]: span for span in telemetry.spans("PutObject")}
    assert puts["k"].parent.span_id == handler.context.span_id
    (key,) = [key for key in puts if is_commit(key)]
    assert puts[key].parent.span_id == done.context.span_id
    assert puts[key].kind is SpanKind.CLIENT
    assert puts[key].attributes["mps3.outcome"] == "ok"
    assert done.start_time <= puts[key].start_time <= puts[key].end_time <= done.end_time


async def test_a_read_is_in_the_trace_of_who_reads(telemetry, storage):
    async with memory_client(storage, inline=0) as other:
        await other.put("k", 1)
    tracer = telemetry.tracers.get_tracer("test")
    with tracer.start_as_current_span("opening") as opening:
        one = await memory_client(storage, hooks=[telemetry.hook], inline=0).__aenter__()
    with tracer.start_as_current_span("handler") as handler:
        await one.get("k")
    await one.put("l", 1)
    await one.aclose()
    (read,) = [span for span in telemetry.spans("GetObject") if span.attributes["aws.s3.key"] == "k"]
    assert read.parent.span_id == handler.get_span_context().span_id
    assert any(span.parent and span.parent.span_id == opening.get_span_context().span_id for span in telemetry.spans())
    (done,) = telemetry.spans("commit")
    assert done.parent is None  # whoever opened the client has ended long since


async def test_several_writes_in_one_commit_are_linked(telemetry, storage):
    tracer = telemetry.tracers.get_tracer("test")
    async with memory_client(storage, hooks=[telemetry.hook]) as one:
        made = []
        for number in range(3):
            with tracer.start_as_current_span("handler") as span:
                made.append((one.put(f"k{number}", number), span.get_span_context()))
        await asyncio.gather(*(write for write, _ in made))
    (done,) = telemetry.spans("commit")
    assert done.parent.span_id == made[0][1].span_id
    assert [link.context.span_id for link in done.links] == [context.span_id for _, context in made[1:]]


async def test_commits_that_fail(telemetry, storage):
    async with memory_client(storage, hooks=[telemetry.hook]) as one:
        await one.put("k", 0)
        failures = iter([UnavailableError("lost"), None, AccessError("not allowed")])
        storage.fail = lambda asked, name: next(failures) if asked == "put" and storage.is_meant(COMMIT, name) else None
        await soon(one.put("k", 1))
        with pytest.raises(AccessError):
            await soon(one.put("k", 2))
        storage.up()
    states = [(span.status.status_code, span.attributes.get("error.type")) for span in telemetry.spans("commit")]
    assert states == [
        (StatusCode.UNSET, None),
        (StatusCode.ERROR, "UnavailableError"),
        (StatusCode.UNSET, None),
        (StatusCode.ERROR, "AccessError"),
    ]
    assert telemetry.spans("commit")[1].status.description == "lost"
    failed = [span for span in telemetry.spans("PutObject") if span.status.status_code is StatusCode.ERROR]
    assert [span.attributes["mps3.outcome"] for span in failed] == ["error", "error"]
    assert telemetry.total("mps3.write.pending") == 0
    assert telemetry.total("mps3.write.failures", error_type="AccessError") == 1
    assert telemetry.hook._writes == telemetry.hook._by_key == telemetry.hook._commits == {}


async def test_closing_in_the_middle_of_a_commit_ends_its_span(telemetry, storage):
    one = await memory_client(storage, hooks=[telemetry.hook]).__aenter__()
    await one.put("k", 0)
    storage.hold("put", COMMIT)
    one.put("k", 1)
    await eventually(lambda: storage.count("put", COMMIT) == 2)
    closing = asyncio.create_task(one.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await asyncio.sleep(0)
    assert telemetry.spans("commit")[-1].attributes["error.type"] == "ClosedError"
    assert telemetry.hook._commits == {}


def idle(telemetry):
    """The spans of polls that found nothing new."""
    return [span for span in telemetry.spans() if span.attributes.get("mps3.outcome") == "unchanged"]


async def test_polls_are_spans_only_if_asked_for(storage):
    quiet, all_of_it = Telemetry(), Telemetry(polls=True)
    async with memory_client(storage, hooks=[quiet.hook, all_of_it.hook]) as one:
        await one.put("k", 1)
        await eventually(lambda: len(idle(all_of_it)) > 2)
    assert not idle(quiet)
    assert {span.parent for span in idle(all_of_it)} == {None}


async def test_an_unsampled_trace_stays_unsampled(storage):
    telemetry = Telemetry()
    sampling = TracerProvider(sampler=ParentBased(ALWAYS_ON))
    sampling.add_span_processor(SimpleSpanProcessor(telemetry.exporter))
    hook = OpenTelemetryHook(tracer_provider=sampling)
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    async with memory_client(storage, hooks=[hook]) as one:
        await one.put("k", 0)
        telemetry.exporter.clear()
        with unsampled.start_as_current_span("handler"):
            await one.put("k", 1)
        assert telemetry.spans() == []


async def test_metrics(telemetry, storage):
    async with memory_client(storage, hooks=[telemetry.hook]) as one, memory_client(storage) as other:
        await one.put_all({"a": "x" * 98, "b": 1})
        write = one.put("a", 1)
        assert telemetry.total("mps3.write.pending") == 1
        await write
        await other.put("c", "y" * 48)
        assert await one.get("c") == "y" * 48
        storage.down()
        await eventually(lambda: not one.status().online)
        storage.up()
        await eventually(lambda: one.status().online)
        counted = one.statistics()
        assert telemetry.total("mps3.request.duration") == sum(counted.requests.values())
        assert telemetry.total("mps3.request.duration", mps3_outcome="error") == counted.failed_requests
        assert telemetry.total("mps3.request.sent") == counted.bytes_sent
        assert telemetry.total("mps3.request.received") == counted.bytes_received
        assert telemetry.total("mps3.poll.duration") == counted.polls
        assert telemetry.total("mps3.poll.duration", mps3_news=True) >= 1
        assert telemetry.total("mps3.merged") == counted.merged == 1
        assert telemetry.total("mps3.heard.duration") == sum(counted.heard_within.values()) == 1
        assert telemetry.total("mps3.poll.duration", mps3_woken=True) == counted.wake_ups
        assert telemetry.total("mps3.commit.duration", mps3_manifest=PLACE) == counted.commits == 2
        assert telemetry.points("mps3.commit.writes")[(("mps3.manifest", PLACE),)] == (2, 2)
        assert telemetry.total("mps3.write.duration") == counted.writes == 2
        assert telemetry.total("mps3.write.pending") == 0
        assert telemetry.total("mps3.offline", error_type="UnavailableError") == counted.times_offline == 1
        assert telemetry.total("mps3.offline.duration") == 1
    said = {key for name in DOCUMENTED for point in telemetry.points(name) for key, _ in point}
    assert "aws.s3.key" not in said and not any("key" in key for key in said)  # there is no end of keys


DOCUMENTED = {
    "mps3.request.duration",
    "mps3.request.sent",
    "mps3.request.received",
    "mps3.retries",
    "mps3.poll.duration",
    "mps3.merged",
    "mps3.heard.duration",
    "mps3.write.duration",
    "mps3.write.pending",
    "mps3.write.failures",
    "mps3.commit.duration",
    "mps3.commit.writes",
    "mps3.commit.conflicts",
    "mps3.offline",
    "mps3.offline.duration",
}


def test_without_the_package_it_says_what_to_install():
    code = "import sys; sys.modules['opentelemetry'] = None; import mps3.observability.opentelemetry"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: traces and metrics need OpenTelemetry: pip install 'mps3[opentelemetry]'" in ended.stderr


def test_the_client_does_not_need_it():
    code = "import sys, mps3, mps3.observability.logging, mps3.testing; assert 'opentelemetry' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Secrets --------------------------------------------------------------------------------------------------------------


def everything(event) -> str:
    return json.dumps(dataclasses.asdict(event))


@pytest.mark.server
async def test_nothing_secret_is_told(bucket, s3_config, server, caplog, telemetry, tmp_path):
    """Not even where everything goes wrong: wrong keys, expired tokens, broken connections, refused writes."""
    caplog.set_level(logging.DEBUG, "mps3")
    secrets = ["S3CR3TVALUE", "S3CR3TKEY", "S3CR3TTOKEN", "Signature=", "X-Amz-", "AWS4-HMAC", "S3CR3TDAMAGED"]
    told: list[str] = []

    def tell(event: Event) -> None:
        told.append(everything(event))

    hooks = [tell, LoggingHook(), telemetry.hook]
    async with FaultyProxy(server.url) as proxy:
        config = s3_config | {"endpoint_url": proxy.url}
        if MOTO:  # whoever checks signatures wants the right key
            config |= {"aws_secret_access_key": "S3CR3TKEY", "aws_session_token": "S3CR3TTOKEN"}
        async with MPS3(bucket, s3_config=config, poll_interval=0.05, hooks=hooks, offline=tmp_path) as one:
            await one.put("k", "S3CR3TVALUE")
            for fault in ("slow_down", "internal_error", "reset_after", "truncate", "error_inside"):
                proxy.inject(fault, method="PUT")
                await soon(one.put("k", ["S3CR3TVALUE", fault]))
                proxy.inject(fault if fault != "error_inside" else "error_inside_read", method="GET")
                await soon(one.get("k"))
            proxy.go_offline()
            write = one.put("k", "S3CR3TVALUE offline")
            await eventually(lambda: not one.status().online)
            one.put("l", {"S3CR3TVALUE": 1}).withdraw()
            proxy.go_online()
            await soon(write)
        wrong = MPS3(bucket, s3_config=config | {"endpoint_url": "http://127.0.0.1:1"}, hooks=hooks)
        with pytest.raises(MPS3Error):
            await wrong.__aenter__()
    assert len(told) > 50 and len(caplog.records) > 50 and len(telemetry.spans()) > 20
    logged = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    traced = [span.to_json() for span in telemetry.spans()]
    measured = telemetry.reader.get_metrics_data().to_json()
    for text in (*told, *logged, *traced, measured):
        assert not [secret for secret in secrets if secret in text], text


async def test_what_a_foreign_storage_says_is_not_passed_on(caplog):
    """Its errors may hold anything, such as the URL of a request with its signature."""
    told: list[str] = []

    class Foreign(Unreliable):
        speaks = False

        async def put(self, *args, **options):
            if self.speaks:
                raise RuntimeError("https://host/k?X-Amz-Signature=S3CR3T")
            return await super().put(*args, **options)

    storage = Foreign()
    async with memory_client(storage, hooks=[lambda event: told.append(everything(event))]) as one:
        storage.speaks = True
        with pytest.raises(MPS3Error):
            await soon(one.put("k", 1))
    assert any("RuntimeError" in text for text in told)
    assert not any("S3CR3T" in text for text in told if "defect" not in text)
