"""``mps3 demo``."""

from __future__ import annotations

import sys

import click

from .base.command import perform
from .base.point_in_time import SECONDS

_HELP = """Show two users of one live store in memory. It needs no setup.

On a terminal it is a game: Ann and Bob collect stars, and each pane shows the state of one client. Elsewhere it prints
a transcript of two clients.
"""


@click.command(help=_HELP)
@click.option("--seconds", type=SECONDS, default=30.0, help="How long it takes (30).")
@click.option("--transcript", is_flag=True, help="The transcript, on a terminal too.")
def command(seconds: float, *, transcript: bool) -> int | None:
    """Show the game or the transcript."""
    if transcript or not sys.stdout.isatty():
        from .demonstration.transcript import print_transcript  # noqa: PLC0415 - one of the two is needed

        return perform(print_transcript(sys.stdout))
    from .demonstration.game import play  # noqa: PLC0415

    return perform(play(seconds))
