"""All commands. Each is loaded when it is called, so that the others cost no time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from .. import __version__
from .base.error_messages import explain
from .base.exits import BUG, INTERRUPTED, USAGE
from .base.output import discard_output, report_bug, say, set_encodings

COMMANDS: Final = {
    "get": "Print the value of a key.",
    "put": "Set a key.",
    "delete": "Delete keys.",
    "ls": "List keys.",
    "watch": "Show what changes as it happens.",
    "log": "List the commits: who wrote what and when.",
    "history": "Show what became of a key.",
    "restore": "Bring back what was.",
    "import": "Write many keys from JSON lines.",
    "export": "Write all keys as JSON lines.",
    "stat": "Count what is stored and what is garbage.",
    "gc": "Delete what nobody needs any more.",
    "doctor": "Try what a bucket can do.",
    "demo": "Show two users of one live store.",
    "completion": "Print what makes a shell complete commands and keys.",
}
"""Names, and what `mps3 --help` says of each; fish shows it up to the first comma."""
_MODULES: Final = {"import": "import_"}
_SECTIONS: Final = (
    ("Values", ("get", "put", "delete", "ls", "watch")),
    ("The past", ("log", "history", "restore")),
    ("Everything", ("import", "export", "stat", "gc", "doctor")),
    ("Getting started", ("demo", "completion")),
)


class Commands(click.Group):
    """Finds a command by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{_MODULES.get(cmd_name, cmd_name)}", __package__)
        command: click.Command = module.command
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List them without loading them."""
        for title, names in _SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(f"{name:10}", COMMANDS[name]) for name in names])


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Commands take the URL of a store as their first argument, or from MPS3_URL:
  s3://bucket/manifest.json?endpoint_url=…&region_name=…
  file:///some/directory
Credentials come from the environment and the profiles, as with other S3 tools.
On a terminal they print for people, into a pipe JSON lines.""",
)
@click.version_option(__version__, prog_name="mps3")
def app() -> None:
    """A shared, live, durable key-value store in a bucket."""


def run(arguments: Sequence[str] | None) -> int:
    """Run one command, and say in one line what went wrong, if anything did.

    Args:
        arguments: What follows the program's name; the process's own if ``None``.

    Returns:
        The exit code.
    """
    set_encodings()
    try:
        given = None if arguments is None else list(arguments)
        code = app.main(args=given, prog_name="mps3", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.ctx.get_help() if error.ctx else "", raw=True)
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mps3"
        say(f"{error.format_message().rstrip('.')} ({command} --help says more)")
        return USAGE
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return 0
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback
        known = explain(error)
        if known is None:
            report_bug(error)
            return BUG
        message, code = known
        say(message)
    return int(code or 0)
