"""Stores as URLs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import ConfigurationError

_S3: Final = (
    "endpoint_url",
    "region_name",
    "profile_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)
BUCKET: Final = "default"
"""The bucket in a ``file`` or ``memory`` store whose URL names none."""
MANIFEST: Final = "manifest.json"
"""The manifest of a URL that names none."""
_FORMS: Final = "s3://bucket/manifest.json?endpoint_url=…&region_name=…, file:///some/dir or memory:"


@dataclass(frozen=True, slots=True)
class Location:
    """What a URL says.

    Attributes:
        scheme: ``s3``, ``file`` or ``memory``.
        bucket: The default bucket.
        manifest: The default manifest's key.
        path: The directory of a ``file`` URL, the name of a ``memory`` one.
        s3_config: Arguments for the S3 client. May hold secrets: not part of the ``repr``.
    """

    scheme: str
    bucket: str
    manifest: str
    path: str = ""
    s3_config: dict[str, Any] = field(default_factory=dict, repr=False)


def parse(url: str) -> Location:
    """Read a URL. The URL itself is in no error, for it may hold secrets.

    Raises:
        ConfigurationError: It is not one of the forms.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # which may repeat a password
        raise ConfigurationError(f"not the URL of a store: use {_FORMS}") from None
    if parts.fragment or url.endswith("#"):
        raise ConfigurationError("a # in a store's URL is written %23")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    # A password with a slash leaves what looks like a bucket with a colon, and a key.
    if "@" in parts.netloc or (":" in parts.netloc and parts.scheme == "s3" and not parts.netloc.startswith("arn:")):
        raise ConfigurationError("a store's URL has no user or password: give credentials as other S3 tools take them")
    if parts.scheme == "s3":
        if not parts.netloc:
            raise ConfigurationError(f"the URL names no bucket: {_FORMS}")
        _refuse_unknown(query, _S3)
        return Location("s3", parts.netloc, unquote(parts.path[1:]) or MANIFEST, s3_config=query)
    if parts.scheme in ("file", "memory"):
        if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or len(parts.path) < 2):
            raise ConfigurationError(f"a file URL has three slashes and names a directory: {_FORMS}")
        _refuse_unknown(query, ("bucket", "manifest"))
        return Location(
            parts.scheme,
            query.get("bucket") or BUCKET,
            query.get("manifest") or MANIFEST,
            path=unquote(parts.path if parts.scheme == "file" else parts.netloc + parts.path),
        )
    raise ConfigurationError(f"not the URL of a store (scheme {parts.scheme!r}): use {_FORMS}")


def _refuse_unknown(query: dict[str, str], known: tuple[str, ...]) -> None:
    # Half of an unescaped password may look like a name.
    unknown = sorted(
        {name if value and name.isidentifier() else "…" for name, value in query.items() if name not in known}
    )
    if unknown:
        raise ConfigurationError(f"unknown in a store's URL: {', '.join(unknown)}; known: {', '.join(known)}")
