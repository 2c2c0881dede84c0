"""What typed views and presence use of a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, overload

from ..manifest.manifest import Manifest
from ..types import JSON, Batch, Delete, Kept, Ref, Unchecked
from .conversion import Conversion
from .subscription import Subscription
from .write import Write


class Watchable(Protocol):
    """Something that has keys to watch."""

    def watch(
        self, prefix: str = ..., *, manifest: str | Ref | None = ..., since: str | None = ...
    ) -> Subscription[Batch[JSON]]:
        """Watch the keys that begin with ``prefix``."""
        ...


class PresenceClient(Watchable, Protocol):
    """What presence uses of a client."""

    _interval: float
    _manifests: dict[Ref, Manifest]

    def _check_open(self) -> None: ...
    def _manifest(self, ref: Ref) -> Manifest: ...
    def _resolve(self, key: str | Ref, bucket: str | None, manifest: str | Ref | None) -> tuple[Ref, str, str]: ...
    def _write(
        self,
        values: Mapping[Any, JSON | Delete],
        bucket: str | None,
        manifests: Sequence[str | Ref] | None,
        verb: str,
        expires_in: float | None = ...,
        *,
        fleeting: bool = ...,
    ) -> Write: ...


class TypedClient(Watchable, Protocol):
    """What a typed view uses of a client."""

    def put(
        self,
        key: str | Ref,
        value: JSON | Delete,
        *,
        bucket: str | None = ...,
        manifests: Sequence[str | Ref] | None = ...,
        expires_in: float | timedelta | None = ...,
        if_version: str | Unchecked | None = ...,
    ) -> Write:
        """Set a key."""
        ...

    def put_all(
        self,
        values: Mapping[str | Ref, JSON | Delete],
        *,
        bucket: str | None = ...,
        manifests: Sequence[str | Ref] | None = ...,
        expires_in: float | timedelta | None = ...,
    ) -> Write:
        """Set many keys in one commit."""
        ...

    async def get(
        self, key: str | Ref, default: Delete, *, bucket: str | None = ..., manifest: str | Ref | None = ...
    ) -> JSON | Delete:
        """Read a key."""
        ...

    @overload
    async def get_all(self, keys: Iterable[str], *, manifest: str | Ref | None = ...) -> dict[str, JSON]: ...

    @overload
    async def get_all(
        self, keys: None = ..., *, prefix: str | None = ..., manifest: str | Ref | None = ...
    ) -> dict[str, JSON]: ...

    def _subscribe(
        self,
        key: str | Ref,
        default: object,
        bucket: str | None,
        manifest: str | Ref | None,
        conversion: Conversion | None,
    ) -> Subscription[Any]: ...

    async def _update(
        self,
        key: str | Ref,
        function: Callable[[Any], Awaitable[Any]],
        default: Any,
        expires_in: float | timedelta | Kept | None,
        bucket: str | None,
        manifest: str | Ref | None,
    ) -> Any: ...
