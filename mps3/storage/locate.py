"""The storage that a URL or a configuration names. It is not open yet, and the SDK of S3 is not imported yet."""

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
    """Return the storage that a URL names."""
    if location.scheme == "file":
        return LocalStorage(location.path)
    if location.scheme == "memory":
        return memory_storage(location.path)
    return s3_storage(location.s3_config, environment)


def manifest_label(storage: Storage | None, manifest: Ref) -> str:
    """Return the name of a manifest, for messages. The storage is ``None`` for S3."""
    if storage is None:
        return str(manifest)
    url = storage.url if isinstance(storage, LocalStorage | MemoryStorage) else None
    name = manifest.key if url and manifest.bucket == BUCKET else f"{manifest.bucket}/{manifest.key}"
    return f"{name} in {url or type(storage).__qualname__}"


def s3_storage(
    s3_config: Mapping[str, Any] | None, environment: Environment, auth: Auth | None = None, *, checksums: bool = True
) -> Storage:
    """Return the storage that arguments of `mps3.MPS3` name."""

    def make() -> Storage:
        from .s3.storage import S3Storage  # noqa: PLC0415 - slow to import

        return S3Storage(s3_config, environment=environment, auth=auth, checksums=checksums)

    return LazyStorage(make, partial(s3_identity, s3_config or {}))
