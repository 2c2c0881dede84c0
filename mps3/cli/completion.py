"""``mps3 completion``."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Final

import click
from click.shell_completion import get_completion_class

_SHELLS: Final = ("bash", "zsh", "fish")
_HELP: Final = """Print a script that makes a shell complete commands, options and keys.

\b
bash:  mps3 completion bash > ~/.local/share/bash-completion/completions/mps3
zsh:   mps3 completion zsh > ~/.zfunc/_mps3   (and fpath+=~/.zfunc before compinit in ~/.zshrc)
fish:  mps3 completion fish > ~/.config/fish/completions/mps3.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def command(shell: str | None) -> None:
    """Print the completion script of a shell."""
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise click.UsageError(f"which shell? {', '.join(_SHELLS)}")
    kind = get_completion_class(name)
    root = click.get_current_context().find_root().command
    assert kind is not None  # noqa: S101 - click knows these shells
    click.echo(kind(root, {}, "mps3", "_MPS3_COMPLETE").source())
