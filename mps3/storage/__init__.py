"""Storages: the protocol, its implementations, and wrappers that add to a storage.

Only `storage/s3/` imports the SDK of S3, and only `storage/obstore/` obstore. Nothing here depends on journals,
manifests or keys of users.
The names below are public. Implement `Storage` to add a store of your own.
"""

from .protocol import (
    ABSENT,
    UNCHANGED,
    Absence,
    Capabilities,
    Head,
    ListedObject,
    ListedVersion,
    Object,
    Page,
    Scan,
    Storage,
    Stored,
    TellsTime,
    Version,
    Versioning,
    VersionPage,
)

__all__ = [
    "ABSENT",
    "UNCHANGED",
    "Absence",
    "Capabilities",
    "Head",
    "ListedObject",
    "ListedVersion",
    "Object",
    "Page",
    "Scan",
    "Storage",
    "Stored",
    "TellsTime",
    "Version",
    "VersionPage",
    "Versioning",
]
