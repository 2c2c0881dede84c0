"""``mps3 demo``."""

from __future__ import annotations

import sys

import click

from .base.command import perform
from .base.point_in_time import Seconds

_HELP = """Show two users of one live store, which is in memory: nothing has to be set up.

On a terminal Ann and Bob run after stars, and each has a client of their own, which sees the other's. Elsewhere it
prints a transcript of what such clients do.
"""


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--seconds", type=Seconds(), default=30.0, help="How long it takes (30).")
@click.option("--transcript", is_flag=True, help="The transcript, on a terminal too.")
def command(seconds: float, *, transcript: bool) -> int | None:
    """Show two users of one live store."""
    if transcript or not sys.stdout.isatty():
        from .demonstration.transcript import tell  # noqa: PLC0415 - one of the two is needed

        return perform(tell(sys.stdout))
    from .demonstration.game import play  # noqa: PLC0415

    return perform(play(seconds))
