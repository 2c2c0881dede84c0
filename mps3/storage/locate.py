"""The store that a URL or a configuration names, neither opened nor, for S3, loaded yet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..support.environment import Environment
from ..types import Auth, Ref
from .lazy import LazyStorage
from .local import LocalStorage
from .memory import MemoryStorage, memory_storage
from .protocol import Storage
from .s3.identity import s3_identity
from .url import BUCKET, Location


def locate(location: Location, environment: Environment) -> Storage:
    """The store that a URL names."""
    if location.scheme == "file":
        return LocalStorage(location.path)
    if location.scheme == "memory":
        return memory_storage(location.path)
    return s3(location.s3_config, environment)


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
    s3_config: Mapping[str, Any] | None, environment: Environment, auth: Auth | None = None, *, checksums: bool = True
) -> Storage:
    """The store that arguments of `mps3.MPS3` name."""

    def make() -> Storage:
        from .s3.storage import S3Storage  # noqa: PLC0415 - takes longer to load than all else together

        return S3Storage(s3_config, environment=environment, auth=auth, checksums=checksums)

    return LazyStorage(make, partial(s3_identity, s3_config or {}))
