"""Install a server, start it, and examine it: ``nox -s store -- seaweedfs``; ``--up`` only starts it."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from servers import Server

from stores import modules, store
from stores.base import StoreServer, Unavailable
from stores.exam.paper import EVERYDAY, PARTS, WHOLE, examine
from stores.exam.record import keep
from stores.exam.suite import environment, run_tests


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="nox -s store --", description=__doc__)
    parser.add_argument("name", choices=modules(), help="the server")
    parser.add_argument("--up", action="store_true", help="only start it, and say how to reach it, until Ctrl-C")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="some of " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a little of each part")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults of the network")
    parser.add_argument("--write", action="store_true", help="keep the result where the doctor finds it")
    parser.add_argument("--data", type=Path, help="a directory for the server's data, which is kept")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := {*parts} - {*PARTS}:
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(PARTS)}")
    if arguments.write and ({*parts} != {*PARTS} or arguments.quick):
        parser.error("--write: only the whole exam is kept")
    server = store(arguments.name)
    try:
        server.install()
    except Unavailable as error:
        print(f"{server.name} cannot be had here: {error}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        directory = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mps3-store-")))
        address = stack.enter_context(server.running(directory))
        if arguments.up:
            return show(server, address)
        size = EVERYDAY if arguments.quick else WHOLE
        result = asyncio.run(
            examine(
                address,
                versioning=server.versioning,
                weaknesses=server.weaknesses,
                size=size,
                parts=parts,
                seed=arguments.seed,
            )
        )
        ready = any(bucket.get("doctor", {}).get("ready") for bucket in result["buckets"].values())
        if "tests" in parts and ready:
            result["tests"] = run_tests(address, arguments.name)
            result["problems"] += [f"tests: {problem}" for problem in result["tests"]["problems"]]
    tried = {
        "version": server.version,
        "source": server.source,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": f"nox -s store -- {arguments.name}",
        "weaknesses": dict(server.weaknesses),
        **result,
    }
    print(json.dumps({"name": server.name, **tried}, indent=2))
    if arguments.write:
        print(f"kept in {keep(server, tried)}", file=sys.stderr)
    for problem in result["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    return bool(result["problems"])


def show(server: StoreServer, address: Server) -> int:
    """Say how to reach it, in words for a shell, until Ctrl-C."""
    settings: dict[str, Any] = {
        **environment(address, server.module),
        "AWS_ENDPOINT_URL": address.url,
        "AWS_ACCESS_KEY_ID": address.access_key,
        "AWS_SECRET_ACCESS_KEY": address.secret_key,
        "AWS_REGION": address.region,
    }
    print(f"# {server.name} {server.version}, until Ctrl-C")
    for name, value in settings.items():
        print(f"export {name}={value}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
