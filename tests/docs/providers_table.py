"""The tables of docs/providers.md, made of the records that ship with the doctor.

``python tests/docs/providers_table.py`` writes them into the page; a test fails while the page says something else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mps3.doctor.known.records import BUCKET_KINDS, BucketKind, KnownStore, known_stores

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
KINDS = {"plain": "without versions", "versioned": "with versions"}
UNKNOWN = "run the doctor"


def providers() -> str:
    """Every store: what it can do, and how that is known."""
    rows = [["provider", "endpoint", "versioning", "create-if-absent", "journal", "known how"]]
    rows += [
        [store.name, store.endpoint, versioning(store), create_if_absent(store), journal(store), known_how(store)]
        for store in known_stores()
    ]
    return table(rows)


def trials() -> str:
    """Every kind of bucket in which a store was tried, and every journal that it allowed there."""
    titles = [
        "store",
        "bucket",
        "the doctor says",
        "journal",
        "writes lost",
        "transactions",
        "requests a commit",
        "tests",
    ]
    return table([titles, *(row for store in known_stores() if store.tried for row in trial(store))])


def trial(store: KnownStore) -> Iterator[list[str]]:
    assert store.tried is not None
    tests = store.tried.results.get("tests")
    ran = "–" if tests is None else "{passed} passed, {skipped} skipped, {failed} failed".format_map(tests)
    for kind, bucket in store.tried.buckets.items():
        journals: Mapping[str, Any] = bucket.results.get("journals") or {"–": {}}
        for name, found in journals.items():
            says = f"ready, {bucket.journal}" if bucket.ready else "not ready; clients are refused"
            lost = (
                "{lost} of {acknowledged:,}".format_map(found["writes"]) if "lost" in found.get("writes", ()) else "–"
            )
            done = f"{found['transactions']['done']} done" if "done" in found.get("transactions", ()) else "–"
            requests = found.get("contention", {}).get("requests_per_commit", "–")
            yield [store.name, KINDS[kind], says, name, lost, done, str(requests), ran]


def versioning(store: KnownStore) -> str:
    return own_words(store, "versioning") or {True: "yes", False: "no", None: UNKNOWN}[store.versioning]


def create_if_absent(store: KnownStore) -> str:
    if words := own_words(store, "create_if_absent"):
        return words
    match [store.creates(kind) for kind in kinds(store)]:
        case [True] | [True, True]:
            return "yes"
        case [False] | [False, False]:
            return "no"
        case [True, False]:
            return "in buckets without versions only"
        case [False, True]:
            return "in buckets with versions only"
    return UNKNOWN


def journal(store: KnownStore) -> str:
    if words := own_words(store, "journal"):
        return words
    if store.versioning is None:
        return UNKNOWN
    allowed = [journal_in(store, kind) for kind in kinds(store)]
    match allowed:
        case ["log", "log"]:
            return "log" if refuses_merge(store) else "log, or merge"
        case ["log"]:
            return "log"
        case ["log", "merge"]:
            return "log; merge in buckets with versions"
        case ["none", "merge"]:
            return "merge"
        case ["none", "log"]:
            return "log, or merge, in buckets with versions"
        case ["none"] | ["none", "none"]:
            return "none: refused"
    return UNKNOWN


def refuses_merge(store: KnownStore) -> bool:
    """Whether a trial has found that the store cannot do what the merge journal needs."""
    buckets = {} if store.tried is None else store.tried.results.get("buckets", {})
    merge = buckets.get("versioned", {}).get("journals", {}).get("merge", {})
    return "refused" in merge


def kinds(store: KnownStore) -> list[BucketKind]:
    """The kinds of buckets that the store has."""
    return [kind for kind in BUCKET_KINDS if kind == "plain" or store.versioning is not False]


def journal_in(store: KnownStore, kind: BucketKind) -> str:
    tried = None if store.tried is None else store.tried.buckets.get(kind)
    if tried is not None:
        return tried.journal or "none" if tried.ready else "none"
    creates = store.creates(kind)
    if creates is None:
        return UNKNOWN
    return "log" if creates else "merge" if kind == "versioned" else "none"


def own_words(store: KnownStore, column: str) -> str | None:
    """The words of the record; a trial knows better."""
    return store.words.get(column) if store.tried is None else None


def known_how(store: KnownStore) -> str:
    if store.tried is None:
        return f"not tried, by {store.source}"
    version = "" if store.tried.version is None else f"version {store.tried.version}, "
    problems = len(store.tried.results.get("problems", ()))
    how = f"**tried**, with {problems} problems" if problems else "**tried**"
    return f"{how}: {version}{store.tried.date}, `{store.tried.command}`"


def table(rows: list[list[str]]) -> str:
    first, *others = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([first, "|" + "---|" * len(rows[0]), *others])


def filled_in(page: str) -> str:
    """The page with its tables as they should be."""
    for name, made in {"providers": providers(), "trials": trials()}.items():
        begin, end = f"<!-- {name}: made by tests/docs/providers_table.py -->", f"<!-- end of {name} -->"
        assert page.count(begin) == page.count(end) == 1, f"the page lacks {begin} or {end}"
        page = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{made}\n\n{end}", page, flags=re.DOTALL)  # noqa: B023
    return page


if __name__ == "__main__":
    sys.exit(PAGE.write_text(filled_in(PAGE.read_text(encoding="utf-8")), encoding="utf-8") and 0)
