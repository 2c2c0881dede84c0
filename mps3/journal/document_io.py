"""Reading and writing documents of one journal, off the event loop where they are large."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ..errors import ConfigurationError, CorruptionError
from ..format.document import CommitEntry, Document, Kind
from ..format.document_codec import decode, encode
from ..format.schema import NOTHING
from .in_thread import LONG
from .runs import Runs

HEAVY: Final = 300
"""Files of a document that have about `mps3.journal.in_thread.LONG` bytes."""
LIGHTER: Final = 10
"""How many commits of a log take as long to write as one file."""


async def read_document(
    kind: Kind,
    runs: Runs,
    body: bytes,
    *,
    bucket: str,
    key: str,
    version: str | None,
    known: Mapping[str, CommitEntry] = NOTHING,
) -> Document:
    """Read a document, and refuse one that is written with the other journal. A large one is read in a thread.

    Args:
        kind: The journal that can follow it.
        runs: Sees to it that of several large ones only one is read at a time.
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
    read = partial(decode, body, bucket=bucket, key=key, version=version, known=known)
    document = await runs.work(lambda pause: read(pause=pause), len(body))
    runs.invalid_names.report(key, version, document.skipped)
    if document.journal != kind:
        raise wrong_journal(document.journal, bucket, key, version)
    return document


async def encode_document(document: Document, runs: Runs, *, bucket: str, key: str) -> bytes:
    """Return the bytes of a document, which other clients can read. A large one is written in a thread.

    Raises:
        ConfigurationError: It has grown beyond what any client would read, or no client could read it.
    """
    # The commits of its log are already encoded.
    weight = len(document.files) + len(document.update.get("files", NOTHING)) + len(document.log) // LIGHTER
    size = weight * (LONG // HEAVY)
    return await runs.work(lambda _: encode(document, bucket=bucket, key=key), size)


def wrong_journal(kind: Kind, bucket: str, key: str, version: str | None = None) -> ConfigurationError:
    """Return what to say when a manifest is written with another journal than was asked for."""
    return ConfigurationError(
        f'the manifest s3://{bucket}/{key} is written with the {kind} journal: open it with journal="{kind}" or "auto"',
        bucket=bucket,
        key=key,
        version=version,
    )


def deleted_manifest(bucket: str, key: str, marker: str | None) -> CorruptionError:
    """What to say when a manifest is not there any more; ``marker`` is the version of its delete marker."""
    remedy = f"remove its delete marker {marker}" if marker else "restore it"
    return CorruptionError(
        f"the manifest s3://{bucket}/{key} was deleted: {remedy} to have it back, or use another manifest",
        bucket=bucket,
        key=key,
        operation="GetObject",
        version=marker,
    )
