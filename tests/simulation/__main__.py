"""Replay one history, or run many::

python -m tests.simulation 42                      # everything that happens in history 42
python -m tests.simulation --histories 10000       # 10,000 histories, and which of them went wrong
python -m tests.simulation --broken                # how fast each way to break the client is noticed
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from .breaks import BREAKS
from .kinds import FLAGS, Kind
from .runner import PROCESSES, find_first_violation, many, one, report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the history to replay")
    parser.add_argument("--histories", type=int, default=0, metavar="N", help="run so many")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed of many")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N")
    parser.add_argument("--unversioned", action="store_true", help="a bucket without versions: the log journal")
    for name, meaning in FLAGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--broken", nargs="?", const="all", help="break the client on purpose: " + ", ".join(BREAKS))
    parser.add_argument("--whole", action="store_true", help="do not break it after all: the history must be good")
    parser.add_argument("--idle", action="store_true", help="show polls that found nothing new, too")
    arguments = parser.parse_args()
    if arguments.whole and (arguments.broken is None or arguments.seed is None):
        parser.error("--whole: give a seed, and --broken")
    if arguments.broken not in (None, *BREAKS) and (arguments.broken != "all" or arguments.seed is not None):
        parser.error(f"--broken={arguments.broken}: give one of {', '.join(BREAKS)}")
    kind = Kind(versioning=not arguments.unversioned, **{name: getattr(arguments, name) for name in FLAGS})
    if arguments.seed is not None:
        if arguments.broken:
            collect = kind.collect or BREAKS[arguments.broken].collect
            kind = replace(kind, broken=arguments.broken, collect=collect, whole=arguments.whole)
        result = one(arguments.seed, kind)
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
        kind,
        processes=arguments.processes,
        progress=lambda totals: print(f"\r{totals.histories} histories, {len(totals.wrong)} wrong", end="", flush=True),
    )
    print(f"\r{totals}")
    for seed, violations in totals.wrong[:10]:
        print(f"seed {seed}:", *violations[:3], sep="\n  ")
    return bool(totals.wrong)


if __name__ == "__main__":
    sys.exit(main())
