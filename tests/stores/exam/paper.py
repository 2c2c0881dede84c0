"""The exam as a whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from servers import Server

from mps3.doctor.findings import Diagnosis
from stores.exam.bucket import Bucket, make_bucket
from stores.exam.collection import collect
from stores.exam.conformance import conform
from stores.exam.contention import crowd
from stores.exam.doctor import see_doctor, told, try_client
from stores.exam.transactions import contend
from stores.exam.writes import put_through_faults

PARTS: Final = ("doctor", "conformance", "writes", "transactions", "collection", "contention", "tests")


@dataclass(frozen=True)
class Size:
    """How much of each part: what is written in the table of providers takes the whole exam."""

    puts: int = 1000  # of each of three clients
    transactions: int = 10  # of each of four clients, of each kind
    window: int = 3  # as many with the merge journal, where each takes its window of three seconds
    commits: int = 10  # of each of eight writers


WHOLE: Final = Size()
EVERYDAY: Final = Size(puts=60, transactions=3, window=1, commits=3)


async def examine(
    server: Server,
    *,
    versioning: bool,
    weaknesses: Mapping[str, str],
    size: Size = WHOLE,
    parts: Collection[str] = PARTS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, Any]:
    """Examine each kind of bucket that a server has."""
    buckets: dict[str, Any] = {}
    for versioned in (False, True) if versioning else (False,):
        name = "versioned" if versioned else "plain"
        make = getattr(server, "make_bucket", None)  # of a server that is not S3
        bucket = make_bucket(server, versioned=versioned) if make is None else make()
        if bucket is None:
            tell(f"{name}: the server does not give a bucket versions")
            buckets[name] = {"problems": ["the server does not give a bucket versions"]}
        else:
            say = partial(_tell, tell, name)
            buckets[name] = await _examine_bucket(bucket, weaknesses, size, parts, seed, say)
    return {"buckets": buckets, "problems": problems_in(buckets)}


async def _examine_bucket(
    bucket: Bucket,
    weaknesses: Mapping[str, str],
    size: Size,
    parts: Collection[str],
    seed: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    found, refused, problems = await _ask_both(bucket)
    tell(f"the doctor says {'ready' if found.healthy else 'not ready'}, journal {found.journal}")
    for finding in found.findings:
        if finding.good is not True:
            tell(f"  {finding.what}: {finding.result}")
    result: dict[str, Any] = {"doctor": told(found), "client": refused or "accepted", "problems": problems}
    if not found.healthy:
        tell(f"a client says: {refused or 'nothing: it works'}")
        return result
    if "conformance" in parts:
        result["conformance"] = checked = await conform(bucket)
        checked["problems"] = [f"{name}: {why}" for name, why in checked["failed"].items() if name not in weaknesses]
        tell(f"conformance {result['conformance']}")
    journals = dict.fromkeys([found.journal, "merge"] if bucket.versioned else [found.journal])
    result["journals"] = {}
    for journal in journals:
        one = replace(bucket, journal=journal)  # type: ignore[arg-type] - the doctor's word is a journal's
        if journal != found.journal:
            other, refused, problems = await _ask_both(one)
            if not other.healthy:
                result["journals"][journal] = {"refused": refused, "problems": problems}
                tell(f"{journal}: {refused}")
                continue
        each = size.transactions if journal == "log" else size.window
        exercises = {
            "writes": partial(put_through_faults, one, size.puts, seed),
            "transactions": partial(contend, one, each),
            "collection": partial(collect, one),
            "contention": partial(crowd, one, size.commits),
        }
        result["journals"][journal] = taken = {}
        for part, take in exercises.items():
            if part in parts:
                try:
                    taken[part] = await take()
                except Exception as error:
                    taken[part] = {"problems": [f"{type(error).__name__}: {error}"]}
                tell(f"{journal}: {part} {taken[part]}")
    return result


async def _ask_both(bucket: Bucket) -> tuple[Diagnosis, str | None, list[str]]:
    """What the doctor and a client say of a bucket, and where they differ."""
    found, refused = await see_doctor(bucket), await try_client(bucket)
    problems = []
    if found.healthy and refused:
        problems.append(f"the doctor says ready, and a client fails: {refused}")
    if not found.healthy and not refused:
        problems.append("the doctor says not ready, and a client works")
    return found, refused, problems


def _tell(tell: Callable[[str], None], name: str, text: str) -> None:
    tell(f"{name}: {text}")


def problems_in(found: Any, where: str = "") -> list[str]:
    """Everything that is called a problem, and where."""
    if not isinstance(found, dict):
        return []
    inner = [problem for name, part in found.items() for problem in problems_in(part, f"{where}{name}: ")]
    return [*(f"{where}{problem}" for problem in found.get("problems", ())), *inner]
