"""What several runs say together, a range of keys at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .block import expires_in, line_of
from .run import Run

_DELETED = b",null]"


def merged_lines(
    runs: Sequence[Run],
    start: str = "",
    stop: str | None = None,
    *,
    oldest: bool,
    expired: float | None = None,
) -> tuple[list[str], list[bytes]]:
    """Return the keys that several runs speak of together, in order, and their lines.

    Args:
        runs: One over the other, the newest last.
        start: Only of keys from this one on.
        stop: Only of keys that are less than this one.
        oldest: Whether nothing lies under them, so that deleted keys need not be mentioned.
        expired: Keys that expired until then are deleted, in seconds since 1970; ``None``: none are.

    Raises:
        NotAtHandError: What is needed of them is not at hand.
    """
    layers = [run.lines(start, stop) for run in runs if run.overlaps(start, stop)]
    if len(layers) == 1:
        ((names, lines),) = layers
    else:
        said: dict[str, bytes] = {}
        for some, of_them in layers:
            said.update(zip(some, of_them, strict=True))
        # They are in order piece by piece, which the sort makes use of.
        names = sorted(said)
        lines = list(map(said.__getitem__, names))
    if expired is not None:
        lines = [
            line_of(name, None) if _is_over(line, expired) else line for name, line in zip(names, lines, strict=True)
        ]
    if oldest and any(line.endswith(_DELETED) for line in lines):
        kept = [place for place, line in enumerate(lines) if not line.endswith(_DELETED)]
        names, lines = [names[place] for place in kept], [lines[place] for place in kept]
    return names, lines


def _is_over(line: bytes, expired: float) -> bool:
    moment = expires_in(line)
    return moment is not None and moment <= expired
