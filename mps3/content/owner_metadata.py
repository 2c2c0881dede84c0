"""The metadata of a stored value that names its manifests, so that garbage collection deletes only their values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

from ..format.names import LONGEST_MANIFEST, check_bucket, check_key
from ..types import Ref

# Names are identifiers, because Azure, which is behind some servers of S3, takes no others.
MANIFESTS: Final = "mps3manifests"
"""The manifests that a value was written for."""
PLACE: Final = "mps3place"
"""A digest of the bucket and the key. A copy elsewhere does not match it, and is never collected."""
_FORMER: Final = {MANIFESTS: "mps3-manifests", PLACE: "mps3-place"}
"""The names that earlier values have."""
LONGEST: Final = 1500
"""Bytes of metadata at the most; S3 accepts 2,000. A value whose metadata do not fit is never collected."""


def owner_metadata(manifests: Iterable[Ref], bucket: str, key: str) -> dict[str, str]:
    """Return the metadata to store with a value.

    Args:
        manifests: The manifests that the write commits to, with their buckets.
        bucket: The bucket of the value.
        key: The key of the object.
    """
    names = ",".join(f"{ref.bucket}/{quote(ref.key)}" for ref in manifests)
    return {MANIFESTS: names, PLACE: _digest(bucket, key)} if len(names) <= LONGEST else {}


def owners_of(metadata: Mapping[str, str], bucket: str, key: str) -> tuple[Ref, ...]:
    """Return the manifests that a stored value was written for; none if the metadata do not say, or do not match."""
    names = _metadatum(metadata, MANIFESTS)
    if not names or _metadatum(metadata, PLACE) != _digest(bucket, key):
        return ()
    found = []
    for name in names.split(","):
        its_bucket, slash, its_key = name.strip().partition("/")
        if not its_bucket or not slash or not its_key:
            return ()
        try:
            ref = Ref(unquote(its_key, errors="strict"), its_bucket)
            check_key(ref.key, "manifest", LONGEST_MANIFEST)
            check_bucket(its_bucket)
        except ValueError:
            return ()
        found.append(ref)
    return tuple(found)


def _metadatum(metadata: Mapping[str, str], name: str) -> str:
    return metadata.get(name) or metadata.get(_FORMER[name], "")


def _digest(bucket: str, key: str) -> str:
    # The name of a bucket has no slash.
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
