"""Replay one history, or run many::

python -m tests.simulation 42                      # everything that happens in history 42
python -m tests.simulation --histories 10000       # 10,000 histories, and which of them went wrong
python -m tests.simulation --broken                # how fast each way to break the client is noticed
"""

from __future__ import annotations

import argparse
import sys
import time

from .breaks import BREAKS
from .runner import PROCESSES, find_first_violation, many, one, report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the history to replay")
    parser.add_argument("--histories", type=int, default=0, metavar="N", help="run so many")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed of many")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N")
    parser.add_argument("--unversioned", action="store_true", help="a bucket without versions: the conditional journal")
    parser.add_argument("--overdue", action="store_true", help="some writes are visible later than is assumed")
    parser.add_argument("--watch", action="store_true", help="every client watches everything")
    parser.add_argument("--durable", action="store_true", help="devices with a disk, that are killed and sleep")
    parser.add_argument("--collect", action="store_true", help="garbage is collected, as soon as can be")
    parser.add_argument("--expiring", action="store_true", help="some values expire")
    parser.add_argument("--transact", action="store_true", help="half of what clients do is transactions")
    parser.add_argument("--broken", nargs="?", const="all", help="break the client on purpose: " + ", ".join(BREAKS))
    parser.add_argument("--idle", action="store_true", help="show polls that found nothing new, too")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        result = one(
            arguments.seed,
            versioning=not arguments.unversioned,
            overdue=arguments.overdue,
            durable=arguments.durable,
            watch=arguments.watch,
            expiring=arguments.expiring,
            collect=arguments.collect or (arguments.broken in BREAKS and BREAKS[arguments.broken].collect),
            transact=arguments.transact,
            broken=arguments.broken,
        )
        print(report(result, idle=arguments.idle))
        return bool(result.violations)
    if arguments.broken:
        names = list(BREAKS) if arguments.broken == "all" else [arguments.broken]
        unnoticed = 0
        for name in names:
            started = time.monotonic()
            found = find_first_violation(name, most=arguments.histories or 500, first=arguments.first or None)
            seconds = time.monotonic() - started
            unnoticed += found is None
            what = "NOT NOTICED" if found is None else f"noticed by history {found[0]:3}: {found[1][0]}"
            print(f"{name:36} {seconds:5.1f} s  {what}", flush=True)
        return bool(unnoticed)
    totals = many(
        arguments.first,
        arguments.histories or 300,
        versioning=not arguments.unversioned,
        overdue=arguments.overdue,
        durable=arguments.durable,
        watch=arguments.watch,
        collect=arguments.collect,
        expiring=arguments.expiring,
        transact=arguments.transact,
        processes=arguments.processes,
        progress=lambda totals: print(f"\r{totals.histories} histories, {len(totals.wrong)} wrong", end="", flush=True),
    )
    print(f"\r{totals}")
    for seed, violations in totals.wrong[:10]:
        print(f"seed {seed}:", *violations[:3], sep="\n  ")
    return bool(totals.wrong)


if __name__ == "__main__":
    sys.exit(main())
