"""What former versions cost: fixed tables, for there is no code left here to measure them with.

`FIGURES` are of the first protocol, `KEYS` of the second one before its runs had blocks.

The figures of the first are those of `docs/performance.md` in the commit `2e6b2ce`, the last run with that protocol:
every value was an object of its own, and the journals were merge and one of conditional replacements (`If-Match`). It
had the same harness and latency: the same machine, Python 3.11.7 on two cores, and Ceph RGW 16 over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Former:
    """What one thing took, as a `results.Row` has it: the averages of its operations.

    Attributes:
        scenario: What was done.
        journal: With which journal.
        keys: How many keys the manifest had.
        requests: How many.
        up: Bytes of the bodies sent.
        down: Bytes of those received.
        seconds: Of CPU, where they are compared.
        megabytes: Of resident memory, where they are.
    """

    scenario: str
    journal: str
    keys: int
    requests: float
    up: int
    down: int
    seconds: float | None = None
    megabytes: float | None = None


FIGURES: Final = (
    # what, with merge, with conditional replacements
    ("put, one after another, 10 keys", "2 PUT, 1 listing, 16.1 kB sent, 90 ms", "2 PUT, 48.6 kB sent, 60 ms"),
    (
        "put, one after another, 1,000,000 keys",
        "2.02 PUT, 1 listing, 26.5 kB sent, 90 ms",
        "2.02 PUT, 61.0 kB sent, 60 ms",
    ),
    ("put_all of 100, 1,000,000 keys", "101.05 PUT, 1 GET, 1 listing, 174.7 kB sent, 180 ms", ""),
    ("open, 1,000 keys", "3 GET, 1 listing, 1 other, 131 ms", "3 GET, 81 ms"),
    ("open, 1,000,000 keys", "40 GET, 1 listing, 1 other, 149.0 MB, 256 ms", "52 GET, 154.0 MB, 254 ms"),
    ("a value that was not read yet", "2 GET", "2 GET"),
    ("a change, to another client, 1,000,000 keys", "2 GET, 1 listing, 12.6 kB received", "2 GET, 18.9 kB received"),
    ("CPU of a put over HTTP", "9.11 ms, 0.91x its three requests made raw", ""),
    ("1,000 puts at once over HTTP", "2,877 ms, 0.92x 1,000 raw PUTs", ""),
    ("32 writers in virtual time", "63.5 commits a second, 1 PUT each", "22.0 commits a second, 4.07 PUTs each"),
    ("32 writers over HTTP", "14.8 commits a second", "14.5 commits a second"),
    ("memory, 1,000,000 keys", "155 MB", "160 MB"),
    ("longest stop of the loop, 1,000,000 keys", "7 ms", "9 ms"),
)


KEYS: Final = (
    Former("opening", "log", 1_000, 3, 0, 73_541),
    Former("opening", "log", 10_000, 15, 0, 752_289),
    Former("opening", "log", 100_000, 6, 0, 7_645_252),
    Former("opening", "log", 1_000_000, 16, 0, 78_114_217),
    Former("opening", "merge", 1_000, 5, 0, 76_251),
    Former("opening", "merge", 10_000, 17, 0, 761_050),
    Former("opening", "merge", 100_000, 55, 0, 7_712_270),
    Former("opening", "merge", 1_000_000, 61, 0, 78_312_026),
    Former("memory of one key", "log", 1_000, 0, 0, 0, megabytes=0.5),
    Former("memory of one key", "log", 10_000, 0, 0, 0, megabytes=0.9),
    Former("memory of one key", "log", 100_000, 0, 0, 0, megabytes=8.2),
    Former("memory of one key", "log", 1_000_000, 0, 0, 0, megabytes=81.4),
    Former("memory of one key", "merge", 1_000, 0, 0, 0, megabytes=0.2),
    Former("memory of one key", "merge", 10_000, 0, 0, 0, megabytes=0.9),
    Former("memory of one key", "merge", 100_000, 0, 0, 0, megabytes=8.5),
    Former("memory of one key", "merge", 1_000_000, 0, 0, 0, megabytes=82.1),
    Former("get", "log", 1_000, 1, 0, 300),
    Former("get", "log", 10_000, 1, 0, 300),
    Former("get", "log", 100_000, 1, 0, 300),
    Former("get", "log", 1_000_000, 1, 0, 300),
    Former("get", "merge", 1_000, 1, 0, 0),
    Former("get", "merge", 10_000, 1, 0, 0),
    Former("get", "merge", 100_000, 1, 0, 0),
    Former("get", "merge", 1_000_000, 1, 0, 0),
    Former("get_all of a prefix", "log", 1_000, 1, 0, 300),
    Former("get_all of a prefix", "log", 10_000, 1, 0, 300),
    Former("get_all of a prefix", "log", 100_000, 1, 0, 300),
    Former("get_all of a prefix", "log", 1_000_000, 1, 0, 300),
    Former("get_all of a prefix", "merge", 1_000, 1, 0, 0),
    Former("get_all of a prefix", "merge", 10_000, 1, 0, 0),
    Former("get_all of a prefix", "merge", 100_000, 1, 0, 0),
    Former("get_all of a prefix", "merge", 1_000_000, 1, 0, 0),
    Former("put", "log", 10, 1.016, 324, 0),
    Former("put", "log", 1_000_000, 1.017, 2_144, 163),
    Former("put", "merge", 10, 2, 17_046, 33_256),
    Former("put", "merge", 1_000_000, 2.023, 25_229, 33_253),
    Former("load", "log", 1_000_000, 1_858, 191_897_701, 69_862_532, seconds=6.9),
    Former("load", "merge", 1_000_000, 2_884, 268_782_561, 28_776_620, seconds=8.13),
)
"""The commit `97d59be`, the last one that held all runs in memory. The scenarios are those of the group `keys`, run
with that version once, in the same session and on the same machine as those of the first version with blocks. The CPU
of loading is the median of four runs (6.68 to 7.48 s, and 7.38 to 8.24 s), by turns with those of a later version with
blocks, on the same day and machine.
"""


def find(scenario: str, journal: str, keys: int) -> Former | None:
    """Return one of `KEYS`; ``None`` if it was not measured."""
    found = (one for one in KEYS if (one.scenario, one.journal, one.keys) == (scenario, journal, keys))
    return next(found, None)


def rows() -> list[list[str]]:
    """Return the lines of the table."""
    return [[what, merge, conditional or "not measured"] for what, merge, conditional in FIGURES]
