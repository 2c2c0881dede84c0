"""Reading the present: once, or again after each change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, overload

from ..content.reader import ValueReader
from ..content.value import PendingValue
from ..errors import CorruptionError
from ..format.file_entry import FileEntry
from ..format.names import Naming, name_in
from ..format.state import EMPTY, View, weight
from ..format.values import load
from ..types import DELETE, JSON, Batch, Ref
from .conversion import Conversion
from .history import files_in, read_by_label
from .point_in_time import PointInTime
from .subscription import Subscription, ValueSubscription
from .threads import in_thread_if_large
from .watch import Watch

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")


class Reads(PointInTime):
    """The calls that read what there is now, and what changes."""

    @overload
    async def get(
        self,
        key: str | Ref,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> JSON: ...

    @overload
    async def get(
        self,
        key: str | Ref,
        default: D,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> JSON | D: ...

    async def get(
        self,
        key: str | Ref,
        default: Any = None,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> Any:
        """Read a key: at least as new as the moment of the call, and never older than this client's own writes.

        While the store cannot be reached, what is known is returned, if it is.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: What to return if there is no such key.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.
            at: Instead of the present: the id of a commit, or a time, as for `snapshot`.

        Raises:
            UnavailableError: The store does not answer, and the value is not known here.
            CorruptionError: What is stored is not what was written.
            ExpiredError: The moment ``at`` is not kept (any more).
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        if at is not None:
            return await self._get_at(key, default, at, bucket, manifest)
        self._check_open()
        ref, place, literal = self._resolve(key, bucket, manifest)
        opened = self._manifest(ref)
        name = name_in(ref, place, literal)
        if not opened.is_pending(name):
            await opened.refresh()
        found = opened.look_up(name)
        try:
            return await self._read(place, literal, found, default)
        except CorruptionError:
            # Superseded and collected in the meantime, perhaps: then there is a newer one.
            await opened.refresh()
            newer = opened.look_up(name)
            if newer is found or newer == found:
                raise
            return await self._read(place, literal, newer, default)

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
        opened, naming, _ = self._manifest_to_read(manifest, prefix)
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
        opened, naming, _ = self._manifest_to_read(manifest, prefix or "")
        reader = ValueReader(self._contents, naming.place)  # of the present, where what is missing has to be there
        names: dict[Any, str] = {}
        for key in keys or ():
            ref, place, literal = self._resolve(key, bucket, manifest)
            names[key] = name_in(ref, place, literal)
        if keys is None or not all(opened.is_pending(name) for name in names.values()):
            await opened.refresh()
        tried: list[tuple[str, Any]] | None = None
        while True:
            view, overlay = opened.present()
            wanted: list[tuple[str, PendingValue | FileEntry | None]]
            if keys is None:
                wanted = await _shown(view, overlay, naming, prefix or "")
            else:
                wanted = [(name, overlay[name] if name in overlay else view.look_up(name)) for name in names.values()]
            try:
                if keys is None:
                    return await read_by_label(reader, naming, wanted)
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
        opened, naming, _ = self._manifest_to_read(manifest, prefix)
        return Watch(opened, naming, self._contents, self._environment, prefix, since)

    @overload
    def subscribe(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[JSON]: ...

    @overload
    def subscribe(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[JSON | D]: ...

    @overload
    def subscribe(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None, type: type[T]
    ) -> Subscription[T | None]: ...

    @overload
    def subscribe(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None, type: type[T]
    ) -> Subscription[T | D]: ...

    def subscribe(
        self,
        key: str | Ref,
        default: Any = None,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        type: Any = None,  # noqa: A002 - what it is
    ) -> Subscription[Any]:
        """The value of a key now, and the newest one after each change, whoever makes it.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: What stands for the value while there is no such key.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.
            type: What to make of the values, as with `typed`; JSON if ``None``.

        Raises:
            ConfigurationError: The package that knows such a type is not installed.
            ClosedError: The client is not open.
        """
        return self._subscribe(key, default, bucket, manifest, None if type is None else Conversion(type))

    def _subscribe(
        self,
        key: str | Ref,
        default: object,
        bucket: str | None,
        manifest: str | Ref | None,
        conversion: Conversion | None,
    ) -> Subscription[Any]:
        self._check_open()
        ref, place, literal = self._resolve(key, bucket, manifest)

        async def read(found: PendingValue | FileEntry | None) -> Any:
            value = await self._read(place, literal, found, default)
            return value if conversion is None or found is None else conversion.load(self._label(place, literal), value)

        return ValueSubscription(self._manifest(ref), name_in(ref, place, literal), read, self._environment)

    async def _read(self, bucket: str, key: str, found: PendingValue | FileEntry | None, default: object) -> Any:
        if found is None:
            return default
        if isinstance(found, PendingValue):
            return await load(found.body, bucket, key, found.version)
        return await load(await self._contents.fetch(bucket, key, found), bucket, key, found["version"])


async def _shown(
    view: View, overlay: Mapping[str, PendingValue | None], naming: Naming, prefix: str
) -> list[tuple[str, PendingValue | FileEntry | None]]:
    """What a state has under a prefix, with what is pending laid over it."""
    found: dict[str, PendingValue | FileEntry | None] = {}
    found.update(await in_thread_if_large(weight(EMPTY, view), files_in, view, naming, prefix))
    matches = naming.matches(prefix)
    found.update((name, content) for name, content in overlay.items() if matches(name))
    return [(name, one) for name, one in found.items() if one is not None]
