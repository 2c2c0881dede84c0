"""The values that commits name, which collecting leaves alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing

from ..format.document import CommitEntry
from ..format.run import Run
from .at_hand import ranges


async def named_values(commits: Iterable[CommitEntry], runs: Mapping[str, Run]) -> frozenset[tuple[str, str]]:
    """Return the values that some commits name, as the manifest's name of the key and the version.

    Args:
        commits: The commits.
        runs: Their runs, by their SHA-256. What is missing says nothing.

    Raises:
        MPS3Error: A run cannot be read.
    """
    found: set[tuple[str, str]] = set()
    for commit in commits:
        found.update((name, file["version"]) for name, file in commit.files.items() if file is not None)
        for run in (runs[one.sha256] for one in commit.runs if one.sha256 in runs):
            async with aclosing(ranges([run])) as parts:
                async for start, stop in parts:
                    said = run.items("", start, stop)
                    found.update((name, file["version"]) for name, file in said if file is not None)
    return frozenset(found)
