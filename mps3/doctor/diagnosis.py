"""Find out what a bucket supports, by using it as a client does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any, Final, TypeVar

from ..errors import AccessError, MPS3Error
from ..format.document import LIMIT
from ..journal.choose import choose_journal
from ..journal.probe import lacking_creation
from ..journal.trials import to_the_end
from ..storage.protocol import Storage
from ..support.environment import Environment
from ..types import JournalKind
from .checkup import Checkup
from .findings import Diagnosis, Finding
from .policy import policy

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
    if found.journal == "log":
        for finding in found.findings:
            if finding.what == "conditions" and finding.good is None:
                finding.good = False  # though there are versions, this manifest does not use them
    if priced:
        found.policy = policy(bucket, manifest, found.journal or "merge", versioned=versioning == "enabled")
        found.monthly_cost = MONTH / (PAUSE * poll_interval + ANSWER) * GET_PRICE
        found.cost_of_change = {"merge": 2 * GET_PRICE + PUT_PRICE, "log": 2 * GET_PRICE}
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
    return versioning != "suspended" or journal == "log", versioning


async def _conditions(storage: Storage, bucket: str, manifest: str, environment: Environment) -> tuple[bool, str]:
    lacking = await lacking_creation(storage, bucket, manifest, environment)
    return lacking is None, lacking or "the store enforces them"


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[bool, str]:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return True, f"{median(times) * 1000:.0f} ms"
