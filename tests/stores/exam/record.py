"""Keeping the result of an exam where the doctor finds it: in the record of the store, which ships with the doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mps3.doctor.known.records import parse_record
from stores.base import StoreServer
from stores.exam.suite import ROOT

KNOWN = ROOT / "mps3" / "doctor" / "known"


def keep(server: StoreServer, tried: dict[str, Any]) -> Path:
    """Put the result into the store's record, in the place of the last one; make the record if there is none."""
    return write(server.module, tried, name=server.name, versioning=server.versioning)


def write(module: str, tried: dict[str, Any], **new: Any) -> Path:
    """Put a result into a record. ``new`` is for a record that does not exist.

    What people have written about the store stays: how it is recognised, notes, its place in the table.
    """
    path = KNOWN / f"{module}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else new
    record = {
        "name": module,
        "order": 900,
        "recognised": {},
        "endpoint": "your own",
        "versioning": None,
        "create_if_absent": {"plain": None, "versioned": None},
        "notes": [],
        **before,
        "tried": tried,
    }
    parse_record(record)
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def adopt(module: str, printed: dict[str, Any]) -> Path:
    """Put a result that an exam has printed into a record, beside that of another kind of bucket of the same version."""
    path = KNOWN / f"{module}.json"
    before = json.loads(path.read_text(encoding="utf-8")).get("tried") if path.exists() else None
    tried = {name: value for name, value in printed.items() if name != "name"}
    if before is not None and before["version"] == tried["version"]:
        tried["buckets"] = {**before["buckets"], **tried["buckets"]}
    return write(module, tried, **{name: value for name, value in printed.items() if name == "name"})


if __name__ == "__main__":  # python -m stores.exam.record MODULE FILE
    print(adopt(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
