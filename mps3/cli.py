"""The command line."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from .client import MPS3, storage_of
from .collect.command import add_arguments, as_json, check_arguments, gc, report
from .doctor import Diagnosis, diagnose
from .errors import MPS3Error
from .url import parse
from .world import World

_MARKS = {True: "ok  ", False: "FAIL", None: "-   "}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows the program's name; the process's own if ``None``.

    Returns:
        The exit code: 0, or 1 if something is wrong, or 2 if the call is.
    """
    parser = argparse.ArgumentParser(prog="mps3", description="A multiplayer key-value store in a bucket.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="try what a bucket can do, and say how it would be used")
    doctor.add_argument("url", help="s3://bucket/manifest.json?endpoint_url=…, file:///some/dir or memory:")
    doctor.add_argument("--journal", choices=("auto", "merge", "conditional"), default="auto")
    doctor.add_argument("--poll-interval", type=float, default=1.0, metavar="SECONDS", help="for the cost of polling")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    collector = commands.add_parser("gc", help="delete what no state of a manifest names any more")
    add_arguments(collector)
    options = parser.parse_args(arguments)
    try:
        if options.command == "doctor":
            if not 0 < options.poll_interval < math.inf:
                doctor.error("--poll-interval is a positive number of seconds")
            found = asyncio.run(_doctor(options))
            return _print(_json(found) if options.json else _report(found), good=found.healthy)
        try:
            check_arguments(options)
        except ValueError as error:
            collector.error(str(error))
        return _gc(options)
    except MPS3Error as error:
        print(f"mps3: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


def _print(text: str, *, good: bool) -> int:
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        # Whoever reads has seen enough. The interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if good else 1


def _gc(options: argparse.Namespace) -> int:
    # It looks for itself, and need not poll.
    found = asyncio.run(gc(MPS3.from_url(options.url, poll_interval=60.0), options))
    if found.since is None:
        print("mps3: there is no such manifest, so nobody knows what is needed", file=sys.stderr)  # noqa: T201
        return 1
    return _print(as_json(found) if options.json else report(found), good=True)


async def _doctor(options: argparse.Namespace) -> Diagnosis:
    location, world = parse(options.url), World()
    storage = storage_of(location, world)
    try:
        await storage.open()
        return await diagnose(
            storage,
            location.bucket,
            location.manifest,
            journal=options.journal,
            poll_interval=options.poll_interval,
            world=world,
        )
    finally:
        await storage.aclose()


def _json(found: Diagnosis) -> str:
    members = asdict(found) | {"healthy": found.healthy, "policy": orjson.loads(found.policy)}
    return orjson.dumps(members, option=orjson.OPT_INDENT_2).decode()


def _report(found: Diagnosis) -> str:
    width = max(len(finding.what) for finding in found.findings)
    lines = [f"vendor: {found.vendor}", *found.notes, ""] if found.vendor else []
    lines += [f"{_MARKS[finding.good]}  {finding.what:{width}}  {finding.result}" for finding in found.findings]
    costs = ", ".join(f"{1000 * cost:.4f} ({journal})" for journal, cost in found.cost_of_change.items())
    lines += [
        "",
        f"polling: about ${found.monthly_cost:.2f} a month for each client while nothing happens, with either journal,",
        f"and ${costs} for each client that sees a thousand changes, at AWS's prices",
        "the least that an IAM policy has to allow:",
        found.policy,
        "",
        f"{'ready for' if found.healthy else 'not ready'}" + (f" the {found.journal} journal" if found.healthy else ""),
    ]
    return "\n".join(lines)
