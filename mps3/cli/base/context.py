"""The context of a command: its store, the options that select it, and its output."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from ... import MPS3, ConfigurationError
from ...storage.locate import locate
from ...storage.protocol import Storage
from ...storage.url import Location, check_endpoint, parse
from ...support.environment import Environment
from .output import Output, say, silence_log
from .positionals import no_store

_S3: Final = {"profile_name": "profile", "endpoint_url": "endpoint_url", "region_name": "region"}
"""What the SDK is told by which option."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What every command is given.

    Attributes:
        location: Which store.
        out: Where to print.
    """

    location: Location
    out: Output

    @asynccontextmanager
    async def client(
        self, *, poll_interval: float = 60.0, create: bool = False, announce: bool = False
    ) -> AsyncIterator[MPS3]:
        """A client of the store. One that looks by itself need not poll often.

        Args:
            poll_interval: Seconds between polls.
            create: Whether a directory may be created.
            announce: Whether to print a message when it is created.

        Raises:
            ConfigurationError: There is no such directory.
        """
        storage, where = self.storage(create=create, announce=announce), self.location
        async with MPS3(where.bucket, where.manifest, storage=storage, poll_interval=poll_interval) as client:
            try:
                yield client
            except asyncio.CancelledError:
                # Whoever presses Ctrl-C does not want to wait until everything is sent, nor hear that it was not.
                silence_log()
                client.go_offline()
                raise

    def storage(self, *, create: bool, announce: bool = False) -> Storage:
        """The same, without a client."""
        path = self.location.path
        if self.location.scheme == "file" and not os.path.isdir(path):  # noqa: PTH112 - it is a text
            if not create:
                raise ConfigurationError(f"there is no directory {path!r}; writing to it makes one")
            if announce:
                say(f"there was no directory {path!r}: it is made")
        return locate(self.location, Environment())


def options() -> list[click.Parameter]:
    """The options that say which store, and how to print."""
    return [
        click.Option(["--json/--no-json"], default=None, help="Print JSON lines, or for people; else what fits."),
        click.Option(["--url"], help="The URL of the store; no argument is taken for one then."),
        click.Option(["--manifest"], metavar="KEY", help="Another manifest than the one in the URL."),
        click.Option(["--profile"], metavar="NAME", help="A profile of the AWS configuration."),
        click.Option(["--endpoint-url"], metavar="URL", help="The address of an S3 service other than AWS."),
        click.Option(["--region"], metavar="NAME", help="The region of the bucket."),
    ]


def command_context(url: str | None, given: Mapping[str, Any]) -> CommandContext:
    """What a command is given.

    Args:
        url: Of the store; ``None`` if nobody gave one.
        given: The values of `options`, by their names.

    Raises:
        click.UsageError: There is no URL, or the options do not fit.
        ConfigurationError: The URL is not one of a store.
    """
    s3 = {name: given.get(option) for name, option in _S3.items()}
    return CommandContext(_location(url, given.get("manifest"), s3), Output(json=given.get("json")))


def _location(url: str | None, manifest: str | None, s3: Mapping[str, str | None]) -> Location:
    if not url:
        raise no_store()
    location = parse(url)
    given = {name: value for name, value in s3.items() if value}
    if "endpoint_url" in given:
        check_endpoint(str(given["endpoint_url"]))
    if given and location.scheme != "s3":
        raise click.UsageError("--profile, --endpoint-url and --region are for stores on S3: s3://bucket")
    location = replace(location, s3_config={**location.s3_config, **given})
    return replace(location, manifest=manifest) if manifest else location
