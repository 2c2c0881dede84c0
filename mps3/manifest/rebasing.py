"""Storing the values that patches make, so that few of them wait in front of one, and large values are not inline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from ..content.value import PendingValue
from ..errors import MPS3Error
from ..format.file_entry import FileEntry
from ..format.patches import WAITING
from ..format.run import NotAtHandError
from ..format.state import View
from .context import ManifestContext
from .pending import Pending
from .session import Session
from .tasks import BackgroundTasks
from .verdicts import PlacedPatch

WAIT: Final = 16
"""How many patches wait in front of a value before one of those who made them stores it anew."""

_log = logging.getLogger("mps3")


class ValueRebaser:
    """Stores the values of one manifest that patches have made.

    Args:
        session: The session of writes that nothing keeps.
        tasks: Where it works.
        add: Commits a write.
        context: The context of all manifests of a client.
    """

    def __init__(
        self, session: Session, tasks: BackgroundTasks, add: Callable[[Pending], None], context: ManifestContext
    ) -> None:
        self._session = session
        self._tasks = tasks
        self._add = add
        self._context = context

    def consider(self, view: View, patches: Sequence[PlacedPatch]) -> None:
        """Store the values that patches of this client have made, where it is the turn of this client.

        Args:
            view: The newest state.
            patches: The patches, which are committed.
        """
        for patch in patches:
            if patch.after is not None and self._is_due(view, patch.name, patch.after) and self._tasks.active:
                self._tasks.start(self._store(patch, patch.after), "rebase")

    def _is_due(self, view: View, name: str, file: FileEntry) -> bool:
        if waiting := file.get(WAITING):
            return len(waiting) % WAIT == 0
        if "value" not in file or file["size"] <= self._context.contents.inline:
            return False
        try:
            newest = view.look_up(name)
        except NotAtHandError:
            return False  # what was patched lately is at hand
        return newest is not None and newest["version"] == file["version"]

    async def _store(self, patch: PlacedPatch, file: FileEntry) -> None:
        content = patch.content
        try:
            body = await self._context.contents.fetch(content.bucket, content.key, file)
        except MPS3Error as error:
            _log.debug("the value of %r is not stored anew: %s", patch.name, error)
            return
        stored = PendingValue(content.bucket, content.key, body, content.manifests, rebases=file["version"])
        place = (content.bucket, content.key)
        write = Pending(
            {patch.name: stored},
            {patch.name: patch.name},
            {patch.name: place},
            self._context.environment.now(),
            self._session,
            fleeting=True,
        )
        try:
            self._add(write)
        except MPS3Error as error:
            _log.debug("the value of %r is not stored anew: %s", patch.name, error)
