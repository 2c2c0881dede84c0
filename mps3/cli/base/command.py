"""Commands on a store: which one, with which credentials, and how to print."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from ... import MPS3, ConfigurationError
from ...client import storage_of
from ...storage import Storage
from ...url import Location, parse
from ...world import World
from .exits import INTERRUPTED
from .output import Output, hush_log, ignore_reader, say, show_log

Function: TypeAlias = Callable[..., Awaitable[int | None]]

_SCHEMES: Final = ("s3:", "file:", "memory:")
_FORMS: Final = "s3://bucket/manifest.json or file:///some/directory"
_PATIENCE: Final = 3.0
"""Seconds that somebody who presses TAB may have to wait."""
_MOST: Final = 200
"""Keys that are offered."""


@dataclass(frozen=True, slots=True)
class Call:
    """What every command is given.

    Attributes:
        location: Which store.
        out: Where to print.
    """

    location: Location
    out: Output

    @asynccontextmanager
    async def client(self, *, poll_interval: float = 60.0, makes: bool = False) -> AsyncIterator[MPS3]:
        """A client of the store. One that looks by itself need not poll often.

        Args:
            poll_interval: Seconds between polls.
            makes: Whether a directory may be made.

        Raises:
            ConfigurationError: There is no such directory.
        """
        storage, where = self.storage(makes=makes), self.location
        async with MPS3(where.bucket, where.manifest, storage=storage, poll_interval=poll_interval) as client:
            try:
                yield client
            except asyncio.CancelledError:
                # Whoever presses Ctrl-C does not want to wait until everything is sent, nor hear that it was not.
                hush_log()
                client.go_offline()
                raise

    def storage(self, *, makes: bool) -> Storage:
        """The same, without a client."""
        path = self.location.path
        if not makes and self.location.scheme == "file" and not os.path.isdir(path):  # noqa: PTH112 - it is a text
            raise ConfigurationError(f"there is no directory {path!r}; writing to it makes one")
        return storage_of(self.location, World())


@dataclass(frozen=True, slots=True)
class Words:
    """What a command takes besides the URL of the store, as in ``KEY [VALUE]`` or ``KEY...``.

    Attributes:
        needed: Names of those that must be there.
        optional: Names of those that may follow.
        many: Whether the last one may be repeated; it is a list then.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    many: bool

    @classmethod
    def read(cls, usage: str) -> Words:
        """Read what stands in the line about the usage."""
        parts = usage.split()
        many = usage.endswith("...")
        names = [part.strip("[].").lower() for part in parts]
        needed = sum(not part.startswith("[") for part in parts)
        return cls(tuple(names[:needed]), tuple(names[needed:]), many)

    def split(self, words: Sequence[str], url: str | None) -> tuple[str | None, dict[str, Any]]:
        """Tell the URL from the others.

        The first word is the URL if it looks like one, unless that was given as an option; or unless it is needed
        for something else, and the environment has the URL. Where nothing else can stand, it is one anyway.

        Args:
            words: As they were given.
            url: Given as an option.

        Raises:
            click.UsageError: There are too few, or too many.
        """
        left = list(words)
        default = os.environ.get("MPS3_URL")
        if url is None and left:
            spare = len(left) > len(self.needed) or not default
            alone = not self.needed and not self.optional
            if alone or (left[0].startswith(_SCHEMES) and spare):
                url = left.pop(0)
        if url is None:
            url = default
        if len(left) < len(self.needed):
            missing = " and ".join(name.upper() for name in self.needed[len(left) :])
            raise click.UsageError(f"{missing} is missing")
        names = self.needed + self.optional
        if len(left) > len(names) and not self.many:
            if url is None:
                raise click.UsageError(_no_store())
            raise click.UsageError(f"nobody knows what {left[len(names)]!r} means here")
        found: dict[str, Any] = dict.fromkeys(names)
        found.update(zip(names, left, strict=False))
        if self.many:
            found[names[-1]] = left[len(names) - 1 :]
        return url, found


def _no_store() -> str:
    return f"which store? Its URL comes first, or is in MPS3_URL: {_FORMS}"


