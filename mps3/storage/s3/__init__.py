"""S3 and compatible services, through aiobotocore: requests, signatures, errors, listings, vendors.

Only this package imports the SDK. The import is slow, so no other module imports this package at its top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .storage import S3Storage

__all__ = ["S3Storage"]


def __getattr__(name: str) -> Any:
    """Import the SDK at the first access to the storage."""
    if name == "S3Storage":
        from .storage import S3Storage  # noqa: PLC0415 - slow to import

        return S3Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
