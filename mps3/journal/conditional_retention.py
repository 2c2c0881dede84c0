"""What the log of a conditional journal keeps, and what collecting leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from ..format.document import CommitEntry
from ..format.state import View, build_view
from .protocol import Retained
from .runs import Runs


async def retained(view: View, runs: Runs, seconds: float) -> Retained | None:
    """Return what the newest document says, its log included.

    Args:
        view: The newest state.
        runs: Its runs.
        seconds: How far back all states are kept.

    Returns:
        ``None`` if there is no manifest.

    Raises:
        MissingRunError: The document is not the newest any more, and runs of it were collected.
    """
    document = view.document
    if document is None:
        return None
    moment = view.commits[-1].modified - seconds
    held = await runs.load(document.references())
    named = frozenset(
        (name, file["version"])
        for entry in (*document.log, document.entry("", 0.0))
        for files in (entry.files.items(), *(held[run.sha256].items() for run in entry.runs))
        for name, file in files
        if file is not None
    )

    async def keys() -> frozenset[str]:
        return frozenset(reference.key for reference in document.references())

    settled = build_view(document, view.head, (), held, 0.0)
    return Retained(moment, (settled, view), named, moment, keys, view.head)


def settleable(commits: Sequence[CommitEntry], window: float, kept: int, large_kept: int) -> tuple[CommitEntry, ...]:
    """Return the first commits that are beyond both the number and the age that the log keeps (R10).

    Args:
        commits: The log, oldest first.
        window: Seconds that the log reaches back at least.
        kept: Commits that it holds at least.
        large_kept: Large changes among them at the most.
    """
    large = [place for place, commit in enumerate(commits) if commit.runs]
    beyond = max(len(commits) - kept, 1 + large[-large_kept - 1] if len(large) > large_kept else 0)
    if beyond <= 0:
        return ()
    bound = commits[-1].modified - window
    # Zero: the store tells no time, so the numbers have to do.
    return tuple(takewhile(lambda commit: commit.modified < bound or not commit.modified, commits[:beyond]))
