"""A bucket: the protocol that every store implements, the stores themselves, and the wrappers that add to one.

Only `storage/s3/` imports the SDK of S3. Nothing here knows of journals, manifests or users' keys.
The names below are public: a store of your own implements `Storage`.
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
