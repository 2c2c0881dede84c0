"""Wake-ups by the notifications of a bucket: moto sends them to queues, directly and through SNS."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.session import get_session
from helpers import eventually, no_task_left, soon

from mps3 import MPS3, ConfigurationError, Ref
from mps3.format.slot import checkpoint_key, slot_key
from mps3.wake import sqs
from mps3.wake.bucket_event import UNKNOWN, hints_of
from mps3.wake.hint import Hint, topic_of

MANIFEST = "manifest.json"


class Aws:
    """A bucket, and a queue for each client."""

    def __init__(self, url: str) -> None:
        self.config = {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }
        session = get_session()
        self.s3, self.sqs, self.sns = (session.create_client(name, **self.config) for name in ("s3", "sqs", "sns"))
        self.name = f"mps3-{secrets.token_hex(8)}"
        self.s3.create_bucket(Bucket=self.name)

    def queue(self) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=f"mps3-{secrets.token_hex(8)}")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return url, arn

    def notify(self, kind: str, arn: str) -> None:
        rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": MANIFEST}]}}
        configuration = {f"{kind}Arn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={f"{kind}Configurations": [configuration]}
        )

    def client(self, queue: str | None, **options: Any) -> MPS3:
        wake = sqs(queue, sqs_config=self.config, wait=1) if queue else None
        return MPS3(self.name, s3_config=self.config, poll_interval=3600, wake=wake, **options)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow

    # Not that of other tests: it answers one request after another, and one to a queue waits.
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"


@pytest.fixture
def aws(url: str) -> Aws:
    return Aws(url)


def works(client: MPS3) -> bool:
    return client._waker._works_since is not None  # type: ignore[union-attr]


async def test_a_commit_is_heard_though_its_writer_takes_no_part(aws):
    queue, arn = aws.queue()
    aws.notify("Queue", arn)
    async with no_task_left(), aws.client(None) as writer, aws.client(queue) as reader, reader.subscribe("k") as values:
        await eventually(lambda: works(reader))
        assert await soon(anext(values)) is None
        for number in range(5):
            await writer.put("k", number)
            assert await soon(anext(values)) == number
        assert reader.statistics().useful_wake_ups >= 1


async def test_a_queue_for_each_client_behind_a_topic(aws):
    topic = aws.sns.create_topic(Name=f"mps3-{secrets.token_hex(8)}")["TopicArn"]
    aws.notify("Topic", topic)
    queues = []
    for _ in range(2):
        queue, arn = aws.queue()
        aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        queues.append(queue)
    async with aws.client(queues[0]) as one, aws.client(queues[1]) as two:
        await eventually(lambda: works(one) and works(two))
        async with one.subscribe("k") as values, two.subscribe("k") as others:
            assert await soon(anext(values)) is await soon(anext(others)) is None
            await one.put("k", 1)
            assert await soon(anext(others)) == 1
            await two.put("k", 2)
            while await soon(anext(values)) != 2:
                pass


async def test_messages_of_others_do_no_harm(aws):
    queue, arn = aws.queue()
    aws.notify("Queue", arn)
    async with aws.client(None) as writer, aws.client(queue) as reader, reader.subscribe("k") as values:
        await eventually(lambda: works(reader))
        assert await soon(anext(values)) is None
        for number, message in enumerate(NOISE):
            aws.sqs.send_message(QueueUrl=queue, MessageBody=message)
            if number % 8 == 0:
                await writer.put("k", number)
                assert await soon(anext(values)) == number
        await eventually(lambda: not left(aws, queue))


def left(aws: Aws, queue: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return any(int(count) for count in found.values())


async def test_a_queue_that_is_removed_and_made_again(aws):
    queue, arn = aws.queue()
    aws.notify("Queue", arn)
    async with aws.client(queue) as client:
        await eventually(lambda: works(client))
        aws.sqs.delete_queue(QueueUrl=queue)
        await eventually(lambda: not works(client))
        assert await client.put("k", 1)
        aws.sqs.create_queue(QueueName=queue.rpartition("/")[2])
        await eventually(lambda: works(client))


def event(key: str, name: str = "ObjectCreated:Put", **more: Any) -> dict[str, Any]:
    return {"eventName": name, "s3": {"bucket": {"name": "b"}, "object": {"key": key, **more}}}


def said(*records: Any) -> str:
    return json.dumps({"Records": records})


HERE = topic_of(Ref(MANIFEST, "b"))
BRIDGE = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"bucket": {"name": "b"}, "object": {"key": slot_key(MANIFEST, 7)}},
}
NOISE = [
    "x",
    "null",
    "7",
    "[]",
    "{}",
    '"Records"',
    "[" * 10_000,
    said(),
    said(None),
    said({}),
    said(7, "x", []),
    said({"eventName": 7}),
    said(event("k", "ObjectRemoved:Delete")),
    said({"eventName": "ObjectCreated:Put", "s3": None}),
    said({"eventName": "ObjectCreated:Put", "s3": {"bucket": {}, "object": {"key": "k"}}}),
    said({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": None}}}),
    said(event("%FF%FE")),
    json.dumps({"Type": "Notification"}),
    json.dumps({"Type": "Notification", "Message": 7}),
    json.dumps({"Type": "Notification", "Message": "x"}),
    json.dumps({"source": "aws.s3"}),
    json.dumps({**BRIDGE, "detail": {}}),
    json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}),
    said(event(checkpoint_key(MANIFEST, 7))),
]


@pytest.mark.parametrize("message", NOISE)
def test_what_is_no_notification_says_nothing(message):
    assert hints_of(message) == []


@pytest.mark.parametrize(
    ("message", "hints"),
    [
        (said(event(slot_key(MANIFEST, 7))), [Hint(HERE, "7")]),
        (said(event(slot_key(MANIFEST, 7)), event(slot_key(MANIFEST, 8))), [Hint(HERE, "7"), Hint(HERE, "8")]),
        (json.dumps({"Type": "Notification", "Message": said(event(slot_key(MANIFEST, 7)))}), [Hint(HERE, "7")]),
        (json.dumps(BRIDGE), [Hint(HERE, "7")]),
        (said(event(MANIFEST, versionId="v")), [Hint(HERE, "v")]),
        (said(event(MANIFEST)), [Hint(HERE, UNKNOWN)]),
        (said(event("a+b%2Bc/%C3%A9.log/x", versionId="v")), [Hint(topic_of(Ref("a b+c/é.log/x", "b")), "v")]),
        (said(event(slot_key("a.log/b", 3))), [Hint(topic_of(Ref("a.log/b", "b")), "3")]),
    ],
)
def test_notifications(message, hints):
    assert hints_of(message) == hints


async def test_what_makes_no_sense():
    with pytest.raises(ConfigurationError, match="the URL of a queue"):
        sqs("my-queue")
    with pytest.raises(ValueError, match="from 1 to 20"):
        sqs("https://sqs.eu-west-1.amazonaws.com/1/q", wait=21)
    assert "eu-west-1" in repr(sqs("https://sqs.eu-west-1.amazonaws.com/1/q"))


async def test_the_region_is_in_the_url(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    from mps3.storage.s3.queue import open_queue  # noqa: PLC0415 - slow

    async with open_queue("https://sqs.eu-west-3.amazonaws.com/1/q", {}, longest=1) as queue:
        assert queue._client.meta.region_name == "eu-west-3"
    await asyncio.sleep(0)
