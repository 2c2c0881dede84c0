"""Commands on a store."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import click

from .context import command_context, store_options
from .exits import INTERRUPTED
from .key_completion import complete_keys
from .output import discard_output, say, show_log
from .positionals import Positionals

Work: TypeAlias = Coroutine[Any, Any, int | None]


def store_command(
    usage: str = "", kind: type[click.Command] = click.Command, *, help_text: str | None = None, creates: bool = False
) -> Callable[[Callable[..., Work]], click.Command]:
    """Make a command on a store from an async function of a `CommandContext`, the arguments and the options.

    Args:
        usage: The arguments besides the URL: ``KEY [VALUE]``, ``[PREFIX]``, ``KEY...``.
        kind: The class of the command.
        help_text: What ``--help`` says, if that is more than the docstring of the function.
        creates: Whether a key that does not exist is created. Then a URL is never taken for the key.
    """
    takes = Positionals.read(usage, creates=creates)
    common = {str(option.name) for option in store_options()}

    def decorate(function: Callable[..., Work]) -> click.Command:
        def invoke(words: tuple[str, ...], **given: Any) -> int | None:
            url, named = takes.split(words, given["url"])
            context = command_context(url, given)
            return perform(function(context, **named, **{name: given[name] for name in given.keys() - common}))

        words = click.Argument(
            ["words"],
            nargs=-1,
            metavar=f"[URL] {usage}".rstrip(),
            shell_complete=lambda ctx, _, incomplete: complete_keys(takes, ctx, incomplete),
        )
        own = list(reversed(getattr(function, "__click_params__", [])))
        return kind(
            function.__name__,
            params=[words, *own, *store_options()],
            callback=invoke,
            help=inspect.getdoc(function) if help_text is None else help_text,
        )

    return decorate


def perform(work: Work) -> int | None:
    """Run something to its end, or to Ctrl-C."""
    show_log()
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            say("", raw=True)  # so that the prompt comes on a line of its own
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        discard_output()
        raise click.exceptions.Exit(0) from None
