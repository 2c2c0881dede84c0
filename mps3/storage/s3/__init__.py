"""S3 and what is compatible with it, through aiobotocore: requests, signatures, errors, listings, vendors.

This is the only place that imports the SDK. It takes long to load, so nothing above imports this package at its top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .storage import S3Storage

__all__ = ["S3Storage"]


def __getattr__(name: str) -> Any:
    """Load the SDK when somebody asks for the storage, and not before."""
    if name == "S3Storage":
        from .storage import S3Storage  # noqa: PLC0415 - takes longer to load than all else together

        return S3Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
