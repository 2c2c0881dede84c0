"""The group of all commands. A command is loaded when it is called, so that the others take no time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from .. import __version__
from .base.exits import BUG, INTERRUPTED, USAGE, explain
from .base.output import discard_output, report_bug, say, set_encodings

SECTIONS: Final = {
    "Values": {
        "get": "Print the value of a key.",
        "put": "Set a key.",
        "patch": "Change parts of a value.",
        "increment": "Add to a number.",
        "delete": "Delete keys.",
        "ls": "List keys.",
        "watch": "Show changes as they happen.",
    },
    "The past": {
        "log": "List the commits: who wrote what and when.",
        "history": "List the values that a key has had.",
        "restore": "Restore keys to an earlier state.",
    },
    "Everything": {
        "import": "Write many keys from JSON lines.",
        "export": "Write all keys as JSON lines.",
        "stat": "Count what is stored and what is garbage.",
        "gc": "Delete garbage.",
        "doctor": "Test what a bucket can do.",
    },
    "Getting started": {
        "demo": "Show two users of one live store.",
        "completion": "Print a script that makes a shell complete commands and keys.",
    },
}
"""The commands, and their lines in `mps3 --help`; fish shows a line up to its first comma."""
COMMANDS: Final = {name: text for section in SECTIONS.values() for name, text in section.items()}


class Commands(click.Group):
    """A group that loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command, if there is one of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name  # `import` is a keyword
        module = importlib.import_module(f".{name}", __package__)
        command: click.Command = module.command
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without loading them."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:10}", text) for name, text in commands.items()])


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Commands take the URL of a store as their first argument, or from MPS3_URL:
  s3://bucket/manifest.json?endpoint_url=…&region_name=…
  gs://bucket/manifest.json, az://container/manifest.json?account_name=…
  file:///some/directory
Credentials come from the environment and the profiles, as with other tools of each store.
On a terminal they print for people, into a pipe JSON lines.""",
)
@click.version_option(__version__, prog_name="mps3")
def app() -> None:
    """A shared, live, durable key-value store in a bucket."""


def run(arguments: Sequence[str] | None) -> int:
    """Run one command, print an error as one line, and return the exit code."""
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
    except Exception as error:  # noqa: BLE001 - users see no traceback
        known = explain(error)
        if known is None:
            report_bug(error)
            return BUG
        message, code = known
        say(message)
    return int(code or 0)
