"""A workspace: the reads and writes of one transaction before it is committed."""

from __future__ import annotations

from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import CorruptionError, MPS3Error, UnavailableError
from ..format.file_entry import FileEntry
from ..format.state import View
from ..format.values import load
from ..types import DELETE, JSON, Delete


class Workspace:
    """The reads and writes of one transaction, made from one state.

    Args:
        view: The state.
        contents: Fetches values.
        below: The reads and writes of other transactions that are committed together with this one, before it.

    Attributes:
        failure: Why a value could not be read.
        expect: The versions of what was read.
        writes: The new values, by what the manifest calls the key.
        places: The buckets and keys that those stand for.
        labels: The same keys as the user knows them.
    """

    def __init__(self, view: View, contents: ValueStore, below: Workspace | None = None) -> None:
        self.view = view
        self._contents = contents
        self._below = below
        self.failure: MPS3Error | None = None
        self.expect: dict[str, str | None] = {}
        self.writes: dict[str, PendingValue | None] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.labels: dict[str, str] = {}

    def look_up(self, name: str) -> PendingValue | FileEntry | None:
        """Return the value of a key as this transaction sees it, and record that it has read it."""
        if name in self.writes:
            return self.writes[name]
        if self._below is not None:
            return self._below.look_up(name)
        file = self.view.look_up(name)
        self.expect[name] = None if file is None else file["version"]
        return file

    async def read(self, name: str, place: tuple[str, str]) -> JSON | Delete:
        """Return the value of a key; `DELETE` if there is none.

        Raises:
            CorruptionError: It is missing, or not what was written; perhaps it was superseded and collected.
            UnavailableError: The store does not answer.
        """
        found = self.look_up(name)
        if found is None:
            return DELETE
        if isinstance(found, PendingValue):
            return await load(found.body, *place, found.version)
        try:
            return await load(await self._contents.fetch(*place, found), *place, found["version"])
        except (CorruptionError, UnavailableError) as error:
            self.failure = error
            raise

    def write(self, name: str, place: tuple[str, str], label: str, content: PendingValue | None) -> None:
        """Set a key, or delete it."""
        self.writes[name] = content
        self.places[name] = place
        self.labels[name] = label

    def add(self, other: Workspace) -> None:
        """Add the reads and writes of a transaction that was run on top of this one."""
        self.expect.update(other.expect)
        self.writes.update(other.writes)
        self.places.update(other.places)
        self.labels.update(other.labels)

    def holds_in(self, view: View) -> bool:
        """Return whether everything that was read has the same version in another state."""
        for name, expected in self.expect.items():
            file = view.look_up(name)
            if (None if file is None else file["version"]) != expected:
                return False
        return True
