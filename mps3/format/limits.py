"""The limits of what is written and read. A writer refuses what a reader would refuse. Pure numbers.

The table in ``docs/keys.md`` has all of them.
"""

from __future__ import annotations

from typing import Final

KEY: Final = 1024
"""Bytes of UTF-8 of a key: what S3 takes."""
BUCKET: Final = 255
"""Bytes of UTF-8 of the name of a bucket: what the oldest buckets of S3 have."""
VALUE: Final = 256 * 2**20
"""Bytes of a value as JSON."""
DEPTH: Final = 254
"""How deep the arrays and objects of a value nest: what the JSON encoder writes."""
PARTS: Final = 500_000
"""Arrays, objects and commas of a JSON document. Parsing so many takes some dozens of milliseconds."""

INLINE: Final = 64 * 2**10
"""Bytes of a value as JSON that is part of a commit."""
INLINE_DEPTH: Final = 64
"""How deep such a value nests: the JSON encoder must be able to write it inside of a manifest."""

PATCH: Final = 32 * 2**10
"""Bytes of the steps of a patch. It is less than `INLINE`: what a patch makes of nothing is inline."""
PATCHES: Final = 120 * 2**10
"""Bytes of the patches of one commit. That many have no more parts than `UPDATE_PARTS`; they do not become a run."""
STEPS: Final = 1_000
"""Steps of a patch, operations of a step, and patches that wait in front of one value."""
WAITING: Final = 256 * 2**10
"""Bytes of the patches that wait in front of one value. A writer stores the value anew long before."""

ESCAPES: Final = 2_000_000
"""Backslashes in a manifest."""
DOCUMENT: Final = 32 * 2**20
"""Bytes of a manifest."""
UNKNOWN: Final = 2**20
"""Bytes of a member of a manifest that this version does not know. Each is written again with every commit."""
UNKNOWN_DEPTH: Final = 64
"""How deep such a member nests."""
FILES: Final = 5_000
"""Keys among the settled ``files`` of a manifest. A writer stores more than 32 KiB of them as a run."""
CHANGES: Final = 8_000
"""Keys in the ``files`` of a commit. A writer stores more than `MANY` of them as a run."""
MANY: Final = 500
"""Keys of a change that are not yet stored as a run."""
MANY_PARTS: Final = 4_000
"""Arrays, objects and commas of a change that is not yet stored as a run: many writers may each make one at once."""
READS: Final = 10_000
"""Keys whose versions a transaction depends on."""
UPDATE_PARTS: Final = 125_000
"""Arrays, objects and commas of what one commit says."""
LOG: Final = 5_000
"""Commits in the log of a manifest."""
LOGGED: Final = 50_000
"""Keys that these commits change, one by one."""
CROWDED: Final = 20_000
"""Keys that the commits of a log change. Beyond that each further change is stored as a run."""
SESSION: Final = 100
"""Characters of the name of a session. A writer's have 32."""
SESSIONS: Final = 100_000
"""Sessions that a manifest remembers."""
CROWDED_BYTES: Final = 128 * 2**10
"""Bytes of the commits of a log. Beyond that each further change is stored as a run."""
RUNS: Final = 10_000
"""Runs that a manifest, or a commit, names."""
RUN: Final = 16 * 2**20
"""Bytes of an object of a run. A writer makes them an eighth as large."""
RUN_BLOCKS: Final = 20_000
"""Blocks of an object of a run. A writer's have some hundred."""
RUN_INDEX: Final = 4 * 2**20
"""Bytes of the index of an object of a run. A writer's has some hundred thousand."""
BLOCK: Final = 4 * 2**20
"""Bytes of the lines of a block. A writer's has 32 KiB, or one line that is longer."""
