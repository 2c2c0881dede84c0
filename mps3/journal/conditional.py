"""The conditional journal (rules R9 and R10): compare-and-swap on one object.

One document, one linear history. It needs a store that enforces conditions on a PUT, and no versions.
"""

from __future__ import annotations

import math
from itertools import takewhile
from typing import Final

from ..document import LIMIT, Document, Entry, encode
from ..errors import ConfigurationError, ConflictError, CorruptionError, UnavailableError
from ..state import EMPTY, View, build_view
from ..storage import ABSENT, UNCHANGED, Object, Storage, Stored
from ..world import World
from . import Attempt
from .conditions import require_conditions
from .kind import decode_as
from .order import once
from .runs import Runs
from .settle import settle

WINDOW: Final = 3.0
KEPT: Final = 128
"""Commits that the log holds at least, so that a lost answer can be recognised."""


class ConditionalJournal:
    """Compare-and-swap on one object.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        world: Time, chance and names.
        trusted: Whether the store was seen to enforce conditions.
        window: Seconds that the log reaches back at least; what a new manifest is created with.
    """

    kind: Final = "conditional"

    def __init__(
        self, storage: Storage, bucket: str, key: str, world: World, *, trusted: bool = False, window: float = WINDOW
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._world = world
        self._window = window
        self._session = world.name()
        self._runs = Runs(storage, bucket, key)
        self._view = EMPTY
        self._etag: str | None = None
        self._modified = -math.inf
        self._trusted = trusted

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def view(self) -> View:
        """The newest state that was read or written."""
        return self._view

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET."""
        found = await self._storage.get(self._bucket, self._key, if_none_match=self._etag, limit=LIMIT)
        if found is UNCHANGED:
            return False
        if found is ABSENT:
            if self._view.head is None:
                return False
            raise CorruptionError(
                f"the manifest s3://{self._bucket}/{self._key} was deleted: restore it, or use another manifest",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
            )
        assert isinstance(found, Object)  # noqa: S101 - tells the type checker what is left
        document = decode_as(
            self.kind,
            found.body,
            bucket=self._bucket,
            key=self._key,
            version=found.version or found.etag,
            known={commit.version: commit for commit in self._view.commits},
        )
        return await self._advance(document, found.etag, found.modified)

    async def append(self, attempt: Attempt) -> None:
        """Try to commit (R9). A successful PUT is the acknowledgement.

        Raises:
            ConflictError: Somebody else committed first; call again with the same attempt.
        """
        if attempt.doubtful:
            await self.resolve()
            if self._view.has(self._session, attempt.sequence):
                return
        if not self._trusted:
            await require_conditions(self._storage, self._bucket, self._key, self._world)
            self._trusted = True
        attempt.tries += 1
        document = await self._compose(attempt)
        body = encode(document, bucket=self._bucket, key=self._key)
        attempt.doubtful = True
        try:
            stored = await self._put(body)
        except UnavailableError:
            # Some stores answer whoever loses a race with a server error: then there is a winner to see.
            if not await self.resolve():
                raise
            if self._view.has(self._session, attempt.sequence):
                return
            raise self._conflict() from None
        if stored.etag is None:
            await self.resolve()  # a store that keeps the ETag to itself until it is asked
        else:
            await self._advance(document, stored.etag, stored.modified)

    async def _put(self, body: bytes) -> Stored:
        if self._etag is None:
            return await self._storage.put(self._bucket, self._key, body, if_none_match=True)
        return await self._storage.put(self._bucket, self._key, body, if_match=self._etag)

    def _conflict(self) -> ConflictError:
        return ConflictError(
            f"somebody else committed to s3://{self._bucket}/{self._key} first",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
        )

    async def _advance(self, document: Document, etag: str | None, modified: float | None) -> bool:
        if etag is None:
            raise ConfigurationError(
                f"the store sends no ETag for s3://{self._bucket}/{self._key}, so no condition can be made of it: "
                "use a bucket with versioning enabled",
                bucket=self._bucket,
                key=self._key,
            )
        # The clock of a store that does not tell stands still until it does.
        stamp = max((modified or self._modified, *(entry.modified for entry in document.log)))
        head = etag.strip('"')
        own = document.entry(head, stamp if math.isfinite(stamp) else 0.0)
        commits = tuple(once((*document.log, own), document.sessions))
        view = build_view(document, head, commits, await self._runs.load(document.runs), 0.0)
        last = self._view.commits[-1:]
        if (modified is None or modified <= self._modified) and any(
            not view.has(commit.session, commit.sequence) for commit in last
        ):
            raise UnavailableError(
                f"the store answered with an older state of s3://{self._bucket}/{self._key} than before",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
            )
        changed = head != self._view.head
        self._view, self._etag, self._modified, self._window = view, etag, stamp, document.window
        return changed

    async def _compose(self, attempt: Attempt) -> Document:
        view, base = self._view, self._view.document
        if base is None:
            return Document(
                "conditional",
                self._window,
                self._session,
                attempt.sequence,
                None,
                attempt.update,
                attempt=attempt.tries,
            )
        settled = self._settleable(view.commits)
        files, sessions, runs = await settle(base, settled, view.runs, self._runs)
        return Document(
            journal="conditional",
            window=base.window,
            session=self._session,
            sequence=attempt.sequence,
            previous=view.head,
            update=attempt.update,
            log=view.commits[len(settled) :],
            files=files,
            sessions=sessions,
            runs=runs,
            attempt=attempt.tries,
            extra=base.extra,
        )

    def _settleable(self, commits: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """R10: what is beyond both the number and the age that the log keeps."""
        if len(commits) <= KEPT:
            return ()
        bound = commits[-1].modified - self._window
        # Zero: the store tells no time, so the number has to do.
        return tuple(takewhile(lambda commit: commit.modified < bound or not commit.modified, commits[:-KEPT]))
