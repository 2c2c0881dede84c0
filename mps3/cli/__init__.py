"""The command line, ``mps3``: one file for each command, and in ``base/`` what the commands share.

It needs ``click`` and ``rich``, which ``pip install "mps3[cli]"`` installs, and loads them only when a command runs.
Commands use the public API and the doctor. No other room imports this one, and no rule of the protocol is here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments after the name of the program; ``None``: those of this process.

    Returns:
        The exit code; `mps3.cli.base.exits` lists them.
    """
    try:
        if missing := [name for name in ("click", "rich") if find_spec(name) is None]:
            message = f"mps3: the command line needs {' and '.join(missing)}: pip install 'mps3[cli]'"
            print(message, file=sys.stderr)  # noqa: T201
            return 3
        from .app import run  # noqa: PLC0415 - what it needs is an extra

        return run(arguments)
    except KeyboardInterrupt:
        return 130
