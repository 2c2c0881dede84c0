"""Reading the present state, once or after each change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, overload

from ..content.fetcher import MissingError
from ..content.reader import ValueReader
from ..content.value import PendingValue
from ..errors import CorruptionError
from ..format.file_entry import FileEntry
from ..format.names import name_in
from ..format.values import load
from ..journal.at_hand import look_up_all, look_up_in
from ..journal.run_reader import MissingRunError
from ..manifest.manifest import Manifest
from ..types import DELETE, JSON, Batch, Ref
from .conversion import Conversion
from .history import read_by_label
from .listing import list_page
from .pages import check_page
from .point_in_time import PointInTime
from .subscription import Subscription, ValueSubscription
from .watch import Watch

D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)
T = TypeVar("T")
W = TypeVar("W")


class Reads(PointInTime):
    """The calls that read the present state and its changes."""

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
        """Return the value of a key, or ``default``.

        The value is at least as new as the call, and includes the writes of this client. While the store does not
        answer, the last known value is returned.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: The result if the key does not exist.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names the key; the default manifest if ``None``.
            at: Read a past state: the id of a commit, or a time, as for `snapshot`.

        Raises:
            UnavailableError: The store does not answer, and the value is not known here.
            CorruptionError: The stored value is damaged.
            ExpiredError: The state at ``at`` is not kept.
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

        async def find() -> PendingValue | FileEntry | None:
            return await opened.find(name)

        return await _read_newest(opened, find, lambda found: self._read(place, literal, found, default))

    async def keys(
        self,
        prefix: str = "",
        *,
        limit: int | None = None,
        after: str | None = None,
        manifest: str | Ref | None = None,
    ) -> list[str]:
        """Return the keys with a prefix, sorted, as new as `get` and with the pending writes of this client.

        The call costs as much as `get`: the list is in memory.

        Args:
            prefix: The prefix. A key in another bucket than the default is ``s3://bucket/key``.
            limit: The maximum number of keys; all if ``None``.
            after: Return only keys that sort after this one, such as the last one of the page before.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            ValueError: ``limit`` is not positive.
            UnavailableError: The store does not answer, and no state is known here.
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        check_page(limit, after)
        opened, naming, _ = self._manifest_to_read(manifest, prefix)
        await opened.refresh()

        async def find() -> list[tuple[str, Any]]:
            view, overlay = opened.present()
            return await list_page(view, naming, prefix, limit, after, overlay)

        async def read(page: list[tuple[str, Any]]) -> list[str]:
            return [naming.label(name) for name, _ in page]

        return await _read_newest(opened, find, read)

    @overload
    async def get_all(
        self, keys: Iterable[K], *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> dict[K, JSON]: ...

    @overload
    async def get_all(
        self,
        keys: None = None,
        *,
        prefix: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        manifest: str | Ref | None = None,
    ) -> dict[str, JSON]: ...

    async def get_all(
        self,
        keys: Iterable[Any] | None = None,
        *,
        prefix: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> dict[Any, JSON]:
        """Return keys and their values, all of one state, as new as `get` and with the pending writes of this client.

        Values that are not in memory are fetched concurrently, with one request each.

        Args:
            keys: The keys; those that do not exist are left out of the result.
            prefix: Return all keys with this prefix, in order, instead of ``keys``. With neither, all keys are
                returned.
            limit: The maximum number of keys with the prefix; all if ``None``. Only their values are fetched.
            after: Return only keys that sort after this one, such as the last one of the page before. Each page is of
                one state, several pages need not be: for that, use `snapshot`.
            bucket: The bucket of ``keys`` that name none; the default bucket if ``None``.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            TypeError: ``keys`` is given together with ``prefix``, ``limit`` or ``after``.
            ValueError: ``limit`` is not positive.
            UnavailableError: The store does not answer, and a value is not known here.
            CorruptionError: A stored value is damaged.
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        if keys is not None and prefix is not None:
            raise TypeError("give either keys or a prefix")
        if keys is not None and not (limit is None and after is None):
            raise TypeError("limit and after are of a prefix: give fewer keys instead")
        check_page(limit, after)
        if isinstance(keys, str | Ref):
            raise TypeError("keys is a list of keys; put the key in brackets")
        opened, naming, _ = self._manifest_to_read(manifest, prefix or "")
        reader = ValueReader(self._contents, naming.place)
        names: dict[Any, str] = {}
        for key in keys or ():
            ref, place, literal = self._resolve(key, bucket, manifest)
            names[key] = name_in(ref, place, literal)
        if keys is None or not all(opened.is_pending(name) for name in names.values()):
            await opened.refresh()

        async def find() -> list[tuple[str, PendingValue | FileEntry | None]]:
            view, overlay = opened.present()
            if keys is None:
                return await list_page(view, naming, prefix or "", limit, after, overlay)
            below = [name for name in names.values() if name not in overlay]
            found: dict[str, PendingValue | FileEntry | None] = {}
            found.update(await look_up_in(view, below))
            found.update(
                await look_up_all((), [name for name in names.values() if name in overlay], overlay.__getitem__)
            )
            return [(name, found[name]) for name in names.values()]

        async def read(wanted: list[tuple[str, PendingValue | FileEntry | None]]) -> dict[Any, JSON]:
            if keys is None:
                return await read_by_label(reader, naming, wanted)
            values = await reader.read(wanted)
            return {key: value for key, value in zip(names, values, strict=True) if value is not DELETE}

        return await _read_newest(opened, find, read)

    def watch(
        self, prefix: str = "", *, manifest: str | Ref | None = None, since: str | None = None
    ) -> Subscription[Batch[JSON]]:
        """Return an iterator over the keys with a prefix, and then over every commit that changes them, in order.

        The present state comes first, in batches of up to 1,000 keys with ``initial`` set; the last has
        ``end_of_initial`` set. One batch for each commit follows. Writes of this client appear earlier, as ``pending``
        changes in batches without an ``id``. If they fail or are withdrawn, another batch without an ``id`` restores
        the committed values. When a key expires, a batch without an ``id`` deletes it. Applying all changes yields the
        values that `get` returns; without the pending changes it yields the committed state.

        A commit that becomes visible late may precede commits that were delivered before. Its batch then contains only
        the changes that those have not overwritten. A reader that falls behind by more commits than the manifest lists
        (some seconds) receives one batch with ``skipped`` set, which contains all differences.

        Args:
            prefix: The prefix. A key in another bucket than the default is ``s3://bucket/key``.
            manifest: The manifest that names the keys; the default manifest if ``None``.
            since: The ``cursor`` of a batch: resume after it, without the present state. No change is missed or
                repeated, except that an expiry may be reported twice. The id of a commit can be used as well if no
                commit becomes visible late: all commits before it in the order count as seen.

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
        type: Any = None,  # noqa: A002 - the plainest name
    ) -> Subscription[Any]:
        """Return an iterator over the value of a key: the present value, and the newest one after each change.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: Returned as the value while the key does not exist.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names the key; the default manifest if ``None``.
            type: The type of the values, as with `typed`; JSON if ``None``.

        Raises:
            ConfigurationError: The package that converts the type is not installed.
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


async def _read_newest(manifest: Manifest, find: Callable[[], Awaitable[W]], read: Callable[[W], Awaitable[T]]) -> T:
    """Read values of the newest state, and again from a newer one if they were superseded and collected meanwhile.

    Args:
        manifest: The manifest that names the values.
        find: Returns what its state says of them.
        read: Reads them.

    Raises:
        CorruptionError: The newest state names a damaged value.
        UnavailableError: The known state names a value that is not kept, and the store does not tell whether it is the
            newest.
    """
    try:
        wanted = await find()
    except MissingRunError:
        await manifest.refresh()  # it was collected: the newest state does not need it
        wanted = await find()
    while True:
        try:
            return await read(wanted)
        except CorruptionError as error:
            await manifest.refresh()
            if (newer := await find()) == wanted:
                if isinstance(error, MissingError):
                    manifest.require_reachable()
                raise
            wanted = newer
