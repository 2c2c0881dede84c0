"""The URLs of stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError
from .obstore.provider import PROVIDERS

_S3: Final = (
    "endpoint_url",
    "region_name",
    "profile_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)
_SECRET: Final = re.compile(
    r"((?:secret_access_key|access_key_id|session_token|accesskeyid|signature|credential|security-token|password)=)"
    r"[^&\s'\"]+",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\S+")
_AUTHORITY: Final = re.compile(r"[^/?#@]*")
_SCHEME: Final = re.compile(r"([a-z0-9+.-]{1,20})://", re.IGNORECASE)
BUCKET: Final = "default"
"""The default bucket of a ``file`` or ``memory`` URL."""
MANIFEST: Final = "manifest.json"
"""The default manifest of a URL."""
_FORMS: Final = (
    "s3://bucket/manifest.json?endpoint_url=…&region_name=…, gs://bucket/manifest.json, "
    "az://container/manifest.json?account_name=…, file:///some/dir or memory:"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed URL.

    Attributes:
        scheme: ``s3``, ``gs``, ``az``, ``file`` or ``memory``.
        bucket: The default bucket.
        manifest: The key of the default manifest.
        path: The directory of a ``file`` URL, the name of a ``memory`` one.
        s3_config: Arguments for the S3 client. They may hold secrets, so the ``repr`` omits them.
        storage_options: Settings of a ``gs`` or ``az`` store, likewise.
    """

    scheme: str
    bucket: str
    manifest: str
    path: str = ""
    s3_config: dict[str, Any] = field(default_factory=dict, repr=False)
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)

    def with_options(self, options: Mapping[str, Any]) -> Location:
        """Return the same location with more settings of its ``gs`` or ``az`` store.

        Raises:
            ConfigurationError: It is another kind of store.
        """
        if self.scheme not in PROVIDERS:
            raise ConfigurationError("storage_options are for gs:// and az://")
        return replace(self, storage_options={**self.storage_options, **options})


def parse(url: str) -> Location:
    """Parse a URL. No error repeats the URL, because it may hold secrets.

    Raises:
        ConfigurationError: It has none of the supported forms.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its message may repeat a password
        raise ConfigurationError(f"not the URL of a store: use {_FORMS}") from None
    if parts.fragment or url.endswith("#"):
        raise ConfigurationError("a # in a store's URL is written %23")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    # A password with a slash looks like a bucket with a colon, and a key.
    if "@" in parts.netloc or (":" in parts.netloc and parts.scheme == "s3" and not parts.netloc.startswith("arn:")):
        raise ConfigurationError("a store's URL has no user or password: give credentials as other S3 tools take them")
    if parts.scheme in PROVIDERS:
        return _of_provider(parts.scheme, parts.netloc, unquote(parts.path[1:]), query)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise ConfigurationError(f"the URL names no bucket: {_FORMS}")
        if ":" in parts.netloc:  # a password with a slash in it ends the authority
            raise ConfigurationError("a store's URL has no user, password or port, only the name of a bucket")
        _refuse_unknown(query, _S3)
        if "endpoint_url" in query:
            check_endpoint(query["endpoint_url"])
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


def _of_provider(scheme: str, bucket: str, manifest: str, query: dict[str, str]) -> Location:
    provider = PROVIDERS[scheme]
    if not bucket:
        raise ConfigurationError(f"the URL names no {provider.container}: {_FORMS}")
    if ":" in bucket:  # a password with a slash in it ends the authority
        raise ConfigurationError(
            f"a store's URL has no user, password or port, only the name of a {provider.container}"
        )
    _refuse_unknown(query, provider.in_url)
    if "endpoint_url" in query:
        check_endpoint(query["endpoint_url"])
    return Location(scheme, bucket, manifest or MANIFEST, storage_options=dict(query))


def discreet(text: str) -> str:
    """Return a text without the credentials in its URLs: users and passwords, keys, tokens and signatures."""
    return _SECRET.sub(r"\1…", _WORD.sub(_without_user, text))


def _without_user(word: re.Match[str]) -> str:
    text = word[0]
    end = text.rfind("@")
    for found in _SCHEME.finditer(text, 0, max(end, 0)):
        # The password of an http URL may hold a slash. A key may hold an @, so other schemes need more evidence.
        authority = _AUTHORITY.match(text, found.end())
        assert authority is not None  # noqa: S101 - it may be empty
        if found[1].lower().startswith("http") or ":" in authority[0] or text[authority.end()] == "@":
            return f"{text[: found.end()]}…{text[end:]}"
    encoded = text.lower()
    start, end = encoded.find("%3a%2f%2f"), encoded.rfind("%40")
    return f"{text[:start]}%3A%2F%2F…{text[end:]}" if 0 <= start < end else text


def check_endpoint(endpoint: str) -> None:
    """Refuse an endpoint that is invalid or holds credentials. No error repeats it.

    Raises:
        ConfigurationError: The endpoint is refused.
    """
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port may be part of a password
        valid = False
    if "@" in endpoint and (not valid or "@" in parts.netloc):
        raise ConfigurationError(
            "the endpoint has a user or a password in it: give credentials as other S3 tools take them"
        )
    if not valid:
        raise ConfigurationError("the endpoint is not a URL such as https://s3.example.org:9000")


def _refuse_unknown(query: dict[str, str], known: tuple[str, ...]) -> None:
    # A part of an unescaped password may look like a name.
    unknown = sorted(
        {name if value and name.isidentifier() else "…" for name, value in query.items() if name not in known}
    )
    if unknown:
        raise ConfigurationError(f"unknown in a store's URL: {', '.join(unknown)}; known: {', '.join(known)}")
