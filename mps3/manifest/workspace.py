"""A workspace: the reads and writes of one transaction before it is committed."""

from __future__ import annotations

import orjson

from ..content.patch import PendingPatch, check_patches
from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import ConflictError, CorruptionError, MPS3Error, UnavailableError
from ..format.file_entry import FileEntry, expires_of, version_of
from ..format.operations import fold
from ..format.run import NotAtHandError
from ..format.state import View
from ..format.values import load
from ..journal.at_hand import at_hand, look_up_in
from ..support.gather import map_concurrently
from ..types import DELETE, JSON, Delete
from .overlay import inapplicable_steps, patched_over


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
        self._kept: dict[str, PendingValue] = {}

    def look_up(self, name: str) -> PendingValue | FileEntry | None:
        """Return the value of a key as this transaction sees it, and record that it has read it."""
        return self.find(name, self.view, reads=True)

    def find(self, name: str, view: View, *, reads: bool) -> PendingValue | FileEntry | None:
        """Return the value of a key over a state, and record that it was read if it ``reads``."""
        if name not in self.writes:
            return self._find_below(name, view, reads=reads)
        written = self.writes[name]
        if not isinstance(written, PendingPatch):
            return written
        return patched_over(written, self._find_below(name, view, reads=reads), view.moment)

    def _find_below(self, name: str, view: View, *, reads: bool) -> PendingValue | FileEntry | None:
        if self._below is not None:
            return self._below.find(name, view, reads=reads)
        file = view.look_up(name)
        if reads:
            self.expect[name] = None if file is None else file["version"]
        return file

    async def inapplicable(self, view: View | None = None) -> ConflictError | None:
        """Return why a patch will not apply, so that nothing must be written; ``None`` if all will, or it is unknown.

        That does not count as reading the keys.

        Args:
            view: The state to apply them to; that of the transaction if ``None``.
        """

        async def errors_of_one(item: tuple[str, PendingPatch]) -> list[str]:
            name, content = item
            over = self.view if view is None else view
            try:
                below = await at_hand(lambda: self._find_below(name, over, reads=False))
                errors = await inapplicable_steps(content, below, self._contents)
            except MPS3Error:
                return []  # where it is committed, it is judged
            return [f"{self.labels[name]!r}: {error}" for error in errors]

        patches = [(name, one) for name, one in self.writes.items() if isinstance(one, PendingPatch) and one.may_fail]
        found = [error for errors in await map_concurrently(errors_of_one, patches) for error in errors]
        if not found:
            return None
        return ConflictError(f"a patch does not apply to what is there, so nothing was written: {'; '.join(found)}")

    def patches(self) -> frozenset[PendingPatch]:
        """Return the patches that it writes, and what they are made of."""
        contents = [content for content in self.writes.values() if isinstance(content, PendingPatch)]
        return frozenset(part for content in contents for part in (content, *content.parts))

    async def read(self, name: str, place: tuple[str, str]) -> JSON | Delete:
        """Return the value of a key; `DELETE` if there is none.

        Raises:
            CorruptionError: It is missing, or not what was written; perhaps it was superseded and collected.
            UnavailableError: The store does not answer.
        """
        try:
            found = await at_hand(lambda: self.look_up(name))
        except MPS3Error as error:
            self.failure = error
            raise
        if found is None:
            return DELETE
        if isinstance(found, PendingValue):
            return await load(found.body, *place, found.version)
        try:
            return await load(await self._contents.fetch(*place, found), *place, found["version"])
        except (CorruptionError, UnavailableError) as error:
            self.failure = error
            raise

    def keep_expiry(self, name: str, content: PendingValue) -> None:
        """Let a new value expire when the one before it would; this counts as reading the key."""
        try:
            _keep_expiry(content, self.look_up(name))
        except NotAtHandError:
            self._kept[name] = content

    async def settle(self) -> None:
        """Look up what was not at hand when `keep_expiry` needed it.

        Raises:
            MPS3Error: It cannot be read.
        """
        kept, self._kept = self._kept, {}
        for name, content in kept.items():
            file = await at_hand(lambda name=name: self._find_below(name, self.view, reads=True))  # type: ignore[misc]
            _keep_expiry(content, file)

    def write(self, name: str, place: tuple[str, str], label: str, content: PendingValue | None) -> None:
        """Set a key, or delete it."""
        self.writes[name] = content
        self.places[name] = place
        self.labels[name] = label

    def patch(self, name: str, place: tuple[str, str], label: str, content: PendingPatch) -> None:
        """Change a part of a value, which does not count as reading it.

        Raises:
            ConflictError: It does not apply to what this transaction has written.
            TooLargeError: The transaction has too many patches for one commit.
        """
        whole = self._over(name, content) if name in self.writes else content
        check_patches({**self.writes, name: whole}.values())
        self.write(name, place, label, whole)

    def _over(self, name: str, content: PendingPatch) -> PendingValue:
        """Return what a patch makes of what was written before."""
        written = self.writes[name]
        if isinstance(written, PendingPatch):
            return content.after(written)
        value, errors = fold(DELETE if written is None else orjson.loads(written.body), content.steps)
        if why := next((error for error in errors if error is not None), None):
            raise ConflictError(f"a patch of {content.key!r} does not apply to what the transaction wrote: {why}")
        inline = written is None or written.inline
        assert value is not DELETE  # noqa: S101 - a patch makes a value
        made = self._contents.prepare(content.bucket, content.key, value, content.manifests, may_be_inline=inline)
        ends: PendingValue = content if content.expires_in is not None or written is None else written
        made.expires_in, made.until = ends.expires_in, ends.until
        return made

    def add(self, other: Workspace) -> None:
        """Add the reads and writes of a transaction that was run on top of this one.

        Raises:
            ConflictError: A patch of it does not apply to what this one has written.
            TooLargeError: The patches of both are more than one commit can have.
        """
        writes = {
            name: self._over(name, content) if isinstance(content, PendingPatch) and name in self.writes else content
            for name, content in other.writes.items()
        }
        check_patches({**self.writes, **writes}.values())
        self.expect.update(other.expect)
        self.writes.update(writes)
        self.places.update(other.places)
        self.labels.update(other.labels)

    async def holds_in(self, view: View) -> bool:
        """Return whether everything that was read has the same version in another state."""
        found = await look_up_in(view, self.expect)
        return all(version_of(found[name]) == expected for name, expected in self.expect.items())


def _keep_expiry(content: PendingValue, before: PendingValue | FileEntry | None) -> None:
    if isinstance(before, PendingValue):
        content.expires_in, content.until = before.expires_in, before.until
    else:
        content.until = expires_of(before)
