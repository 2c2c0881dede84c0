"""The options of commands that write one key: when to write, and for how long."""

from __future__ import annotations

from typing import Final

import click

from ... import UNCHECKED
from ...types import Unchecked
from .point_in_time import SECONDS

if_version_option: Final = click.option(
    "--if-version", metavar="VERSION", help="Only if this is the version now; mps3 ls -l shows them."
)
if_absent_option: Final = click.option("--if-absent", is_flag=True, help="Only if there is no such key.")
kept_expiry_option: Final = click.option(
    "--expires-in",
    type=SECONDS,
    metavar="SECONDS",
    help="The time after which the key expires; without it, it keeps its expiry.",
)


def expected_version(if_version: str | None, *, if_absent: bool) -> str | Unchecked | None:
    """Return what the options say of the version of the key, as ``if_version`` of `mps3.MPS3.put`.

    Raises:
        click.UsageError: Both are given.
    """
    if if_absent and if_version is not None:
        raise click.UsageError("--if-version and --if-absent exclude each other")
    if if_absent:
        return None
    return UNCHECKED if if_version is None else if_version