def _location(url: str | None, manifest: str | None, s3: dict[str, str | None]) -> Location:
    if not url:
        raise click.UsageError(_no_store())
    location = parse(url)
    given = {name: value for name, value in s3.items() if value}
    if given and location.scheme != "s3":
        raise click.UsageError("--profile, --endpoint-url and --region are for stores on S3: s3://bucket")
    location = replace(location, s3_config={**location.s3_config, **given})
    return replace(location, manifest=manifest) if manifest else location


def store_command(usage: str = "", kind: type[click.Command] = click.Command) -> Callable[[Function], click.Command]:
    """A command on a store, from an async function that is given a `Call`, its words and its options.

    Args:
        usage: What it takes besides the URL: ``KEY [VALUE]``, ``[PREFIX]``, ``KEY...``.
        kind: Of click's command.
    """
    takes = Words.read(usage)

    def decorate(function: Function) -> click.Command:
        def invoke(
            words: tuple[str, ...],
            url: str | None,
            manifest: str | None,
            profile: str | None,
            endpoint_url: str | None,
            region: str | None,
            json: bool | None,  # noqa: FBT001 - click passes it by name
            **options: Any,
        ) -> int | None:
            found, named = takes.split(words, url)
            s3 = {"profile_name": profile, "endpoint_url": endpoint_url, "region_name": region}
            call = Call(_location(found, manifest, s3), Output(json=json))
            return perform(function(call, **named, **options))

        own = list(reversed(getattr(function, "__click_params__", [])))
        return kind(
            function.__name__,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            params=[_words(usage, takes), *own, *_options()],
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
        ignore_reader()
        raise click.exceptions.Exit(0) from None


def _words(usage: str, takes: Words) -> click.Argument:
    return click.Argument(
        ["words"], nargs=-1, metavar=f"[URL] {usage}".rstrip(), shell_complete=lambda *given: _complete(takes, *given)
    )


def _options() -> list[click.Parameter]:
    return [
        click.Option(["--json/--no-json"], default=None, help="Print JSON lines, or for people; else what fits."),
        click.Option(["--url"], help="The URL of the store; no argument is taken for one then."),
        click.Option(["--manifest"], metavar="KEY", help="Another manifest than the one in the URL."),
        click.Option(["--profile"], metavar="NAME", help="A profile of the AWS configuration."),
        click.Option(["--endpoint-url"], metavar="URL", help="The address of an S3 service other than AWS."),
        click.Option(["--region"], metavar="NAME", help="The region of the bucket."),
    ]


def _complete(takes: Words, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys, where a key or a prefix stands; nothing at all if anything goes wrong."""
    del param
    given = ctx.params
    try:
        words = rejoined([*(given.get("words") or ()), incomplete])
        url, named = takes.split(words, given.get("url"))
        last = next(reversed([name for name, value in named.items() if value]), None)
        if last not in ("key", "keys", "prefix") and not (last is None and not incomplete):
            return []
        s3 = {
            "profile_name": given.get("profile"),
            "endpoint_url": given.get("endpoint_url"),
            "region_name": given.get("region"),
        }
        call = Call(_location(url, given.get("manifest"), s3), Output(json=True))
        return [CompletionItem(key) for key in asyncio.run(_keys(call, incomplete))]
    except Exception:  # noqa: BLE001 - whoever presses TAB wants no lecture
        return []


def rejoined(words: Sequence[str]) -> list[str]:
    """Words in which URLs are whole again: bash takes them apart at each ``:`` and ``=``. Pure."""
    found: list[str] = []
    for word in words:
        before = found[-1] if found else ""
        begun = f"{before}:" in _SCHEMES and word == ":"
        in_url = before.startswith(_SCHEMES) and (word == "=" or before.endswith((":", "=")))
        if begun or in_url:
            found[-1] += word
        else:
            found.append(word)
    return found


async def _keys(call: Call, prefix: str) -> list[str]:
    async with asyncio.timeout(_PATIENCE), call.client() as client:
        return (await client.keys(prefix))[:_MOST]
