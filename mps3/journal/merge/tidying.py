"""Leaving few runs when nobody commits any more, so that a key is looked up in few (R29).

What was committed last is settled, and its runs are merged with others, by commits that come after it. When none does,
the client that made the last one makes commits that say nothing: one or two for settling, then, when the runs have been
merged in the background, one that names the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ...format.state import View
from ...support.environment import Environment
from .. import levels
from ..compactor import Compactor

QUIET: Final = 5.0
"""Seconds without another commit after which one is made, at the least..."""
COARSE: Final = 2.0
"""...and how much longer than a window it is: by what time stamps are coarse, so that one settles what came before."""
STEPS: Final = 5
"""Such commits, and merges begun for them, after a commit that says something: store and client may fail each time."""


class Tidying:
    """When a commit that says nothing leaves fewer runs.

    Args:
        compactor: Merges runs in the background.
        environment: The clock.
        session: Whose commits say nothing.
    """

    def __init__(self, compactor: Compactor, environment: Environment, session: str) -> None:
        self._compactor = compactor
        self._environment = environment
        self._session = session
        self._head: str | None = None
        self._at = math.inf
        self._left = 0

    def committed(self, view: View, update: Mapping[str, Any], *, last: bool) -> None:
        """Note that a commit of this client was acknowledged.

        Args:
            view: The state with it.
            update: What it says.
            last: Whether it is the last one: else the client that made that goes on, and not each of many.
        """
        if not _is_empty(update):
            self._left = STEPS
        self._head = view.head if last else None
        self._plan(view, wanted=self._left > 0 and _is_untidy(view))

    def due_at(self, view: View) -> float:
        """Return when to call `step`, by this client's clock; infinite if somebody else has gone on."""
        if (document := view.document) is None:
            return math.inf
        # The answer to a commit that says nothing may have been lost, and then nobody acknowledges it.
        goes_on = document.session == self._session and _is_empty(document.update)
        return self._at if goes_on or view.head == self._head else math.inf

    def step(self, view: View) -> bool:
        """Do what is next for leaving fewer runs in ``view``; return whether that is a commit that says nothing."""
        commits = begun = False
        if self._left > 0:
            settles = any(commit.runs for commit in view.commits)
            begun = not settles and self._compactor.consolidate(view)
            commits = settles or (not self._compactor.is_busy and self._compactor.has_results)
            self._left -= commits or begun
        self._plan(view, wanted=commits or self._compactor.is_busy)
        return commits

    def _plan(self, view: View, *, wanted: bool) -> None:
        window = 0.0 if view.document is None else view.document.window
        self._at = self._environment.monotonic() + max(QUIET, window + COARSE) if wanted else math.inf


def _is_empty(update: Mapping[str, Any]) -> bool:
    return not any(update.values())


def _is_untidy(view: View) -> bool:
    document = view.document
    if document is None:
        return False
    return bool(levels.to_consolidate((*document.runs, *(run for commit in view.commits for run in commit.runs))))
