"""What a bucket can do, found out by trying it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import orjson

from .errors import MPS3Error
from .journal.choose import choose_journal
from .journal.conditions import SUFFIX, lacking_conditions
from .storage import Storage
from .types import JournalKind
from .world import World

TRIES: Final = 5
MONTH: Final = 30 * 24 * 3600
GET_PRICE: Final = 0.4e-6
"""Dollars a GET on S3 Standard in us-east-1."""
PUT_PRICE: Final = 5e-6
"""Dollars a PUT or a listing there."""


@dataclass(slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: What was tried.
        good: Whether it works; ``None`` if that is neither good nor bad.
        result: What came of it.
    """

    what: str
    good: bool | None
    result: str


@dataclass(slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        findings: In the order they were tried.
        journal: The journal that would be used; ``None`` if none can.
        policy: The least that an IAM policy has to allow, as JSON.
        monthly_cost: Dollars that one client pays for polling, at S3's prices.
    """

    findings: list[Finding] = field(default_factory=list)
    journal: str | None = None
    policy: str = ""
    monthly_cost: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether the bucket can be used."""
        return self.journal is not None and all(finding.good is not False for finding in self.findings)


async def diagnose(
    storage: Storage, bucket: str, manifest: str, *, journal: JournalKind, poll_interval: float, world: World
) -> Diagnosis:
    """Try what this library needs of a bucket. An object is made beside the manifest, and removed again.

    Args:
        storage: The store, opened.
        bucket: The bucket.
        manifest: The manifest's key.
        journal: The journal that is wanted.
        poll_interval: Seconds between polls, for the cost.
        world: Time, chance and names.
    """
    found = Diagnosis()
    versioning = await _try(found, "versioning", _versioning(storage, bucket))
    await _try(found, "reading", _reading(storage, bucket, manifest))
    if versioning == "enabled":
        await _try(found, "listing versions", _timed(lambda: storage.versions(bucket, manifest, limit=1)))
    await _try(found, "writing", _writing(found, storage, bucket, manifest, world))
    # Only who has no versions needs them.
    await _try(found, "conditions", _conditions(storage, bucket, manifest, world), needed=versioning != "enabled")

    async def choose() -> tuple[bool, str]:
        chosen = await choose_journal(storage, bucket, manifest, journal, world)
        found.journal = chosen.kind
        return True, chosen.kind

    await _try(found, "journal", choose())
    found.policy = policy(bucket, manifest, found.journal or "merge")
    found.monthly_cost = MONTH / poll_interval * GET_PRICE
    return found


async def _try(found: Diagnosis, what: str, trial: Awaitable[tuple[bool, str]], *, needed: bool = True) -> str | None:
    try:
        good, result = await trial
    except MPS3Error as error:
        good, result = False, str(error)
    found.findings.append(Finding(what, good if needed or good else None, result))
    return result if good else None


async def _versioning(storage: Storage, bucket: str) -> tuple[bool, str]:
    versioning = (await storage.capabilities(bucket)).versioning
    return versioning != "suspended", versioning


async def _reading(storage: Storage, bucket: str, manifest: str) -> tuple[bool, str]:
    return await _timed(lambda: storage.get(bucket, manifest))


async def _writing(found: Diagnosis, storage: Storage, bucket: str, manifest: str, world: World) -> tuple[bool, str]:
    key = f"{manifest}{SUFFIX}{world.name()}"
    began, wall = time.perf_counter(), world.now().timestamp()
    stored = await storage.put(bucket, key, b"{}")
    took = time.perf_counter() - began
    try:
        if stored.modified is not None:
            found.findings.append(Finding("clocks", None, _clocks(stored.modified, wall, took)))
    finally:
        await storage.delete(bucket, key, version=stored.version)
    return True, f"{took * 1000:.0f} ms"


def _clocks(theirs: float, before: float, took: float) -> str:
    # The store's time stamps may be whole seconds.
    if before - 1 <= theirs <= before + took + 1:
        return "this machine and the store agree to a second"
    ahead = before - theirs
    return (
        f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store; nothing depends on it"
    )


async def _conditions(storage: Storage, bucket: str, manifest: str, world: World) -> tuple[bool, str]:
    lacking = await lacking_conditions(storage, bucket, manifest, world)
    return lacking is None, lacking or "the store enforces them"


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[bool, str]:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return True, f"{median(times) * 1000:.0f} ms"


def policy(bucket: str, manifest: str, journal: str) -> str:
    """The least that an IAM policy has to allow for reading and writing with one manifest.

    Args:
        bucket: The bucket of the manifest and the values.
        manifest: The manifest's key.
        journal: ``merge`` or ``conditional``.
    """
    objects = ["s3:GetObject", "s3:PutObject"]
    of_bucket = ["s3:ListBucket", "s3:GetBucketVersioning"]
    if journal == "merge":
        objects.append("s3:GetObjectVersion")
        of_bucket.append("s3:ListBucketVersions")
    arn = f"arn:aws:s3:::{bucket}"
    probe = [f"{arn}/{manifest}{SUFFIX}*"]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": of_bucket, "Resource": [arn]},
        {"Effect": "Allow", "Action": objects, "Resource": [f"{arn}/*"]},
    ]
    if journal == "conditional":
        statements.append({"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": probe})
    return orjson.dumps({"Version": "2012-10-17", "Statement": statements}, option=orjson.OPT_INDENT_2).decode()
