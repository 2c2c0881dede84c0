"""Commands on a store."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import click

from .context import command_context, options
from .exits import INTERRUPTED
from .key_completion import complete_keys
from .output import discard_output, say, show_log
from .positionals import Positionals

Function: TypeAlias = Callable[..., Awaitable[int | None]]


def store_command(usage: str = "", kind: type[click.Command] = click.Command) -> Callable[[Function], click.Command]:
    """A command on a store, from an async function that is given a `CommandContext`, its words and its options.

    Args:
        usage: What it takes besides the URL: ``KEY [VALUE]``, ``[PREFIX]``, ``KEY...``.
        kind: Of click's command.
    """
    takes = Positionals.read(usage)
    common = {str(option.name) for option in options()}

    def decorate(function: Function) -> click.Command:
        def invoke(words: tuple[str, ...], **given: Any) -> int | None:
            url, named = takes.split(words, given["url"])
            context = command_context(url, given)
            return perform(function(context, **named, **{name: given[name] for name in given.keys() - common}))

        own = list(reversed(getattr(function, "__click_params__", [])))
        return kind(
            function.__name__,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            params=[_words(usage, takes), *own, *options()],
            callback=invoke,
            help=inspect.getdoc(function),
        )

    return decorate


def perform(work: Awaitable[int | None]) -> int | None:
    """Run something to its end, or to Ctrl-C."""

    async def main() -> int | None:
        return await work

    show_log()
    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            say("", raw=True)  # the prompt comes on a line of its own
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        discard_output()
        raise click.exceptions.Exit(0) from None


def _words(usage: str, takes: Positionals) -> click.Argument:
    return click.Argument(
        ["words"],
        nargs=-1,
        metavar=f"[URL] {usage}".rstrip(),
        shell_complete=lambda ctx, _, incomplete: complete_keys(takes, ctx, incomplete),
    )
