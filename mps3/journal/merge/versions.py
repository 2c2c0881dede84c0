"""The versions of a manifest: they are listed, read, and put in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...format.document import LIMIT, CommitEntry, Document, Kind
from ...format.schema import whole_milliseconds
from ...format.state import needed_runs
from ...storage.pagination import PageProgress
from ...storage.protocol import Absence, Object, Storage, Version
from ...storage.verification import read_verified
from ..at_hand import at_hand
from ..document_io import read_document
from ..kept_runs import KeptRuns
from ..runs import Runs
from .order import once
from .validation import any_transaction, evaluate, settled_file


class ManifestVersions(KeptRuns):
    """Reads the versions of a manifest.

    Args:
        storage: Where it is kept.
        bucket: Its bucket.
        key: Its key.
        kind: The journal that it is written with.
        runs: Its runs.
    """

    def __init__(self, storage: Storage, bucket: str, key: str, kind: Kind, runs: Runs) -> None:
        super().__init__(bucket, key, runs)
        self._storage = storage
        self._kind = kind

    async def judge(
        self, base: Document, ordered: Sequence[CommitEntry]
    ) -> tuple[list[CommitEntry], list[CommitEntry]]:
        """Return what is relevant of the commits that come over a document's settled files, and what counts (R4, R20).

        Raises:
            ExpiredError: A part of that state is not kept any more, without which it cannot be told.
        """
        if not any_transaction(ordered):
            commits = once(ordered, base.sessions)
            return commits, commits
        held = await self.load(needed_runs(base, ordered))
        said = settled_file(base, held)
        return await at_hand(lambda: evaluate(ordered, base.sessions, said, held))

    async def page(self, start: str | None, limit: int) -> tuple[list[Version], str | None]:
        """Return some versions of the manifest, newest first, and where the next ones are."""
        page = await self._storage.versions(self._bucket, self._key, start=start, limit=limit)
        kept = [
            # To the precision that documents keep, so that a stamp is the same wherever it comes from.
            Version(one.version, whole_milliseconds(one.modified) / 1000, one.etag, one.size, deleted=False)
            for one in page.versions
            if not one.deleted
        ]
        return kept, page.next

    def pages(self) -> PageProgress:
        """Watches that going through these pages comes to an end."""
        return PageProgress(self._bucket, self._key, "ListObjectVersions")

    async def fetch(self, version: Version, known: Mapping[str, CommitEntry]) -> Document | None:
        """Return what one version holds; ``None`` if it was deleted meanwhile."""

        async def ask() -> Object | Absence:
            return await self._storage.get(self._bucket, self._key, version=version.version, limit=LIMIT)

        async def check(found: Object | Absence) -> Document | None:
            if not isinstance(found, Object):
                return None
            return await read_document(
                self._kind,
                self._runs,
                found.body,
                bucket=self._bucket,
                key=self._key,
                version=version.version,
                known=known,
            )

        return await read_verified(ask, check, self._runs.etags)
