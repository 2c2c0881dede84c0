"""Which journal a manifest is written with."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Literal

from ..document import LIMIT, Kind, decode
from ..errors import AccessError, ConfigurationError
from ..storage import Object, Storage
from ..types import JournalKind
from ..world import World
from . import Journal
from .conditional import ConditionalJournal
from .conditions import lacking_conditions
from .kind import other_kind
from .merge import MergeJournal
from .runs import LONG


async def choose_journal(storage: Storage, bucket: str, key: str, kind: JournalKind, world: World) -> Journal:
    """The journal of a manifest: the one it is written with, or else the one that its bucket permits.

    Args:
        storage: The store.
        bucket: The manifest's bucket.
        key: The manifest's key.
        kind: What was asked for.
        world: Time, chance and names.

    Raises:
        ConfigurationError: The bucket permits neither, or not the one that was asked for.
        MPS3Error: The manifest cannot be read.
    """
    trusted = False
    chosen = await _follow(storage, bucket, key)
    if chosen is None:
        chosen, trusted = await _by_bucket(storage, bucket, key, kind, world)
    if kind not in ("auto", chosen):
        raise other_kind(chosen, bucket, key)
    if chosen == "merge":
        await _require_versioning(storage, bucket)
        return MergeJournal(storage, bucket, key, world)
    return ConditionalJournal(storage, bucket, key, world, trusted=trusted)


def known_journal(storage: Storage, bucket: str, key: str, kind: Kind, world: World) -> Journal:
    """The journal of a manifest that is known to be written with it, made without asking the store."""
    return (MergeJournal if kind == "merge" else ConditionalJournal)(storage, bucket, key, world)


async def _follow(storage: Storage, bucket: str, key: str) -> Kind | None:
    found = await storage.get(bucket, key, limit=LIMIT)
    if not isinstance(found, Object):
        return None
    read = partial(decode, found.body, bucket=bucket, key=key, version=found.version or found.etag)
    return (read() if len(found.body) <= LONG else await asyncio.to_thread(read)).journal


async def _by_bucket(storage: Storage, bucket: str, key: str, kind: JournalKind, world: World) -> tuple[Kind, bool]:
    versioning = (await storage.capabilities(bucket)).versioning
    if kind == "merge" or (kind == "auto" and versioning == "enabled"):
        return "merge", False
    if kind == "auto" and versioning == "suspended":
        raise _unversioned(bucket, versioning)
    try:
        lacking = await lacking_conditions(storage, bucket, key, world)
    except AccessError:
        return "conditional", False  # who may only read finds out nothing, and need not: the first commit asks again
    if lacking is None:
        return "conditional", True
    if kind == "conditional":
        raise ConfigurationError(
            f"the conditional journal needs conditional writes, and the store of bucket {bucket} does not enforce "
            f"them: {lacking}. Use a bucket with versioning enabled, or another store",
            bucket=bucket,
            operation="PutObject",
        )
    raise _unversioned(bucket, versioning, lacking)


async def _require_versioning(storage: Storage, bucket: str) -> None:
    versioning = (await storage.capabilities(bucket)).versioning
    if versioning != "enabled":
        raise _unversioned(bucket, versioning)


def _unversioned(
    bucket: str, versioning: Literal["enabled", "suspended", "off"], lacking: str | None = None
) -> ConfigurationError:
    state = "has versioning suspended" if versioning == "suspended" else "does not have versioning enabled"
    also = f", and its store does not enforce conditional writes either ({lacking})" if lacking else ""
    return ConfigurationError(
        f"bucket {bucket} {state}{also}; clients would overwrite each other's commits. Enable it, for example with "
        f"`aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled`, "
        "or use another bucket",
        bucket=bucket,
        operation="GetBucketVersioning",
    )
