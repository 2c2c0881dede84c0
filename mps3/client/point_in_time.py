"""Reading and restoring past states."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ..content.reader import ValueReader
from ..format.file_entry import FileEntry, expires_of
from ..format.names import Naming, check_buckets, name_in
from ..format.state import alive
from ..journal.at_hand import at_hand
from ..manifest.manifest import Manifest
from ..types import DELETE, JSON, Commit, Delete, Ref
from .history import Revision, Snapshot, revisions, view_at
from .log import LogEntry, read_log
from .patches import Patches
from .snapshot_reader import SnapshotReader, changes_to_restore

_log = logging.getLogger("mps3")


class PointInTime(Patches):
    """The calls that read and restore past states."""

    async def history(
        self,
        key: str | Ref,
        *,
        limit: int | None = None,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> list[Revision]:
        """Return the revisions of a key, newest first, as far back as the versions of the manifest are kept.

        The call costs a listing for a thousand commits, and a GET for every few of them. It does not fetch values.

        With the log journal the call costs a listing, and a GET for each commit that it passes. It goes as far back as
        slots and checkpoints are kept. If the key existed before the oldest known commit, the last revision has that
        value, without a commit.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            limit: The maximum number of revisions; the search stops there.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.

        Raises:
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        _check_limit(limit)
        ref, place, literal = self._resolve(key, bucket, manifest)
        opened, _, reader = self._manifest_to_read(manifest)
        await opened.refresh_committed()
        view, _ = opened.state()
        return await revisions(opened.past, view, name_in(ref, place, literal), limit, reader)

    async def log(
        self, prefix: str = "", *, limit: int | None = None, manifest: str | Ref | None = None
    ) -> list[LogEntry]:
        """Return the commits of a manifest, newest first, as far back as its versions are kept.

        The call costs as much as `history`.

        Args:
            prefix: Return only the commits to keys with this prefix, and only those of their keys.
            limit: The maximum number of commits; the search stops there.
            manifest: The manifest; the default manifest if ``None``.

        Raises:
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        _check_limit(limit)
        opened, naming, _ = self._manifest_to_read(manifest, prefix)
        await opened.refresh_committed()
        view, _ = opened.state()
        return await read_log(opened.past, view, naming, prefix, limit)

    async def snapshot(self, at: str | datetime | None = None, *, manifest: str | Ref | None = None) -> Snapshot:
        """Return the state of a manifest at one moment.

        The present state costs as much as `get`, a past state as much as `history` back to that moment.

        Args:
            at: The id of a commit, or the cursor of a batch: the state after that commit, without the keys that had
                expired by then. Or a time by the store's clock, with a time zone. ``None``: the present state, without
                pending writes.
            manifest: The manifest; the default manifest if ``None``.

        Raises:
            ExpiredError: That state is not kept. A value that has been collected raises it when it is read.
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        opened, naming, reader = self._manifest_to_read(manifest)
        await opened.refresh_committed()
        view, _ = opened.present()
        if at is not None:
            view = await view_at(opened.past, view, at)
        return Snapshot(view, naming, reader, opened.ref, self._bucket)

    async def restore(
        self,
        key: str | Ref,
        revision: Revision | str | datetime,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> Commit:
        """Write a previous value of a key again, in a new commit. Return when it is durable.

        The value keeps its time of expiry. If it has expired, the key is deleted.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            revision: A revision from `history`, or a moment, as for `snapshot`. If the key did not exist then, it is
                deleted.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names the key; the default manifest if ``None``.

        Raises:
            ExpiredError: The value, or the state at that moment, is not kept.
            CorruptionError: The stored value is damaged.
            MPS3Error: The write failed.
        """
        ref, place, literal = self._resolve(key, bucket, manifest)
        opened, _, reader = self._manifest_to_read(ref)
        await opened.refresh_committed()
        newest, _ = opened.present()
        name = name_in(ref, place, literal)
        if isinstance(revision, Revision):  # which may be one of another key
            name, file = revision._name, revision._file  # noqa: SLF001 - part of the client
            reads: ValueReader = revision._reader  # noqa: SLF001 - part of the client
        else:
            then, reads = await view_at(opened.past, newest, revision), reader
            file = await at_hand(lambda: then.look_up(name))
        file = alive(file, newest.moment)
        (value,) = await reads.read([(name, file)])
        return await self._restore([(Ref(literal, place), value, file)], opened.ref)

    async def restore_all(
        self,
        at: str | datetime,
        *,
        prefix: str = "",
        manifest: str | Ref | None = None,
        buckets: Iterable[str] = (),
    ) -> Commit | None:
        """Restore the state of a manifest at one moment, in one new commit. Return when it is durable.

        Only keys that differ are written. Keys that did not exist then are deleted, unless they have an expiry. Values
        keep their times of expiry; a value that has expired counts as absent. Concurrent writes of other clients to
        keys that do not differ are kept.

        Args:
            at: The id of a commit, or a time, as for `snapshot`.
            prefix: Restore only the keys with this prefix.
            manifest: The manifest; the default manifest if ``None``.
            buckets: Buckets besides the manifest's own into which values may be written. Keys in other buckets are
                skipped, which is logged: otherwise anyone who can write the manifest could choose where this client
                writes.

        Returns:
            The commit; ``None`` if no key differs.

        Raises:
            ExpiredError: That state, or a value of it, is not kept.
            CorruptionError: A stored value is damaged.
            MPS3Error: The write failed.
        """
        allowed = check_buckets(buckets)
        opened, naming, reader = self._manifest_to_read(manifest, prefix)
        await opened.refresh_committed()
        newest, overlay = opened.present()
        then = await view_at(opened.past, newest, at)
        different = await changes_to_restore(newest, then, naming, prefix, overlay)
        left_out = naming.elsewhere((name for name, file in different.items() if file is not None), allowed)
        if left_out:
            names = ", ".join(map(repr, left_out[:3])) + (", …" if len(left_out) > 3 else "")
            _log.warning(
                "%d keys in other buckets are not restored, because `buckets` does not list these: %s",
                len(left_out),
                names,
            )
            different = {name: file for name, file in different.items() if name not in left_out}
        if not different:
            return None
        values = await reader.read(list(different.items()))
        places = [Ref(key, bucket) for bucket, key in map(naming.place, different)]
        return await self._restore(list(zip(places, values, different.values(), strict=True)), opened.ref)

    async def _restore(self, restored: Sequence[tuple[Ref, JSON | Delete, FileEntry | None]], manifest: Ref) -> Commit:
        # Nobody has named the default bucket for them.
        restored = [(Ref(ref.key) if ref.bucket == self._bucket else ref, value, file) for ref, value, file in restored]
        values = {ref: DELETE if file is None else value for ref, value, file in restored}
        ends = {ref: end for ref, _, file in restored if (end := expires_of(file)) is not None}
        return await self._write(values, None, [manifest], "restore", ends=ends)

    async def _get_at(
        self, key: str | Ref, default: Any, at: str | datetime, bucket: str | None, manifest: str | Ref | None
    ) -> Any:
        ref, place, literal = self._resolve(key, bucket, manifest)
        snapshot = await self.snapshot(at, manifest=ref)
        return await snapshot.get(Ref(literal, place), default)

    def _manifest_to_read(
        self, manifest: str | Ref | None, prefix: str = ""
    ) -> tuple[Manifest, Naming, SnapshotReader]:
        self._check_open()
        if not isinstance(prefix, str):
            raise TypeError(f"a prefix is a str, not {type(prefix).__qualname__}")
        ref = self._manifest_ref(manifest)
        naming = Naming(ref, self._bucket)
        opened = self._manifest(ref)
        return opened, naming, SnapshotReader(self._contents, naming.place, opened)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit is a positive number, not {limit!r}")
