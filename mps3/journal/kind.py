"""A manifest says which journal it is written with."""

from __future__ import annotations

from collections.abc import Mapping

from ..document import Document, Entry, Kind, decode
from ..errors import ConfigurationError
from ..shape import NOTHING


def decode_as(
    kind: Kind, body: bytes, *, bucket: str, key: str, version: str | None, known: Mapping[str, Entry] = NOTHING
) -> Document:
    """Read a document, and refuse one that is written with the other journal.

    Args:
        kind: The journal that can follow it.
        body: Its bytes.
        bucket: Where it was read.
        key: Where it was read.
        version: Where it was read.
        known: Commits by version that were read before.

    Raises:
        ConfigurationError: It is written with the other journal.
        CorruptionError: It is not a manifest.
        FormatError: A newer mps3 wrote it.
    """
    document = decode(body, bucket=bucket, key=key, version=version, known=known)
    if document.journal != kind:
        raise other_kind(document.journal, bucket, key, version)
    return document


def other_kind(kind: Kind, bucket: str, key: str, version: str | None = None) -> ConfigurationError:
    """What to say when a manifest is written with another journal than was asked for."""
    return ConfigurationError(
        f'the manifest s3://{bucket}/{key} is written with the {kind} journal: open it with journal="{kind}" or "auto"',
        bucket=bucket,
        key=key,
        version=version,
    )
