"""What mps3 costs, and whether that is within its bars: ``nox -s benchmarks``, or ``python benchmarks --quick``.

Without an endpoint, what needs one is not measured. Credentials come from where other S3 tools have them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
if str(HERE.parent / "tests") not in sys.path:
    sys.path.append(str(HERE.parent / "tests"))  # the proxy, and the loop with virtual time

import keys_page  # noqa: E402
from bars import bars  # noqa: E402
from meter import LATENCY  # noqa: E402
from page import parts, write  # noqa: E402
from suite import GROUPS, QUICK, Plan, Suite  # noqa: E402
from wire import Server  # noqa: E402

PAGE = HERE.parent / "docs" / "performance.md"


def main() -> int:
    """Run it; the exit code says whether all bars are held, if asked."""
    options = _options()
    plan = QUICK if options.quick else Plan()
    if options.limit:
        plan = replace(plan, limit=options.limit)
    server = Server(options.endpoint, options.region) if options.endpoint else None
    store = options.store or (asyncio.run(_name(server)) if server else "nothing")
    began = time.monotonic()
    gc.set_threshold(100_000, 50, 100)  # a store of a million objects lives in this process
    results = Suite(plan, server, options.latency, options.only or GROUPS).run()
    judged = bars(results, plan.sizes[-1], plan.huge)
    print()
    for bar in judged:
        for journal, finding in bar.found.items():
            if finding.judged or finding.holds is not None:
                print(f"{finding.verdict or 'not judged':>14}: {bar.what} ({journal}): {finding.measured}")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    if options.page:
        command = shlex.join(["nox", "-s", "benchmarks", "--", *_shown(sys.argv[1:])])
        said = parts(results, judged, command=command.removesuffix(" --"), store=store, latency=options.latency)
        if options.note:
            said["about"] += f"\n\n{options.note}"
        from plot import draw, draw_keys  # noqa: PLC0415 - needs matplotlib, which nothing else does

        if options.only == ["keys"]:
            said = {name: said[name] for name in keys_page.PARTS}
        else:
            draw(results, options.page.with_suffix(".svg"))
        write(options.page, said)
        draw_keys(results, options.page.with_name(f"{options.page.stem}-keys.svg"))
    return int(options.strict and not all(bar.holds for bar in judged))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoint", help="an S3 server, http://host:port")
    parser.add_argument("--store", help="what the page is to call it, if it does not say so itself")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds added to a request (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="fewer keys and fewer rounds; does not write the page")
    parser.add_argument("--only", action="append", choices=GROUPS, help="only these scenarios; does not write the page")
    parser.add_argument("--limit", type=float, help="seconds that a scenario may take, but for loading (400, or 200)")
    parser.add_argument(
        "--page",
        type=Path,
        help=f"the page to write ({PAGE.name}, if all is measured; with `--only keys` only the parts about those)",
    )
    parser.add_argument("--note", help="what the page is to say of this run besides")
    parser.add_argument("--strict", action="store_true", help="fail if a bar is missed, or was not measured")
    options = parser.parse_args()
    if options.page is None and not (options.quick or options.only):
        options.page = PAGE
    return options


async def _name(server: Server) -> str:
    """What the server says of itself."""
    async with server.raw() as s3:
        answer = await s3.list_buckets()
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("server", "a server that does not say what it is"))


def _shown(arguments: list[str]) -> list[str]:
    """The arguments without the address of somebody's server."""
    shown = list(arguments)
    for place, argument in enumerate(shown):
        if argument.startswith("--endpoint="):
            shown[place] = "--endpoint=URL"
        elif argument == "--endpoint" and place + 1 < len(shown):
            shown[place + 1] = "URL"
    return shown


if __name__ == "__main__":
    sys.exit(main())
