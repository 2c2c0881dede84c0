"""Keeping the result of an exam where the doctor finds it: in the record of the store, which ships with the doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mps3.doctor.known.records import parse_record
from stores import store
from stores.base import StoreServer
from stores.exam.suite import ROOT

KNOWN = ROOT / "mps3" / "doctor" / "known"


def keep(server: StoreServer, tried: dict[str, Any]) -> Path:
    """Put the result into the store's record, in the place of the last one; make the record if there is none.

    What people have written about the store stays: how it is recognised, notes, its place in the table.
    """
    path = KNOWN / f"{server.module}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    record = {
        "name": server.name,
        "order": 900,
        "recognised": {},
        "endpoint": "your own",
        "versioning": server.versioning,
        "create_if_absent": {"plain": None, "versioned": None},
        "notes": [],
        **before,
        "tried": tried,
    }
    parse_record(record)
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def adopt(document: dict[str, Any]) -> dict[str, Any]:
    """The result in a document that ``python -m stores NAME`` printed."""
    return {name: value for name, value in document.items() if name != "name"}


if __name__ == "__main__":  # python -m stores.exam.record NAME <what `python -m stores NAME` has printed
    print(keep(store(sys.argv[1]), adopt(json.load(sys.stdin))))
