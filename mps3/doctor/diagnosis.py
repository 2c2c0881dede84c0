"""What a bucket can do, found out by trying it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Final, TypeVar

import orjson

from ..errors import AccessError, MPS3Error
from ..format.document import LIMIT
from ..journal.choose import choose_journal
from ..journal.probe import lacking_conditions
from ..journal.trials import SUFFIX, to_the_end
from ..storage.protocol import Storage
from ..support.environment import Environment
from ..types import JournalKind
from .checkup import Checkup

T = TypeVar("T")

TRIES: Final = 5
MONTH: Final = 30 * 24 * 3600
PAUSE: Final = 0.9
"""Of `poll_interval`, that a client waits between two looks on average."""
ANSWER: Final = 0.03
"""Seconds that a look takes, as the page on costs has it."""
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
        vendor: Who serves the endpoint, as far as its name tells.
        notes: What is known of the vendor, and worth knowing.
        findings: In the order they were tried.
        journal: The journal that would be used; ``None`` if none can.
        tidy: Whether what was written for a trial could be removed again.
        policy: The least that an IAM policy has to allow, as JSON; ``None`` for a store that knows no policies.
        monthly_cost: Dollars that one client pays for polling when nothing happens, at S3's prices; ``None`` for a
            store that has no prices.
        cost_of_change: Dollars that one client pays to see one change of one key, at S3's prices, by journal; empty
            for a store that has no prices.
    """

    vendor: str = ""
    notes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    journal: str | None = None
    tidy: bool = False
    policy: str | None = None
    monthly_cost: float | None = None
    cost_of_change: dict[str, float] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether the bucket can be used, for writing too."""
        return self.journal is not None and all(finding.good is not False for finding in self.findings)


async def diagnose(
    storage: Storage,
    bucket: str,
    manifest: str,
    *,
    journal: JournalKind,
    poll_interval: float,
    environment: Environment,
    priced: bool = True,
) -> Diagnosis:
    """Try what this library needs of a bucket, as a client does it.

    Objects are made beside the manifest, and removed again, also when this is cancelled.

    Args:
        storage: The store, opened.
        bucket: The bucket.
        manifest: The manifest's key.
        journal: The journal that is wanted.
        poll_interval: Seconds between polls, for the cost.
        environment: Time, chance and names.
        priced: Whether it is a service with prices and policies, rather than a directory or memory.

    Raises:
        ConfigurationError: There is no such bucket or store.
        UnavailableError: The store does not answer.
    """
    found = Diagnosis()
    vendor = getattr(storage, "vendor", None)
    if vendor is not None:
        found.vendor, found.notes = vendor.name, vendor.limits
    versioning = await _try(found, "versioning", _versioning(storage, bucket, journal))
    await _try(found, "reading", _timed(lambda: storage.get(bucket, manifest, limit=LIMIT)))
    if versioning == "enabled":
        await _try(found, "listing versions", _timed(lambda: storage.versions(bucket, manifest, limit=1)))
    if versioning is not None:
        checkup = Checkup(
            storage,
            bucket,
            manifest,
            versioned=versioning == "enabled",
            environment=environment,
            tell=partial(_tell, found),
        )
        found.tidy = await to_the_end(checkup.run())
    if found.tidy:
        # Only who has no versions needs them.
        trial = _conditions(storage, bucket, manifest, environment)
        await _try(found, "conditions", trial, needed=versioning != "enabled")

    async def choose() -> tuple[bool, str]:
        chosen = await choose_journal(storage, bucket, manifest, journal, environment)
        found.journal = chosen.kind
        return True, chosen.kind

    await _try(found, "journal", choose())
    if found.journal == "conditional":
        for finding in found.findings:
            if finding.what == "conditions" and finding.good is None:
                finding.good = False  # though there are versions, this manifest does not use them
    if priced:
        found.policy = policy(bucket, manifest, found.journal or "merge", versioned=versioning == "enabled")
        found.monthly_cost = MONTH / (PAUSE * poll_interval + ANSWER) * GET_PRICE
        found.cost_of_change = {"merge": 2 * GET_PRICE + PUT_PRICE, "conditional": 2 * GET_PRICE}
    return found


async def _try(found: Diagnosis, what: str, trial: Awaitable[tuple[bool, str]], *, needed: bool = True) -> str | None:
    try:
        good, result = await trial
    except MPS3Error as error:
        if not found.findings and not isinstance(error, AccessError):
            raise  # without a bucket there is nothing else to try
        good, result = False, str(error)
    _tell(found, what, good if needed or good else None, result)
    return result if good else None


def _tell(found: Diagnosis, what: str, good: bool | None, result: str) -> Finding:  # noqa: FBT001 - a part of a finding
    # The same reason again would hide the first.
    if not good and any(result == earlier.result for earlier in found.findings):
        result = "for the same reason"
    finding = Finding(what, good, result)
    found.findings.append(finding)
    return finding


async def _versioning(storage: Storage, bucket: str, journal: JournalKind) -> tuple[bool, str]:
    versioning = (await storage.capabilities(bucket)).versioning
    # Who wants the conditional journal does not need versions, and gets it.
    return versioning != "suspended" or journal == "conditional", versioning


async def _conditions(storage: Storage, bucket: str, manifest: str, environment: Environment) -> tuple[bool, str]:
    lacking = await lacking_conditions(storage, bucket, manifest, environment)
    return lacking is None, lacking or "the store enforces them"


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[bool, str]:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return True, f"{median(times) * 1000:.0f} ms"


def policy(bucket: str, manifest: str, journal: str, *, versioned: bool = False) -> str:
    """The least that an IAM policy has to allow for reading and writing with one manifest.

    Args:
        bucket: The bucket of the manifest and the values.
        manifest: The manifest's key.
        journal: ``merge`` or ``conditional``.
        versioned: Whether the bucket keeps versions; it does with ``merge``.
    """
    versioned = versioned or journal == "merge"
    objects = ["s3:GetObject", "s3:PutObject"]
    of_bucket = ["s3:ListBucket", "s3:GetBucketVersioning"]
    if versioned:
        objects.append("s3:GetObjectVersion")
        of_bucket.append("s3:ListBucketVersions")
    arn = f"arn:aws:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": of_bucket, "Resource": [arn]},
        {"Effect": "Allow", "Action": objects, "Resource": [f"{arn}/*"]},
    ]
    if journal == "conditional":
        probes = [f"{arn}/{manifest}{SUFFIX}*"]
        removing = "s3:DeleteObjectVersion" if versioned else "s3:DeleteObject"
        statements.append({"Effect": "Allow", "Action": [removing], "Resource": probes})
    return orjson.dumps({"Version": "2012-10-17", "Statement": statements}, option=orjson.OPT_INDENT_2).decode()
