"""The runs of the past, which may be collected: reading them for either journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import CorruptionError, ExpiredError
from ..format.document import CommitEntry
from ..format.run import Run
from ..format.run_reference import RunReference
from .run_pieces import FetchedPieces, PastPieces
from .runs import Runs


class KeptRuns:
    """Reads the runs of the past of one manifest.

    Args:
        bucket: The bucket of the manifest.
        key: Its key.
        runs: Its runs.
    """

    def __init__(self, bucket: str, key: str, runs: Runs) -> None:
        self._bucket = bucket
        self._key = key
        self._runs = runs

    async def runs_of(self, commits: Iterable[CommitEntry]) -> Mapping[str, Run]:
        """Return the runs that commits name, by their SHA-256.

        Raises:
            ExpiredError: One is not kept any more.
        """
        return await self.load(tuple(reference for commit in commits for reference in commit.runs))

    async def load(self, references: Sequence[RunReference]) -> Mapping[str, Run]:
        """Return runs of the past, by their SHA-256.

        Raises:
            ExpiredError: One is not kept any more.
        """
        try:
            held = await self._runs.load(references)
        except CorruptionError as error:
            raise self._gone() from error
        return {name: self._as_past(run) for name, run in held.items()}

    def _as_past(self, run: Run) -> Run:
        """Return a run of which a piece that is gone is a past that is not kept."""
        pieces = run.pieces
        return Run(run.reference, PastPieces(pieces, self._gone)) if isinstance(pieces, FetchedPieces) else run

    def _gone(self) -> ExpiredError:
        return self.expired("a part of that state is not kept any more")

    def expired(self, why: str) -> ExpiredError:
        """Return the error for a past that does not reach so far."""
        return ExpiredError(f"{why} (s3://{self._bucket}/{self._key})", bucket=self._bucket, key=self._key)
