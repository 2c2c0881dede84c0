"""What the tests of events share."""

from __future__ import annotations

import typing

import pytest
from helpers import Unreliable

from mps3.observability.events import Event


class Events(list):
    """A hook that keeps what it receives."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type) -> list[typing.Any]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def seen():
    return Events()


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)
