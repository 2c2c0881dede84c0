"""Which journal a manifest is written with."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

from ..errors import AccessError, ConfigurationError, MPS3Error
from ..format.document import LIMIT, Kind
from ..format.document_codec import decode
from ..storage.protocol import Absence, Capabilities, Object, Storage
from ..storage.verification import read_verified
from ..support.environment import Environment
from ..types import JournalKind
from .document_io import deleted_manifest, wrong_journal
from .in_thread import LONG
from .listing_trial import lacking_listing
from .log.journal import LogJournal
from .merge.journal import MergeJournal
from .probe import lacking_creation
from .protocol import Journal
from .run_pieces import RunReading

VERSIONS: Final = 100
"""How many versions and delete markers of a manifest are looked at to find out whether it was deleted."""


async def choose_journal(
    storage: Storage,
    bucket: str,
    key: str,
    kind: JournalKind,
    environment: Environment,
    *,
    early: bool = False,
    reading: RunReading | None = None,
) -> Journal:
    """The journal of a manifest: the one it is written with, or else the one that its store permits.

    A new manifest gets the log journal wherever the store enforces create-if-absent, with versioning or without. The
    store is tried for that before there is a manifest, and not again afterwards.

    Args:
        storage: The store.
        bucket: The manifest's bucket.
        key: The manifest's key.
        kind: What was asked for.
        environment: Time, chance and names.
        early: Whether to read the newest state of a log meanwhile.
        reading: How its runs are read.

    Raises:
        ConfigurationError: The bucket permits neither, or not the one that was asked for.
        CorruptionError: The manifest was deleted, and its versions are kept.
        MPS3Error: The manifest cannot be read.
    """
    log = LogJournal(storage, bucket, key, environment, exists=True, reading=reading)
    opening = asyncio.create_task(log.open_early()) if early and kind != "merge" else None
    try:
        written = await _follow(storage, bucket, key)
        if written is None:
            return await _create(storage, bucket, key, kind, environment, reading)
        if kind not in ("auto", written):
            raise wrong_journal(written, bucket, key)
        if written == "merge":
            await _require_versioning(storage, bucket)
            return MergeJournal(storage, bucket, key, environment, reading=reading)
        if opening is not None:
            with contextlib.suppress(MPS3Error):  # it comes again when the journal is read
                await opening
        return log
    finally:
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


def known_journal(
    storage: Storage, bucket: str, key: str, kind: Kind, environment: Environment, reading: RunReading | None = None
) -> Journal:
    """The journal of a manifest that is known to be written with it, made without asking the store."""
    if kind == "merge":
        return MergeJournal(storage, bucket, key, environment, reading=reading)
    return LogJournal(storage, bucket, key, environment, exists=True, reading=reading)


async def _follow(storage: Storage, bucket: str, key: str) -> Kind | None:
    async def ask() -> Object | Absence:
        return await storage.get(bucket, key, limit=LIMIT)

    async def check(found: Object | Absence) -> Kind | None:
        if not isinstance(found, Object):
            return None
        read = partial(decode, found.body, bucket=bucket, key=key, version=found.version or found.etag)
        return (read() if len(found.body) <= LONG else await asyncio.to_thread(read)).journal

    return await read_verified(ask, check)


async def _refuse_deleted(storage: Storage, bucket: str, key: str) -> None:
    """Refuse a manifest that was deleted, and can be restored: to begin anew would spoil what is there.

    Raises:
        CorruptionError: It was deleted.
    """
    with contextlib.suppress(AccessError):  # only who may list versions finds out
        newest, *older = (await storage.versions(bucket, key, limit=VERSIONS)).versions or (None,)
        if newest is not None and newest.deleted and not all(version.deleted for version in older):
            raise deleted_manifest(bucket, key, newest.version)


async def _create(
    storage: Storage, bucket: str, key: str, kind: JournalKind, environment: Environment, reading: RunReading | None
) -> Journal:
    """The journal of a manifest that does not exist yet."""
    capabilities = await storage.capabilities(bucket)
    versioned = capabilities.versioning == "enabled"
    if kind == "merge":
        if not versioned:
            raise _unversioned(bucket, capabilities)
        return await _create_merge(storage, bucket, key, environment, reading)
    if versioned:
        await _refuse_deleted(storage, bucket, key)
    log = partial(LogJournal, storage, bucket, key, environment, contested=versioned, reading=reading)
    try:
        lacking = await lacking_creation(storage, bucket, key, environment, capabilities)
    except AccessError:
        # Who may only read finds out nothing, and need not: the first commit asks again.
        return log()
    if lacking is None:
        return log(trusted=True)
    if kind == "log":
        raise _without_creation(bucket, capabilities, lacking)
    if not versioned:
        raise _unversioned(bucket, capabilities, lacking)
    return await _create_merge(storage, bucket, key, environment, reading)


async def _create_merge(
    storage: Storage, bucket: str, key: str, environment: Environment, reading: RunReading | None
) -> Journal:
    """The merge journal of a manifest that does not exist yet, where the store lists versions as it has to."""
    with contextlib.suppress(AccessError):  # who may only read finds out nothing, and need not
        lacking = await lacking_listing(storage, bucket, key, environment)
        if lacking is not None:
            raise ConfigurationError(
                f"the merge journal needs listings of versions that are complete, and those of bucket {bucket} are "
                f'not: {lacking}. Use the log journal (journal="log"), if the store enforces create-if-absent',
                bucket=bucket,
                operation="ListObjectVersions",
            )
    return MergeJournal(storage, bucket, key, environment, reading=reading)


async def _require_versioning(storage: Storage, bucket: str) -> None:
    capabilities = await storage.capabilities(bucket)
    if capabilities.versioning != "enabled":
        raise _unversioned(bucket, capabilities)


def _without_creation(bucket: str, capabilities: Capabilities, lacking: str) -> ConfigurationError:
    if capabilities.versioning == "enabled":
        remedy = 'the merge journal (journal="merge" or "auto"), since the bucket has versioning enabled'
    elif capabilities.versionable:
        remedy = "a bucket with versioning enabled, or another store"
    else:
        remedy = "another store, which enforces it or has a bucket with versioning enabled"
    return ConfigurationError(
        f"the log journal needs create-if-absent, and the store of bucket {bucket} does not enforce it: {lacking}. "
        f"Use {remedy}",
        bucket=bucket,
        operation="PutObject",
    )


def _unversioned(bucket: str, capabilities: Capabilities, lacking: str | None = None) -> ConfigurationError:
    state = "has versioning suspended" if capabilities.versioning == "suspended" else "does not have versioning enabled"
    also = f", and its store does not enforce create-if-absent either ({lacking})" if lacking else ""
    if capabilities.versionable:
        remedy = (
            "Enable it, if the store can, for example with "
            f"`aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled`, "
            "or use another bucket"
        )
    else:
        other = "" if lacking else ", or the log journal, if the store enforces create-if-absent"
        remedy = f"It cannot be enabled here: use a store with versioning enabled{other}"
    return ConfigurationError(
        f"bucket {bucket} {state}{also}; clients would overwrite each other's commits. {remedy}",
        bucket=bucket,
        operation="GetBucketVersioning",
    )
