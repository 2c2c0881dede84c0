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
from ...content.store import INLINE
from ...storage.locate import locate
from ...storage.obstore.provider import PROVIDERS
from ...storage.protocol import Storage
from ...storage.url import Location, check_endpoint, parse
from ...support.environment import Environment
from .output import Output, say, silence_log
from .positionals import no_store

_S3_OPTIONS: Final = {"profile": "profile_name", "endpoint_url": "endpoint_url", "region": "region_name"}
"""What the SDK calls the options for S3."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The context of a command.

    Attributes:
        location: The store.
        out: Where to print.
    """

    location: Location
    out: Output

    @asynccontextmanager
    async def client(
        self, *, poll_interval: float = 60.0, inline: int = INLINE, create: bool = False, announce: bool = False
    ) -> AsyncIterator[MPS3]:
        """Open a client of the store. Most commands read once, so it need not poll often.

        Args:
            poll_interval: Seconds between polls.
            inline: Bytes of the largest value that becomes part of its commit; 0 for none.
            create: Whether a directory may be created.
            announce: Whether to print a message when it is created.

        Raises:
            ConfigurationError: There is no such directory.
        """
        storage, where = self.storage(create=create, announce=announce), self.location
        async with MPS3(
            where.bucket, where.manifest, storage=storage, poll_interval=poll_interval, inline=inline
        ) as client:
            try:
                yield client
            except asyncio.CancelledError:
                # After Ctrl-C, do not wait until pending writes are sent, and do not report that they were not.
                silence_log()
                client.go_offline()
                raise

    def storage(self, *, create: bool, announce: bool = False) -> Storage:
        """Return the store. The arguments are as for `client`."""
        path = self.location.path
        if self.location.scheme == "file" and not os.path.isdir(path):  # noqa: PTH112 - it is a text
            if not create:
                raise ConfigurationError(f"there is no directory {path!r}; a write creates it")
            if announce:
                say(f"there was no directory {path!r}: it is created")
        return locate(self.location, Environment())


def store_options() -> list[click.Parameter]:
    """Return the options that all commands on a store have."""
    return [
        click.Option(["--json/--no-json"], default=None, help="Print JSON lines, or for people; else what fits."),
        click.Option(["--url"], help="The URL of the store; no argument is taken for one then."),
        click.Option(["--manifest"], metavar="KEY", help="Another manifest than the one in the URL."),
        click.Option(["--profile"], metavar="NAME", help="A profile of the AWS configuration."),
        click.Option(["--endpoint-url"], metavar="URL", help="The address of an S3 service other than AWS."),
        click.Option(["--region"], metavar="NAME", help="The region of the bucket."),
    ]


def command_context(url: str | None, given: Mapping[str, Any]) -> CommandContext:
    """Return the context of a command.

    Args:
        url: The URL of the store, if there is one.
        given: The values of `store_options`, by their names.

    Raises:
        click.UsageError: There is no URL, or the options do not fit.
        ConfigurationError: The URL is not one of a store.
    """
    if not url:
        raise no_store()
    location = parse(url)
    s3_config = {name: given[option] for option, name in _S3_OPTIONS.items() if given.get(option)}
    if "endpoint_url" in s3_config:
        check_endpoint(s3_config["endpoint_url"])
    if location.scheme in PROVIDERS and s3_config.keys() == {"endpoint_url"}:
        location = location.with_options(s3_config)
        s3_config = {}
    if s3_config and location.scheme != "s3":
        raise click.UsageError("--profile, --endpoint-url and --region are for stores on S3: s3://bucket")
    location = replace(
        location,
        s3_config={**location.s3_config, **s3_config},
        manifest=given.get("manifest") or location.manifest,
    )
    return CommandContext(location, Output(json=given.get("json")))
