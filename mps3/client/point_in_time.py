"""Reading and restoring the past."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ..content.reader import ValueReader
from ..format.file_entry import FileEntry, expires_of
from ..format.names import Naming, check_buckets, name_in
from ..format.state import alive
from ..manifest.manifest import Manifest
from ..types import DELETE, JSON, Commit, Delete, Ref
from .history import Revision, Snapshot, revisions, view_at
from .log import LogEntry, read_log
from .snapshot_reader import SnapshotReader, changes_to_restore
from .writes import Writes

_log = logging.getLogger("mps3")


class PointInTime(Writes):
    """The calls that read the past, or write its values again."""

    async def history(
        self,
        key: str | Ref,
        *,
        limit: int | None = None,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> list[Revision]:
        """What became of a key, the newest first, as far back as the manifest's versions are kept.

        It takes a listing for a thousand commits, and a GET for every few of them; none for values.

        In a bucket without versioning only the last commits are known, those that the manifest lists (some
        128). What a key was before all that is known comes last, without its commit.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            limit: How many at the most: the search ends there.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.

        Raises:
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is a positive number, not {limit!r}")
        ref, place, literal = self._resolve(key, bucket, manifest)
        opened, _, reader = self._manifest_to_read(manifest)
        await opened.refresh()
        view, _ = opened.state()
        return await revisions(opened.past, view, name_in(ref, place, literal), limit, reader)

    async def log(
        self, prefix: str = "", *, limit: int | None = None, manifest: str | Ref | None = None
    ) -> list[LogEntry]:
        """The commits of a manifest, the newest first, as far back as its versions are kept.

        It costs what `history` costs. In a bucket without versioning only the last commits are known, those that
        the manifest lists (some 128).

        Args:
            prefix: Only the commits that touch a key which begins with it, and of those only such keys.
            limit: How many at the most: the search ends there.
            manifest: Which manifest; the default manifest if ``None``.

        Raises:
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is a positive number, not {limit!r}")
        opened, naming, _ = self._manifest_to_read(manifest, prefix)
        await opened.refresh()
        view, _ = opened.state()
        return await read_log(opened.past, view, naming, prefix, limit)

    async def snapshot(self, at: str | datetime | None = None, *, manifest: str | Ref | None = None) -> Snapshot:
        """All keys of a manifest as they were at one moment.

        Finding the present costs what `get` costs, a moment of the past what `history` costs up to there.

        Args:
            at: The id of a commit (or the cursor of a batch): the state with it and all before it, and without what
                had expired when it was made. Or a time by the store's clock, with its time zone. ``None`` for the
                present, without pending writes.
            manifest: Which manifest; the default manifest if ``None``.

        Raises:
            ExpiredError: That is not kept (any more). Reading a value from it raises the same if that was collected.
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        opened, naming, reader = self._manifest_to_read(manifest)
        await opened.refresh()
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
        """Write the value that a key once had, as a commit like any other; returns when it is durable.

        A value that was to expire expires when it was to. If it has expired by now, that is as if it had been
        deleted.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            revision: Which value, from `history`; or a moment, as for `snapshot`. If there was no value, the key is
                deleted.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that is to name it; the default manifest if ``None``.

        Raises:
            ExpiredError: The value, or that moment, is not kept (any more).
            CorruptionError: The value is not what was written.
            MPS3Error: The write failed.
        """
        ref, place, literal = self._resolve(key, bucket, manifest)
        opened, _, reader = self._manifest_to_read(ref)
        await opened.refresh()
        newest, _ = opened.present()
        name = name_in(ref, place, literal)
        if isinstance(revision, Revision):  # it may be of another key
            name, file = revision._name, revision._file  # noqa: SLF001 - one family
            reads: ValueReader = revision._reader  # noqa: SLF001
        else:
            file, reads = (await view_at(opened.past, newest, revision)).look_up(name), reader
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
        """Write all that was different at one moment, as one commit like any other; returns when it is durable.

        Keys that did not exist then are deleted, unless they expire by themselves. A value that was to expire
        expires when it was to; one that has expired by now counts as absent. What others write while it works stays,
        unless it is to a key that was different.

        Args:
            at: The id of a commit, or a time, as for `snapshot`.
            prefix: Only the keys that begin with it.
            manifest: Which manifest; the default manifest if ``None``.
            buckets: Other buckets than the manifest's own into which values may be written. What the manifest names
                in any other is left out, which is logged: whoever may write the manifest would decide where this
                client writes.

        Returns:
            The commit; ``None`` if nothing was different.

        Raises:
            ExpiredError: That, or a value of then, is not kept (any more).
            CorruptionError: A value is not what was written.
            MPS3Error: The write failed.
        """
        allowed = check_buckets(buckets)
        opened, naming, reader = self._manifest_to_read(manifest, prefix)
        await opened.refresh()
        newest, overlay = opened.present()
        then = await view_at(opened.past, newest, at)
        different = await changes_to_restore(newest, then, naming, prefix, overlay)
        left_out = naming.elsewhere((name for name, file in different.items() if file is not None), allowed)
        if left_out:
            names = ", ".join(map(repr, left_out[:3])) + (", …" if len(left_out) > 3 else "")
            _log.warning("%d keys in other buckets are not restored without consent: %s", len(left_out), names)
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
        ref = self._default if manifest is None else self._manifest_ref(manifest)
        naming = Naming(ref, self._bucket)
        opened = self._manifest(ref)
        return opened, naming, SnapshotReader(self._contents, naming.place, opened)
