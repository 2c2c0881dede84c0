"""What collecting leaves alone of a manifest with the conditional journal."""

from __future__ import annotations

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
