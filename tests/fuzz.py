"""Random documents by the hundred thousand, for ``nox -s fuzz``: nothing but the errors that are promised.

python tests/fuzz.py --documents 1000000 --seed 0
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

from mps3.errors import CorruptionError, FormatError
from mps3.format.document import CommitEntry
from mps3.format.document_codec import decode, encode
from mps3.format.file_entry import FileEntry
from mps3.format.run import Run, check_run, encode_runs, index_run
from mps3.format.state import build_view
from mps3.journal.merge.order import causal_order, needed, once, store_order

TEXTS = [
    "",
    "a",
    "b",
    "é",
    "\x00",
    "s3://b/k",
    "x" * 300,
    "0" * 64,
    "2026-01-31T12:00:00.000Z",
    "1500-01-01T00:00:00Z",
    "v1",
]
NUMBERS: list[Any] = [0, 1, -1, 2, 2**53, 2**63, 2**70, 1.5, -0.0, 1e308, True]


def anything(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.random()
    if kind < 0.3 or depth > 4:
        return dice.choice(TEXTS)
    if kind < 0.5:
        return dice.choice(NUMBERS)
    if kind < 0.6:
        return None
    if kind < 0.8:
        return [anything(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(TEXTS): anything(dice, depth + 1) for _ in range(dice.randrange(4))}


def file(dice: random.Random) -> Any:
    return {"version": dice.choice(TEXTS[1:]), "sha256": dice.choice(["0" * 64, None]), "size": dice.randrange(99)}


def files(dice: random.Random) -> dict[str, Any]:
    return {dice.choice(TEXTS[1:]): dice.choice([file(dice), None]) for _ in range(dice.randrange(4))}


def valid(dice: random.Random) -> dict[str, Any]:
    """A document as somebody might have written it, not always in good faith: circles are possible."""
    versions = [f"v{number}" for number in range(5)]

    def commit() -> dict[str, Any]:
        return {
            "session": dice.choice("ab"),
            "sequence": dice.randrange(4),
            "previous": dice.choice([None, *versions]),
            "update": {"files": files(dice)},
        }

    log = [
        {**commit(), "version": version, "modified": dice.choice(TEXTS[8:9])}
        for version in dice.sample(versions, dice.randrange(5))
    ]
    return {
        "mps3": 2,
        "journal": dice.choice(["merge", "log"]),
        "window": dice.choice([3, 0.5]),
        **commit(),
        "log": log,
        "files": {name: one for name, one in files(dice).items() if one},
        "sessions": {"a": dice.randrange(3)},
        "runs": [],
    }


def damage(dice: random.Random, document: Any) -> Any:
    """Replace one part, somewhere."""
    if not isinstance(document, dict | list) or not document or dice.random() < 0.2:
        return anything(dice)
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = dice.choice(keys)
    if isinstance(document, dict) and dice.random() < 0.15:
        return {name: value for name, value in document.items() if name != key}
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[key] = damage(dice, changed[key])
    return changed


def garble(dice: random.Random, body: bytes) -> bytes:
    where = dice.randrange(len(body) + 1)
    return dice.choice([body[:where], body[:where] + dice.randbytes(3) + body[where:], body[where:], body + body])


def stored(files: Mapping[str, FileEntry | None]) -> Run:
    """Files as a run, checked."""
    ((reference, body),) = encode_runs(files, 2**30)
    check_run(body, reference.entries)
    return index_run(reference.sha256, body)


def try_one(dice: random.Random) -> str:
    document = valid(dice)
    for _ in range(dice.choice([0, 0, 1, 1, 2, 5])):
        document = damage(dice, document)
    body = json.dumps(document).encode()
    if dice.random() < 0.1:
        body = garble(dice, body)
    try:
        read = decode(body, bucket="b", key="m", version="v9")
    except CorruptionError as error:
        assert error.version == "v9"  # noqa: PT017
        return "refused"
    except FormatError:
        return "newer"
    written = encode(read, bucket="b", key="m")
    assert decode(written, bucket="b", key="m", version="v9") == read, "what was read is not what is written"
    own: CommitEntry = read.entry("v9", 1.0)
    listed = [*dice.sample(read.log, dice.randrange(len(read.log) + 1)), own]
    listed = list({entry.version: entry for entry in listed}.values())
    ordered = causal_order(store_order(read.log, listed), read.sessions)
    commits = once(ordered, read.sessions)
    log = needed(ordered, commits[len(commits) // 2 :], dice.choice([0.0, math.inf]))
    again = once(causal_order(store_order(log, []), read.sessions), read.sessions)
    assert len({entry.id for entry in again}) == len(again) <= len(log) <= len(ordered)
    held = {reference.sha256: stored({"x": {"version": "1"}}) for reference in read.references()}
    view = build_view(read, "v9", tuple(commits), held, 0.0)
    files = dict(view.items())
    assert not files or dict(stored(files).items()) == files
    return "read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: dict[str, int] = {}
    began = time.monotonic()
    for number in range(options.documents):
        seed = f"{options.seed} {number}"
        try:
            outcome = try_one(random.Random(seed))
        except Exception:
            print(f"unexpected, with the seed {seed!r}", file=sys.stderr)
            raise
        counts[outcome] = counts.get(outcome, 0) + 1
    print(f"{options.documents} documents in {time.monotonic() - began:.0f} s, 0 unexpected errors: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
