"""Machines that sleep: their monotonic clocks stand still meanwhile, the clock of the store does not."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from helpers import BUCKET, MANIFEST, NoBackoff, StoreWithClock, soon

from mps3 import MPS3
from mps3.storage.wrapper import StorageWrapper
from mps3.support.environment import Environment


class Answering(StorageWrapper):
    """A store that tells its time with each answer only, as one on S3."""

    told: float | None = None

    async def _ask(self, operation: str, bucket: str, key: str | None, request: Any, *, sent: int = 0) -> Any:
        try:
            return await super()._ask(operation, bucket, key, request, sent=sent)
        finally:
            self.told = super().clock()

    def clock(self) -> float | None:
        return self.told


class Sleepy(NoBackoff):
    """An environment that knows how long the machine has slept."""

    asleep = 0.0

    def slept(self) -> float:
        return self.asleep


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return StoreWithClock(versioning=request.param == "merge")


@pytest.fixture
def environment():
    return Sleepy()


def client(storage, environment):
    # It polls so seldom that nothing tells it the time.
    return MPS3(BUCKET, MANIFEST, storage=Answering(storage), environment=environment, poll_interval=1000)


def sleep(storage, environment, seconds):
    storage.later(seconds)
    environment.asleep += seconds


def left(storage, file):
    """How many seconds a key has, by the store's clock."""
    return (file.expires - datetime.fromtimestamp(storage.clock(), timezone.utc)).total_seconds()


async def test_the_time_of_an_inline_value_counts_from_when_the_machine_is_awake(storage, environment):
    async with client(storage, environment) as ann:
        await ann.put("a", 1, expires_in=30)
        sleep(storage, environment, 1000)
        await soon(ann.put("a", 2, expires_in=30))
        assert await ann.get("a") == 2
        (file,) = await (await ann.snapshot()).files()
        assert 29 < left(storage, file) <= 30.1
        before = len(storage.calls)
        await ann.put("a", 3, expires_in=30)
        assert "get" not in [operation for operation, _ in storage.calls[before:]]  # it knows the time again


def test_what_a_machine_has_slept():
    environment = Environment()
    first = environment.slept()
    assert first >= -0.01 and environment.slept() - first < 0.1
