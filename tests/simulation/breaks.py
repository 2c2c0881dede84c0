"""The client broken on purpose, one rule at a time: the simulation must notice each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from mps3.journal import merge
from mps3.journal.merge import MergeJournal

from .faults import Faults


@dataclass(frozen=True)
class Break:
    """One way to break the client.

    Attributes:
        damage: Breaks it while the context lasts.
        options: What the histories are to be like, beyond what is drawn.
        versioning: Whether the bucket has versions.
    """

    damage: Callable[[], AbstractContextManager[Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    versioning: bool = True


@contextmanager
def _without_r4() -> Iterator[None]:
    with patch.object(merge, "once", lambda entries, sessions: list(entries)):
        yield


@contextmanager
def _without_r5() -> Iterator[None]:
    with patch.object(merge, "causal_order", lambda entries: list(entries)):
        yield


@contextmanager
def _without_r6() -> Iterator[None]:
    with patch.object(MergeJournal, "_audit_due", lambda self: False):
        yield


@contextmanager
def _without_r7s_bound() -> Iterator[None]:
    """Settle whatever is in the log, but what ``previous`` needs."""
    original = merge.settle
    compose = MergeJournal._compose

    async def eager(self: MergeJournal, attempt: Any) -> Any:
        document = await compose(self, attempt)
        if len(document.log) < 2:
            return document
        files, sessions, runs = await original(document, document.log[:-1], self._view.runs, self._runs)
        return replace(document, log=document.log[-1:], files=files, sessions=sessions, runs=runs)

    with patch.object(MergeJournal, "_compose", eager):
        yield


@contextmanager
def _without_r8s_doubt() -> Iterator[None]:
    with (
        patch.object(MergeJournal, "_too_slow", lambda self, seconds: False),
        patch.object(MergeJournal, "_in_time", lambda self, attempt: True),
    ):
        yield


@contextmanager
def _window_too_short() -> Iterator[None]:
    with patch.object(MergeJournal.__init__, "__kwdefaults__", {"window": 0.3}):
        yield


@contextmanager
def _lists_only_the_head() -> Iterator[None]:
    """R3 without siblings: the newest writer wins, and who wrote meanwhile is forgotten."""
    with patch.object(MergeJournal, "_bound", lambda self, document, version=None: math.inf):
        yield


# Settling too early does not lose a commit, it moves one: that takes many writers, and clocks far apart, to show.
_CONTENDED = {
    "clients": 5,
    "operations": 12,
    "keys": 4,
    "pause": 1.0,
    "page": 1000,
    "stall": 0.0,
    "kill": 0.0,
    "offline": 0.0,
    "faults": Faults(late=0.1, lateness=0.9, slow=0.2, slowness=1.4, skew=1.4),
}

BREAKS: dict[str, Break] = {
    "R3 no siblings": Break(_lists_only_the_head),
    "R4 once": Break(_without_r4),
    "R5 order": Break(_without_r5),
    "R6 audit": Break(_without_r6),
    "R7 bound": Break(_without_r7s_bound, _CONTENDED),
    "R8 doubt": Break(_without_r8s_doubt),
    "window too short": Break(_window_too_short),
}
