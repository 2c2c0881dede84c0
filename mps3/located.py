"""The store that a URL or a configuration names, neither opened nor, for S3, loaded yet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from .later import Later
from .storage import Storage
from .storage.local import LocalStorage
from .storage.memory import MemoryStorage, memory_storage
from .storage.s3_identity import s3_identity
from .types import Auth, Ref
from .url import BUCKET, Location
from .world import World


def storage_of(location: Location, world: World) -> Storage:
    """The store that a URL names."""
    if location.scheme == "file":
        return LocalStorage(location.path)
    if location.scheme == "memory":
        return memory_storage(location.path)
    return s3(location.s3_config, world)


def described(storage: Storage | None, manifest: Ref) -> str:
    """What to call a manifest, for people.

    Args:
        storage: The store; ``None`` for S3.
        manifest: The manifest, with its bucket.
    """
    if storage is None:
        return str(manifest)
    url = storage.url if isinstance(storage, LocalStorage | MemoryStorage) else None
    name = manifest.key if url and manifest.bucket == BUCKET else f"{manifest.bucket}/{manifest.key}"
    return f"{name} in {url or type(storage).__qualname__}"


def s3(
    s3_config: Mapping[str, Any] | None, world: World, auth: Auth | None = None, *, checksums: bool = True
) -> Storage:
    """The store that arguments of `mps3.MPS3` name."""

    def make() -> Storage:
        from .storage.s3 import S3Storage  # noqa: PLC0415 - takes longer to load than all else together

        return S3Storage(s3_config, world=world, auth=auth, checksums=checksums)

    return Later(make, partial(s3_identity, s3_config or {}))
