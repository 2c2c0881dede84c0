"""What the first protocol cost: a fixed table, for there is no code left to measure it with.

The figures are those of `docs/performance.md` in the commit `2e6b2ce`, the last run with that protocol: every value was
an object of its own, and the journals were merge and one of conditional replacements (`If-Match`). It had the same
harness and latency: the same machine, Python 3.11.7 on two cores, and Ceph RGW 16 over HTTP.
"""

from __future__ import annotations

from typing import Final

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


def rows() -> list[list[str]]:
    """Return the lines of the table."""
    return [[what, merge, conditional or "not measured"] for what, merge, conditional in FIGURES]
