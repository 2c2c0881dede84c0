"""The state that the parts of one manifest share: its journal, and what of it is shown."""

from __future__ import annotations

import asyncio

from ..errors import MPS3Error, UnavailableError
from ..format.state import EMPTY, View
from ..journal.protocol import Journal
from ..types import Ref
from .listeners import Listeners


class ManifestState:
    """The state of one manifest, as far as this client knows it.

    Args:
        ref: The manifest, bucket included.
        listeners: Who wants to hear of changes.
        publishes_kept: Whether a state is shown only once it is kept in the cache.

    Attributes:
        journal: Orders the commits; ``None`` until the manifest is open.
        verified: Whether the store has been read since the client has opened.
        shown: The state that was published last.
        awake: Set when the loop of the manifest has something to do.
        ended: Why the manifest has stopped; ``None`` if it has not.
    """

    def __init__(self, ref: Ref, listeners: Listeners, *, publishes_kept: bool) -> None:
        self.ref = ref
        self.listeners = listeners
        self.journal: Journal | None = None
        self.verified = False
        self.shown: View | None = None
        self.awake = asyncio.Event()
        self.ended: MPS3Error | None = None
        self._publishes_kept = publishes_kept

    @property
    def view(self) -> View:
        """The newest state that may be shown."""
        if self.journal is None:
            return EMPTY
        return self.shown or EMPTY if self._publishes_kept else self.journal.view

    @property
    def last_collection(self) -> str | None:
        """The last collection that is known."""
        document = self.view.document
        return None if document is None else document.collected

    def require_journal(self) -> Journal:
        """Return the journal.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        if self.journal is None:
            raise UnavailableError(f"the manifest {self.ref} could not be reached yet", key=self.ref.key)
        return self.journal

    def wake(self) -> None:
        """Wake the loop of the manifest: it has something to do."""
        self.awake.set()
