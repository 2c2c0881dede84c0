"""The calls that write, and the writes that failed permanently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from ..content.many import ManyValues, OwnNames, OwnPlaces
from ..content.patch import PendingPatch, check_patches
from ..content.value import PendingValue
from ..format.limits import MANY
from ..format.names import are_plain, check_not_own, name_in
from ..format.schema import NOTHING
from ..manifest.pending import Pending
from ..offline.protocol import Refusal
from ..text import first_few
from ..types import DELETE, JSON, UNCHECKED, Delete, Ref, Unchecked
from .changes import ValueChange
from .core import ClientCore
from .rejected import Rejected
from .time_to_live import seconds_to_live
from .write import Write

ExpiresIn: TypeAlias = float | timedelta | Mapping[Any, float | timedelta] | None
"""The time until values expire: one for all, or one for each key."""


class Writes(ClientCore):
    """The calls that write."""

    def put(
        self,
        key: str | Ref,
        value: JSON | Delete,
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: float | timedelta | None = None,
        if_version: str | Unchecked | None = UNCHECKED,
    ) -> Write:
        """Set a key. The value is visible in this client immediately; await the result until it is durable.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            value: Any JSON value, including ``None``. `DELETE` deletes the key.
            expires_in: Seconds, or a timedelta, until the key is deleted for all clients, unless it is put again. The
                time counts from the arrival of the value at the store, by the store's clock. A client that is offline
                keeps the value until then. ``None``: the key does not expire.
            bucket: The key's bucket; the default bucket if ``None``.
            manifests: The manifests to commit the write to; the default manifest if ``None``.
            if_version: Write only if the key has this version when the write is committed; ``None``: only if the key
                does not exist. `Commit`, `Change` and `Revision` have the versions. With the merge journal such a write
                takes the manifest's window (3 s) longer. It can have one manifest only.

        Returns:
            A `Write`, which need not be awaited. A failure that no caller awaits is logged. With ``if_version`` the
            failure is a `ConflictError` if the key has another version.

        Raises:
            TypeError: The value is not JSON.
            ValueError: The value or the key cannot be stored.
            ClosedError: The client is not open.
        """
        return self._write({key: value}, bucket, manifests, "put", expires_in, if_version)

    def put_all(
        self,
        values: Mapping[str | Ref, JSON | Delete] | Mapping[str, JSON | Delete],
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: ExpiresIn = None,
    ) -> Write:
        """Set several keys in one commit: a client sees either none or all of the new values.

        The values are checked and encoded before the call returns, and the event loop waits for that: about 1 ms for
        each 1,000 small values, and a few times as long with ``offline``, with ``expires_in``, or if some values are
        larger than ``inline``. If the loop must never wait that long, make several calls, and await each.

        Args:
            values: Keys and their values, as for `put`.
            expires_in: Seconds, or a timedelta, until the keys expire, as for `put`. The time of each counts from the
                arrival of its own value. Or a mapping of keys to such times; other keys do not expire.
            bucket: The bucket of keys that name none; the default bucket if ``None``.
            manifests: The manifests to commit the write to. Each commit is atomic, but not all of them together.

        Returns:
            A `Write`, which need not be awaited. A failure that no caller awaits is logged.

        Raises:
            TypeError: A value is not JSON.
            ValueError: A value or a key cannot be stored, or ``values`` is empty.
            ClosedError: The client is not open.
        """
        return self._write(values, bucket, manifests, "put_all", expires_in)

    def delete(
        self,
        key: str | Ref,
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        if_version: str | Unchecked | None = UNCHECKED,
    ) -> Write:
        """Delete a key. The key is absent afterwards, which differs from the value ``None``.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            bucket: The key's bucket; the default bucket if ``None``.
            manifests: The manifests to delete the key from; the default manifest if ``None``.
            if_version: Delete only if the key has this version, as with `put`.

        Returns:
            A `Write`, which need not be awaited. A failure that no caller awaits is logged.

        Raises:
            ValueError: The key is invalid.
            ClosedError: The client is not open.
        """
        return self._write({key: DELETE}, bucket, manifests, "delete", if_version=if_version)

    def _write(
        self,
        values: Mapping[Any, JSON | Delete | ValueChange],
        bucket: str | None,
        manifests: Sequence[str | Ref] | None,
        verb: str,
        expires_in: ExpiresIn = None,
        if_version: str | Unchecked | None = UNCHECKED,
        *,
        ends: Mapping[Any, float] = NOTHING,
        fleeting: bool = False,
    ) -> Write:
        self._check_open()
        if isinstance(expires_in, Mapping):
            lifetimes = [seconds_to_live(expires_in.get(key)) for key in values]
        else:
            lifetimes = [seconds_to_live(expires_in)] * len(values)
        if not values:
            raise ValueError("there is nothing to write")
        owners = self._owners(manifests)
        targets = [
            (*self._place(key, bucket), value, ends.get(key), not self._names_bucket(key, bucket))
            for key, value in values.items()
        ]
        if len(values) > MANY and bucket is None and if_version is UNCHECKED and not any(lifetimes) and not ends:
            many = self._prepare_many(values, owners)
            if many is not None:
                return self._write_many(many, owners[0], verb, fleeting=fleeting)
        known = dict.fromkeys((*owners, *self._manifests))
        for place, key, *_ in targets:
            for ref in known:
                check_not_own(ref, place, key)
        _check_version(if_version, owners)
        # Everything is checked and encoded before any part of the write is visible.
        contents = [
            (
                place,
                key,
                self._prepare(place, key, value, owners, lifetime, end, may_be_inline=may_be_inline),
            )
            for (place, key, value, end, may_be_inline), lifetime in zip(targets, lifetimes, strict=True)
        ]
        check_patches([content for *_, content in contents])
        labels = [self._label(place, key) for place, key, _ in contents]
        opened = [(ref, self._manifest(ref)) for ref in owners]
        parts = []
        for ref, manifest in opened:
            names = [name_in(ref, place, key) for place, key, _ in contents]
            expect = {} if if_version is UNCHECKED else dict.fromkeys(names, if_version)
            pending = Pending(
                {name: content for name, (_, _, content) in zip(names, contents, strict=True)},
                dict(zip(names, labels, strict=True)),
                {name: (place, key) for name, (place, key, _) in zip(names, contents, strict=True)},
                self._environment.now(),
                manifest.session_pool.acquire(durable=True) if expect else manifest.session,
                expect=expect,
                fleeting=fleeting,
            )
            parts.append((manifest, pending))
        write = Write(parts, f"{verb} {first_few(labels)}")
        for manifest, pending in parts:
            manifest.add(pending)
        return write

    def _owners(self, manifests: Sequence[str | Ref] | None) -> tuple[Ref, ...]:
        if isinstance(manifests, str | Ref):
            raise TypeError("manifests is a list of manifests; put the manifest in brackets")
        refs = [self._default] if manifests is None else [self._manifest_ref(manifest) for manifest in manifests]
        if not refs:
            raise ValueError("manifests is empty; leave it out for the default manifest")
        return tuple(dict.fromkeys(refs))

    def _prepare(
        self,
        place: str,
        key: str,
        value: JSON | Delete | ValueChange,
        owners: tuple[Ref, ...],
        lifetime: float | None,
        end: float | None,
        *,
        may_be_inline: bool,
    ) -> PendingValue | None:
        if value is DELETE:
            return None
        if isinstance(value, ValueChange):
            return self._contents.prepare_patch(place, key, (value.step,), owners, lifetime)
        return self._contents.prepare(place, key, value, owners, lifetime, end, may_be_inline=may_be_inline)

    def _prepare_many(self, values: Mapping[Any, Any], owners: tuple[Ref, ...]) -> ManyValues | None:
        """Check and encode a large write at once; ``None`` if it is not as simple as most are, or is kept."""
        kept = bool(self._outbox_queues) or self._on_reconnect is not None
        if kept or len(owners) != 1 or owners[0].bucket != self._bucket:
            return None
        if type(values) is not dict:
            values = dict(values)  # each part of it is looked at several times
        if not are_plain((*owners, *self._manifests), self._bucket, values.keys()):
            return None
        return self._contents.prepare_many(self._bucket, values, owners)

    def _write_many(self, many: ManyValues, owner: Ref, verb: str, *, fleeting: bool) -> Write:
        manifest = self._manifest(owner)
        pending = Pending(
            many,
            OwnNames(many),
            OwnPlaces(self._bucket, many),
            self._environment.now(),
            manifest.session,
            fleeting=fleeting,
        )
        write = Write([(manifest, pending)], f"{verb} {first_few(list(many))}")
        manifest.add(pending)
        return write

    def rejected(self) -> tuple[Rejected, ...]:
        """Return the writes that failed permanently and have not been retried or dropped, oldest first.

        Only clients with an ``offline`` directory keep them: their own, and those of earlier clients.

        Raises:
            ConfigurationError: The client is open in another event loop or thread.
        """
        self._affinity.check_synchronous()
        return tuple(self._rejected)

    def _refuse(self, pending: Pending, refusal: Refusal) -> None:
        self._rejected[Rejected(pending, refusal, self._retry, self._drop)] = None

    def _retry(self, rejected: Rejected, old: Pending) -> Write:
        self._check_open()
        manifest = self._manifest(rejected.manifest)
        contents = {name: content and _again(content, manifest.ref) for name, content in old.changes.items()}
        session = manifest.session_pool.acquire(durable=True) if old.expect else manifest.session
        pending = Pending(contents, old.labels, old.places, self._environment.now(), session, expect=old.expect)
        write = Write([(manifest, pending)], f"retry of {first_few(list(rejected.values))}")
        manifest.add(pending)
        self._rejected.pop(rejected, None)

        def kept(_: object) -> None:
            if pending.safe:
                old.forget()

        if pending.kept is not None:
            pending.kept.add_done_callback(kept)
        return write

    def _drop(self, rejected: Rejected, old: Pending) -> None:
        self._check_open()
        self._rejected.pop(rejected, None)
        old.forget()


def _again(content: PendingValue, manifest: Ref) -> PendingValue:
    if isinstance(content, PendingPatch):
        return PendingPatch(content.bucket, content.key, content.body, (manifest,), content.expires_in)
    return PendingValue(
        content.bucket, content.key, content.body, (manifest,), content.expires_in, inline=content.inline
    )


def _check_version(if_version: object, manifests: Sequence[Ref]) -> None:
    if if_version is UNCHECKED:
        return
    if if_version is not None and not isinstance(if_version, str):
        raise TypeError(f"if_version is the version of a key, or None, not {type(if_version).__qualname__}")
    if if_version == "":
        raise ValueError("if_version is the version of a key, or None if the key must not exist")
    if len(manifests) > 1:
        raise ValueError("if_version can be checked by one manifest only, but the write has several")
