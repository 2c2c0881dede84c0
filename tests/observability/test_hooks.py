"""Hooks: what they may do, what is refused, and that without them no event is made."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import typing

import pytest
from helpers import Unreliable, memory_client

from mps3 import MPS3, Statistics
from mps3.observability import events
from mps3.observability.events import (
    Acknowledged,
    Event,
)


async def test_a_hook_that_raises_breaks_nothing_and_is_logged_once(storage, seen, caplog):
    def broken(event):
        raise ValueError("no")

    def cancelled(event):
        raise asyncio.CancelledError

    async with memory_client(storage, hooks=[broken, seen, cancelled]) as one:
        for number in range(5):
            await one.put("k", number)
        assert await one.get("k") == 4
    assert len(seen.of(Acknowledged)) == 5
    logged = [record.getMessage() for record in caplog.records if "hook" in record.getMessage()]
    assert len(logged) == 2
    assert "broken" in logged[0] and "cancelled" in logged[1]


async def notes(event):
    pass


@pytest.mark.parametrize("hook", [None, 1, notes])
def test_what_cannot_be_a_hook_is_refused(hook):
    with pytest.raises(TypeError, match="hook"):
        MPS3("b", storage=Unreliable(), hooks=[hook])


async def test_without_hooks_no_event_is_made(storage, monkeypatch):
    """Nor is the clock read for one."""
    for kind in typing.get_args(Event):
        monkeypatch.setattr(f"mps3.observability.events.{kind.__name__}", None)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        one.put("l", 1).withdraw()
        one.go_offline()
        one.go_online()
        assert await one.get("k") == 1
        assert one._observer._pending_writes == one._observer._sent_commits == {}


async def test_nothing_is_left_of_what_is_done(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        for number in range(5):
            await one.put("k", number)
        one.put("l", 1).withdraw()
        await asyncio.sleep(0)
        assert one._observer._pending_writes == one._observer._sent_commits == {}


def test_events_are_frozen_and_documented():
    kinds = typing.get_args(Event)
    assert set(kinds) == {
        value
        for value in vars(events).values()
        if dataclasses.is_dataclass(value) and value.__module__ == events.__name__ and value is not events.Problem
    }
    for kind in (*kinds, events.Problem, Statistics):
        assert kind.__dataclass_params__.frozen and "__slots__" in vars(kind)
        for field in dataclasses.fields(kind):
            assert f"\n    {field.name}: " in inspect.getdoc(kind), (kind, field.name)


async def test_statistics_are_a_snapshot(storage):
    async with memory_client(storage) as one:
        before = one.statistics()
        requests = dict(before.requests)
        await one.put("k", 1)
        assert before.requests == requests
        assert one.statistics().commits == before.commits + 1
    assert logging.getLogger("mps3.events").handlers == []
