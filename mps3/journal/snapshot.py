"""What a journal has resolved, as bytes to be kept until another life of the client. Pure, but for the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import orjson

from ..errors import MPS3Error
from ..format.document import CommitEntry, Document, Kind
from ..format.document_codec import decode, decode_entries, encode, encode_entries
from ..format.run import Run
from ..format.run_reference import RunReference
from ..format.state import EMPTY, View, build_view
from .at_hand import at_hand


class Loader(Protocol):
    """What fetches runs: `mps3.journal.runs.Runs`."""

    async def load(self, references: Iterable[RunReference]) -> Mapping[str, Run]:
        """Return the runs that documents name, by their SHA-256."""
        ...


@dataclass(frozen=True, slots=True)
class JournalSnapshot:
    """A resolved state without its runs, which are objects of their own and never change.

    Attributes:
        kind: The journal.
        document: What the head holds; ``None`` before the first commit.
        head: The manifest's newest version; ``None`` before the first commit.
        commits: The commits above the settled files, in order.
        etag: The head's ETag, if it is known.
        stamp: The newest time stamp of the store that was seen, in seconds since 1970; ``-inf`` if none was.
        pace: As in `View`.
    """

    kind: Kind
    document: Document | None
    head: str | None
    commits: tuple[CommitEntry, ...]
    etag: str | None
    stamp: float
    pace: float

    @classmethod
    def of(cls, kind: Kind, view: View, etag: str | None, stamp: float) -> Self:
        """Return what is to be kept of a view."""
        return cls(kind, view.document, view.head, view.commits, etag, stamp, view.pace)

    @property
    def runs(self) -> tuple[RunReference, ...]:
        """The runs that it needs."""
        of_commits = tuple(run for commit in self.commits for run in commit.runs)
        return of_commits if self.document is None else (*self.document.runs, *of_commits)

    async def view(self, runs: Loader) -> View:
        """Return the state again."""
        if self.document is None:
            return EMPTY
        document, held = self.document, await runs.load(self.runs)
        return await at_hand(lambda: build_view(document, self.head, self.commits, held, self.pace))

    def encode(self, bucket: str, key: str) -> bytes:
        """Return it as bytes.

        Raises:
            ConfigurationError: It is larger than any client would read.
        """
        return orjson.dumps(
            {
                "kind": self.kind,
                "head": self.head,
                "etag": self.etag,
                "stamp": self.stamp if math.isfinite(self.stamp) else None,
                "pace": self.pace,
                "commits": encode_entries(self.commits),
                "document": self.document
                and orjson.Fragment(encode(self.document, bucket=bucket, key=key, trusted=True)),
            },
            default=dict,
        )

    @classmethod
    def decode(cls, body: bytes, bucket: str, key: str) -> Self:
        """Read what `encode` wrote.

        Raises:
            ValueError: It is not that.
        """
        try:
            raw: dict[str, Any] = orjson.loads(body)
            kind, body, stamp = raw["kind"], raw["document"], raw["stamp"]
            if kind not in ("log", "merge"):
                raise ValueError(f"{kind!r} is no journal")
            return cls(
                kind,
                None if body is None else decode(orjson.dumps(body), bucket=bucket, key=key, version=None),
                None if raw["head"] is None else str(raw["head"]),
                decode_entries(raw["commits"]),
                None if raw["etag"] is None else str(raw["etag"]),
                -math.inf if stamp is None else float(stamp),
                float(raw["pace"]),
            )
        except (MPS3Error, LookupError, TypeError) as error:
            raise ValueError(f"not a saved state: {error}") from error
