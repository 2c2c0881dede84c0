"""Reading more than one key, and the past: a part of the client."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..content.reader import Reader
from ..content.store import Content, Contents
from ..errors import CorruptionError
from ..format.entries import FileEntry, expires_of
from ..format.names import Naming, check_buckets, name_in
from ..format.state import EMPTY, View, alive, weight
from ..manifest.manifest import Manifest
from ..support.environment import Environment
from ..types import DELETE, JSON, Batch, Commit, Delete, Ref
from .history import Revision, Snapshot, listed, read_listed, revisions, view_at
from .log import LogEntry, logged
from .past_reader import PastReader, to_restore
from .subscription import Subscription
from .typed import Typed
from .watch import Watch, in_thread_if_large
from .write import Write

if TYPE_CHECKING:
    from .client import MPS3

K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")

_log = logging.getLogger("mps3")


class Reads:
    """The part of a client that reads many keys, or the past."""

    if TYPE_CHECKING:  # what the client has
        _bucket: str
        _default: Ref
        _contents: Contents
        _environment: Environment

        def _check_open(self) -> None: ...
        def _manifest(self, ref: Ref) -> Manifest: ...
        def _manifest_ref(self, manifest: str | Ref) -> Ref: ...
        def _reading(self, key: str | Ref, bucket: str | None, manifest: str | Ref | None) -> tuple[Ref, str, str]: ...
        def _write(
            self,
            values: Mapping[Any, JSON | Delete],
            bucket: str | None,
            manifests: Sequence[str | Ref] | None,
            verb: str,
            *,
            ends: Mapping[Any, float] = ...,
        ) -> Write: ...

    async def keys(self, prefix: str = "", *, manifest: str | Ref | None = None) -> list[str]:
        """The keys that begin with ``prefix``, in order; as new as `get`, with this client's pending writes.

        Costs what `get` costs: the list is in memory.

        Args:
            prefix: What they begin with. A key in another bucket than the default is ``s3://bucket/key``.
            manifest: The manifest that names them; the default manifest if ``None``.

        Raises:
            UnavailableError: The store does not answer, and nothing is known here.
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        opened, naming, _ = self._opened(manifest, prefix)
        await opened.refresh()
        view, overlay = opened.present()
        return sorted(naming.label(name) for name, _ in await _shown(view, overlay, naming, prefix))

    @overload
    async def get_all(
        self, keys: Iterable[K], *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> dict[K, JSON]: ...

    @overload
    async def get_all(
        self, keys: None = None, *, prefix: str | None = None, manifest: str | Ref | None = None
    ) -> dict[str, JSON]: ...

    async def get_all(
        self,
        keys: Iterable[Any] | None = None,
        *,
        prefix: str | None = None,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> dict[Any, JSON]:
        """Many keys and their values, all of one state; as new as `get`, with this client's pending writes.

        The values that are not in memory are fetched concurrently, a request each.

        Args:
            keys: Which keys; those that do not exist are left out of the result.
            prefix: Instead: all keys that begin with it. With neither, all keys there are.
            bucket: The bucket of ``keys`` that name none; the default bucket if ``None``.
            manifest: The manifest that names them; the default manifest if ``None``.

        Raises:
            TypeError: Both ``keys`` and ``prefix`` are given.
            UnavailableError: The store does not answer, and a value is not known here.
            CorruptionError: What is stored is not what was written.
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        if keys is not None and prefix is not None:
            raise TypeError("give either keys or a prefix")
        if isinstance(keys, str | Ref):
            raise TypeError("keys is a list of keys; put the one in brackets")
        opened, naming, _ = self._opened(manifest, prefix or "")
        reader = Reader(self._contents, naming.place)  # of the present, where what is missing has to be there
        names: dict[Any, str] = {}
        for key in keys or ():
            ref, place, literal = self._reading(key, bucket, manifest)
            names[key] = name_in(ref, place, literal)
        if keys is None or not all(opened.is_pending(name) for name in names.values()):
            await opened.refresh()
        tried: list[tuple[str, Any]] | None = None
        while True:
            view, overlay = opened.present()
            wanted: list[tuple[str, Content | FileEntry | None]]
            if keys is None:
                wanted = await _shown(view, overlay, naming, prefix or "")
            else:
                wanted = [(name, overlay[name] if name in overlay else view.look_up(name)) for name in names.values()]
            try:
                if keys is None:
                    return await read_listed(reader, naming, wanted)
                values = await reader.read(wanted)
                return {key: value for key, value in zip(names, values, strict=True) if value is not DELETE}
            except CorruptionError:
                # Superseded and collected in the meantime, perhaps: then there is a newer state, whole again.
                if wanted == tried:
                    raise
                tried = wanted
                await opened.refresh()

    def watch(
        self, prefix: str = "", *, manifest: str | Ref | None = None, since: str | None = None
    ) -> Subscription[Batch[JSON]]:
        """What there is under a prefix, and then every commit that touches it, in order, each whole and once.

        First the present, in batches of up to 1,000 keys that are marked ``initial``, the last of them
        ``end_of_initial``. Then a batch for each commit. This client's own writes come before that as
        ``pending`` changes, in batches without an ``id``; if they fail or are withdrawn, another batch without
        an ``id`` has what is there instead. When a key expires, a batch without an ``id`` deletes it. Applying
        all changes in turn gives what `get` gives; leaving the pending ones out gives what is committed.

        A commit that becomes visible late has its place before others: its batch then has what those leave of
        it, which may be nothing. A reader that falls behind further than the manifest lists its commits (some
        seconds) gets one batch marked ``skipped``, with all that is different.

        Args:
            prefix: What the keys begin with. A key in another bucket than the default is ``s3://bucket/key``.
            manifest: The manifest that names them; the default manifest if ``None``.
            since: The ``cursor`` of a batch: go on after it, without the present, so that nothing is missed and
                nothing repeated, but that a key has expired may be told again. The id of a commit will do too, if no
                commit becomes visible late: all that comes before it in the order counts as seen.

        Raises:
            ExpiredError: (when iterated) That commit is not known any more: start again without ``since``.
            ClosedError: The client is not open.
        """
        if since is not None and not isinstance(since, str):
            raise TypeError(f"since is the cursor of a batch or the id of a commit, not {type(since).__qualname__}")
        opened, naming, _ = self._opened(manifest, prefix)
        return Watch(opened, naming, self._contents, self._environment, prefix, since)

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
        ref, place, literal = self._reading(key, bucket, manifest)
        opened, _, reader = self._opened(manifest)
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
        opened, naming, _ = self._opened(manifest, prefix)
        await opened.refresh()
        view, _ = opened.state()
        return await logged(opened.past, view, naming, prefix, limit)

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
        opened, naming, reader = self._opened(manifest)
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
        ref, place, literal = self._reading(key, bucket, manifest)
        opened, _, reader = self._opened(ref)
        await opened.refresh()
        newest, _ = opened.present()
        name = name_in(ref, place, literal)
        if isinstance(revision, Revision):  # it may be of another key
            name, file = revision._name, revision._file  # noqa: SLF001 - one family
            reads: Reader = revision._reader  # noqa: SLF001
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
        opened, naming, reader = self._opened(manifest, prefix)
        await opened.refresh()
        newest, overlay = opened.present()
        then = await view_at(opened.past, newest, at)
        different = await to_restore(newest, then, naming, prefix, overlay)
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
        values = {ref: DELETE if file is None else value for ref, value, file in restored}
        ends = {ref: end for ref, _, file in restored if (end := expires_of(file)) is not None}
        return await self._write(values, None, [manifest], "restore", ends=ends)

    def typed(self, model: type[T]) -> Typed[T]:
        """This client, for values of one type: a pydantic model, a msgspec struct, a dataclass or the like.

        A dataclass or a ``TypedDict`` needs pydantic or msgspec to be installed, whichever you like.

        Args:
            model: The type. Values that are read become such; values that are written have to be such.

        Raises:
            ConfigurationError: The package that knows such a type is not installed.
        """
        return Typed(cast("MPS3", self), model)

    async def _get_at(
        self, key: str | Ref, default: Any, at: str | datetime, bucket: str | None, manifest: str | Ref | None
    ) -> Any:
        ref, place, literal = self._reading(key, bucket, manifest)
        snapshot = await self.snapshot(at, manifest=ref)
        return await snapshot.get(Ref(literal, place), default)

    def _opened(self, manifest: str | Ref | None, prefix: str = "") -> tuple[Manifest, Naming, PastReader]:
        self._check_open()
        if not isinstance(prefix, str):
            raise TypeError(f"a prefix is a str, not {type(prefix).__qualname__}")
        ref = self._default if manifest is None else self._manifest_ref(manifest)
        naming = Naming(ref, self._bucket)
        opened = self._manifest(ref)
        return opened, naming, PastReader(self._contents, naming.place, opened)


async def _shown(
    view: View, overlay: Mapping[str, Content | None], naming: Naming, prefix: str
) -> list[tuple[str, Content | FileEntry | None]]:
    """What a state has under a prefix, with what is pending laid over it."""
    found: dict[str, Content | FileEntry | None] = {}
    found.update(await in_thread_if_large(weight(EMPTY, view), listed, view, naming, prefix))
    matches = naming.matches(prefix)
    found.update((name, content) for name, content in overlay.items() if matches(name))
    return [(name, one) for name, one in found.items() if one is not None]
