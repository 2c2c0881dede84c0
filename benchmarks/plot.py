"""The plot of `docs/performance.md`: cost against the number of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from former import KEYS
from matplotlib.figure import Figure
from page import whole_manifest
from results import Results


@contextmanager
def _panels(target: Path, size: tuple[float, float], titles: Sequence[str], **options: Any) -> Iterator[Sequence[Any]]:
    """Panels beside each other, which are written as an SVG that needs nothing else."""
    # The same results make the same bytes.
    with mpl.rc_context({"svg.hashsalt": "mps3", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(titles), **options)
        yield panels
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title)
            panel.set_xlabel("keys in the manifest")
            panel.grid(visible=True, which="major", alpha=0.3)
        panels[0].legend(loc="upper left")
        figure.savefig(target, format="svg", metadata={"Date": None})


def draw(results: Results, target: Path) -> None:
    """Write the plot as an SVG that needs nothing else.

    Args:
        results: What was found.
        target: Where to.
    """
    titles = "a put of one key: bytes sent and received", "another client hears of it: bytes received"
    with _panels(target, (9, 4), titles, sharey=True) as panels:
        for panel, scenario in zip(panels, ("put", "change"), strict=True):
            for journal, style in (("log", "o-"), ("merge", "s--")):
                found = sorted(results.all(scenario, journal=journal), key=lambda row: row.keys)
                if found:
                    panel.loglog(
                        [row.keys for row in found],
                        [row.bytes_each for row in found],
                        style,
                        label=f"mps3, {journal} journal (measured)",
                    )
            sizes = sorted({row.keys for row in results.all(scenario)})
            panel.loglog(
                sizes,
                [whole_manifest(size) for size in sizes],
                ":",
                color="grey",
                label="the whole manifest (computed)",
            )
        panels[0].set_ylabel("bytes")


def draw_keys(results: Results, target: Path) -> None:
    """Write the plot of opening, and of the memory that it takes, before the blocks and now.

    Args:
        results: What was found.
        target: Where to.
    """
    titles = "opening: bytes received", "opening: requests", "open, one key read: MB of memory"
    with _panels(target, (11, 3.6), titles) as panels:
        for journal, color in (("log", "tab:blue"), ("merge", "tab:orange")):
            opened = sorted(results.all("opening", journal=journal), key=lambda row: row.keys)
            held = sorted(results.all("memory of one key", journal=journal), key=lambda row: row.keys)
            keys = [row.keys for row in opened]
            now = (
                (keys, [row.tally.select().down for row in opened]),
                (keys, [row.tally.count() for row in opened]),
                ([row.keys for row in held], [row.facts["MB"] for row in held]),
            )
            openings = [one for one in KEYS if (one.scenario, one.journal) == ("opening", journal)]
            memories = [one for one in KEYS if (one.scenario, one.journal) == ("memory of one key", journal)]
            before = (
                ([one.keys for one in openings], [one.down for one in openings]),
                ([one.keys for one in openings], [one.requests for one in openings]),
                ([one.keys for one in memories], [one.megabytes for one in memories]),
            )
            for panel, measured, old in zip(panels, now, before, strict=True):
                if measured[0]:
                    panel.loglog(*measured, "o-", color=color, label=f"{journal} journal")
                panel.loglog(*old, "x:", color=color, label=f"{journal} journal, before")
        panels[2].set_yscale("symlog", linthresh=1)
