"""The storage that a URL or a configuration names. It is not open yet, and neither SDK is imported yet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from ..errors import ConfigurationError
from ..support.environment import Environment
from ..types import Auth, Ref
from .lazy import LazyStorage
from .local import LocalStorage
from .memory import MemoryStorage, memory_storage
from .obstore.identity import obstore_identity
from .obstore.provider import PROVIDERS
from .obstore.stores import translated
from .protocol import Storage
from .s3.identity import s3_identity
from .url import BUCKET, Location


def locate(location: Location, environment: Environment) -> Storage:
    """Return the storage that a URL names.

    Raises:
        ConfigurationError: No storage has its scheme.
    """
    match location.scheme:
        case "s3":
            return s3_storage(location.s3_config, environment)
        case "gs" | "az" as scheme:
            return obstore_storage(scheme, location.storage_options, environment)
        case "file":
            return LocalStorage(location.path)
        case "memory":
            return memory_storage(location.path)
        case scheme:
            raise ConfigurationError(f"there is no storage for the scheme {scheme!r} of a URL")


def manifest_label(storage: Storage | None, manifest: Ref) -> str:
    """Return the name of a manifest, for messages. The storage is ``None`` for S3."""
    if storage is None:
        return str(manifest)
    scheme = getattr(storage, "scheme", None)
    if scheme is not None:
        return f"{scheme}://{manifest.bucket}/{manifest.key}"
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


def obstore_storage(
    scheme: Literal["gs", "az"], storage_options: Mapping[str, Any], environment: Environment
) -> Storage:
    """Return the storage of a service that obstore reaches. The arguments are those of `ObstoreStorage`."""

    def make() -> Storage:
        from .obstore.storage import ObstoreStorage  # noqa: PLC0415 - most programs do not need it

        return ObstoreStorage(scheme, storage_options, environment=environment)

    provider = PROVIDERS[scheme]
    options = translated(provider, storage_options)
    return LazyStorage(make, partial(obstore_identity, provider, options), scheme=scheme)
