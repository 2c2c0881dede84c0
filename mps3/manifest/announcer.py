"""What a collection leaves alone of one manifest, and the commit that announces it (R17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..journal.protocol import Retained
from .context import ManifestContext
from .pending import Pending
from .session import Session
from .state import ManifestState


class CollectionAnnouncer:
    """Announces collections of one manifest.

    Args:
        state: The state of the manifest.
        volatile: The session of writes that nothing keeps.
        refresh: Reads the manifest.
        add: Commits a write.
        context: The context of all manifests of a client.
    """

    def __init__(
        self,
        state: ManifestState,
        volatile: Session,
        refresh: Callable[[], Awaitable[None]],
        add: Callable[[Pending], None],
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._volatile = volatile
        self._refresh = refresh
        self._add = add
        self._environment = context.environment

    @property
    def is_needed(self) -> bool:
        """Whether a commit has to say so before anything is deleted that it may name (R17)."""
        return self._state.journal is None or self._state.journal.kind != "merge"

    async def retained(self, seconds: float, *, announce: bool) -> Retained | None:
        """Return what a collection must not delete.

        Args:
            seconds: How far back all states are kept.
            announce: Whether it may be deleted after. Then, where that is what makes it safe, a commit says
                so before (R17).

        Returns:
            ``None`` if there is no manifest.

        Raises:
            MPS3Error: It cannot be read, or not be written.
        """
        await self._refresh()
        journal = self._state.journal
        if journal is None or journal.view.head is None:
            return None
        announced = announce and self.is_needed
        if announced:
            pending = Pending({}, {}, {}, self._environment.now(), self._volatile, announces_collection=True)
            self._add(pending)
            await asyncio.shield(pending.outcome)
        return await journal.retained(seconds, announced=announced)
