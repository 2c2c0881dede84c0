"""Whose a stored value is: what is said of it when it is stored, so that collecting never deletes what is not ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

from ..format.names import LONGEST_MANIFEST, check_bucket, check_key
from ..types import Ref

MANIFESTS: Final = "mps3-manifests"
"""The manifests that a value was written for."""
PLACE: Final = "mps3-place"
"""A digest of where it was written: a copy elsewhere is somebody else's business."""
LONGEST: Final = 1500
"""Bytes of metadata, of the 2,000 that S3 takes. What does not fit is left out, and then never collected."""


def describe(manifests: Iterable[Ref], bucket: str, key: str) -> dict[str, str]:
    """What is said of a value when it is stored.

    Args:
        manifests: The manifests that the write commits to, with their buckets.
        bucket: Where it is stored.
        key: The object's key there.
    """
    names = ",".join(f"{ref.bucket}/{quote(ref.key)}" for ref in manifests)
    return {MANIFESTS: names, PLACE: _digest(bucket, key)} if len(names) <= LONGEST else {}


def owners(metadata: Mapping[str, str], bucket: str, key: str) -> tuple[Ref, ...]:
    """The manifests that may name a value; none if it cannot be told, or if it is not one of ours."""
    names = metadata.get(MANIFESTS, "")
    if not names or metadata.get(PLACE) != _digest(bucket, key):
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


def _digest(bucket: str, key: str) -> str:
    # The name of a bucket has no slash.
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
