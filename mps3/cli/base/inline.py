"""The option ``--inline`` of commands that write values."""

from __future__ import annotations

from typing import Final

import click

from ...content.store import INLINE
from ...format import limits

inline_option: Final = click.option(
    "--inline",
    type=click.IntRange(0, limits.INLINE),
    default=INLINE,
    metavar="BYTES",
    help=f"The largest value, as JSON, that becomes part of its commit ({INLINE:,}); 0: none.",
)
