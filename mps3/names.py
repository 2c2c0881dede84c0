"""Names of keys: what users may say, what a manifest calls them, and back. Pure."""

from __future__ import annotations

from typing import Final

from .errors import ConfigurationError
from .journal.runs import SUFFIX
from .types import Ref

LONGEST: Final = 1024
LONGEST_MANIFEST: Final = LONGEST - len(SUFFIX) - 64
"""What leaves room for the names of its runs."""
_SCHEME: Final = "s3://"


def check_key(key: object, what: str = "key", longest: int = LONGEST) -> str:
    """Refuse what S3 does not take as an object key.

    Raises:
        TypeError: It is not a text.
        ValueError: It is empty, too long, or not Unicode.
    """
    if not isinstance(key, str):
        raise TypeError(f"a {what} is a str or a Ref, not {type(key).__qualname__}")
    if not key:
        raise ValueError(f"a {what} cannot be empty")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the {what} {key!r} has a lone surrogate, which UTF-8 cannot hold") from None
    if size > longest:
        raise ValueError(f"the {what} {key[:40]!r}… has {size} bytes of UTF-8; at most {longest} are possible")
    return key


def check_bucket(bucket: object) -> str:
    """Refuse what cannot be the name of a bucket.

    Raises:
        TypeError: It is not a text.
        ValueError: It is empty or has a slash.
    """
    if not isinstance(bucket, str):
        raise TypeError(f"a bucket is a str, not {type(bucket).__qualname__}")
    if not bucket or "/" in bucket:
        raise ValueError(f"{bucket!r} is not the name of a bucket")
    return bucket


def name_in(manifest: Ref, bucket: str, key: str) -> str:
    """What a manifest calls a key: the key itself, or a URL where that would not be unambiguous."""
    if bucket == manifest.bucket and not key.startswith(_SCHEME):
        return key
    return f"{_SCHEME}{bucket}/{key}"


def check_not_own(manifest: Ref, bucket: str, key: str) -> None:
    """Refuse a value at a place where the manifest itself is kept.

    Raises:
        ConfigurationError: It is such a place.
    """
    if bucket == manifest.bucket and (key == manifest.key or key.startswith(manifest.key + SUFFIX)):
        raise ConfigurationError(
            f"the key {key!r} is where the manifest s3://{bucket}/{manifest.key} is kept: choose another key",
            bucket=bucket,
            key=key,
        )
