"""The command line of what is fuzzed: every try has a seed of its own, which is said where something unexpected happens."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable


def fuzz(
    description: str | None, what: str, try_some: Callable[[random.Random, int], Iterable[str]], *, each: int = 1
) -> int:
    """Try as many documents as the command line says, and print what became of them.

    Args:
        description: What it is about.
        what: What the documents are called.
        try_some: Tries some of them, given the dice and the number of the first, and returns what became of each.
        each: How many it tries at once.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for number in range(0, options.documents, each):
        seed = f"{options.seed} {number}"
        try:
            counts.update(try_some(random.Random(seed), number))
        except Exception:
            print(f"unexpected, with the seed {seed!r}", file=sys.stderr)
            raise
    seconds = time.monotonic() - began
    print(f"{sum(counts.values())} {what} in {seconds:.0f} s, 0 unexpected errors: {dict(counts)}")
    return 0
