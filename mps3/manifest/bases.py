"""The versions that a write may replace, which are noted when it is made."""

from __future__ import annotations

import logging
from typing import Final

from ..errors import MPS3Error
from ..format.file_entry import version_of
from ..format.run import NotAtHandError
from ..format.state import View
from ..journal.at_hand import look_up_in
from .pending import Pending
from .state import ManifestState
from .tasks import BackgroundTasks

UNKNOWN: Final = ""
"""A version that no key has: it is not known which one a write may replace, so it counts as another."""

_log = logging.getLogger("mps3")


class BaseVersions:
    """Notes the versions that writes to one manifest may replace.

    Args:
        state: The state of the manifest.
        tasks: Where it works.
    """

    def __init__(self, state: ManifestState, tasks: BackgroundTasks) -> None:
        self._state = state
        self._tasks = tasks

    def note(self, pending: Pending) -> None:
        """Note what a write may replace. What is not at hand is looked up beside it, and unknown until then."""
        view = self._state.view
        unknown: list[str] = []
        for name in pending.changes:
            try:
                pending.base_versions[name] = version_of(view.look_up(name))
            except NotAtHandError:
                pending.base_versions[name] = UNKNOWN
                unknown.append(name)
        if unknown and self._tasks.active:
            self._tasks.start(self._find(pending, view, unknown), "base versions")

    async def _find(self, pending: Pending, view: View, names: list[str]) -> None:
        try:
            found = await look_up_in(view, names)
        except MPS3Error as error:
            _log.debug("it stays unknown what a write replaces: %s", error)
            return
        pending.base_versions.update(
            (name, version_of(file)) for name, file in found.items() if pending.base_versions[name] == UNKNOWN
        )
        if not pending.outcome.done():
            pending.keep_rebased()
