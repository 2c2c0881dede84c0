"""Find out what a bucket supports, by using it as a client does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Final

from ..format.document import LIMIT
from ..journal.choose import choose_journal
from ..journal.listing_trial import lacking_listing
from ..journal.probe import lacking_creation
from ..journal.trials import to_the_end
from ..storage.protocol import Storage
from ..support.environment import Environment
from ..types import JournalKind
from .checkup import Checkup
from .comparison import Observed, compare
from .findings import CheckResult, Diagnosis
from .policy import policy

REPETITIONS: Final = 5
MONTH: Final = 30 * 24 * 3600
AVERAGE_WAIT: Final = 0.9
"""The average wait between two polls, as a fraction of the poll interval."""
POLL_DURATION: Final = 0.03
"""Seconds that a poll takes, as on the page on costs."""
GET_PRICE: Final = 0.4e-6
"""Dollars for a GET on S3 Standard in us-east-1."""
PUT_PRICE: Final = 5e-6
"""Dollars for a PUT or a listing there."""
_NEEDED_BY: Final = {"log": {"conditions", "listing"}, "merge": {"listing beside longer keys"}}
"""The checks that a manifest with the log journal has to pass, and one with the merge journal has not."""


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
    """Check everything that a client needs of a bucket.

    Objects are created beside the manifest, and removed again, also when this is cancelled.

    Args:
        storage: The store, opened.
        bucket: The bucket.
        manifest: The manifest's key.
        journal: The journal that is wanted.
        poll_interval: Seconds between polls, for the cost.
        environment: The clock, randomness and names.
        priced: Whether the store has prices and policies, unlike a directory or memory.

    Raises:
        ConfigurationError: There is no such bucket or store.
        UnavailableError: The store does not answer.
    """
    found = Diagnosis()
    vendor = getattr(storage, "vendor", None)
    if vendor is not None:
        found.vendor, found.notes = vendor.name, vendor.limits
    observed = Observed()
    versioning = await found.check("versioning", _versioning(storage, bucket, journal, observed))
    versioned = versioning == "enabled"
    await found.check("reading", _timed(lambda: storage.get(bucket, manifest, limit=LIMIT)))
    if versioned:
        await found.check("listing versions", _timed(lambda: storage.versions(bucket, manifest, limit=1)))
    if versioning is not None:
        checkup = Checkup(storage, bucket, manifest, versioned=versioned, environment=environment, found=found)
        found.tidy = await to_the_end(checkup.run())
    if found.tidy:
        conditions = _conditions(storage, bucket, manifest, environment, observed)
        await found.check("conditions", conditions, needed=not versioned)
    if found.tidy and versioned:
        await found.check("listing beside longer keys", _listing(storage, bucket, manifest, environment), needed=False)

    async def choose() -> CheckResult:
        found.journal = (await choose_journal(storage, bucket, manifest, journal, environment)).kind
        return True, found.journal

    await found.check("journal", choose())
    # Versions do not help a manifest that is a log, nor conditions another one.
    needed = _NEEDED_BY.get(found.journal or "", ())
    for finding in found.findings:
        if finding.what in needed and finding.good is None:
            finding.good = False
    if vendor is not None:
        headers = getattr(storage, "server_headers", {})
        found.known = await compare(vendor.name, headers, observed, found.findings)
    if priced:
        found.policy = policy(bucket, manifest, found.journal or "merge", versioned=versioned)
        found.monthly_cost = MONTH / (AVERAGE_WAIT * poll_interval + POLL_DURATION) * GET_PRICE
        found.cost_of_change = {"merge": 2 * GET_PRICE + PUT_PRICE, "log": 2 * GET_PRICE}
    return found


async def _versioning(storage: Storage, bucket: str, journal: JournalKind, observed: Observed) -> CheckResult:
    observed.capabilities = await storage.capabilities(bucket)
    versioning = observed.capabilities.versioning
    if versioning != "suspended":
        return True, versioning
    return False if journal == "merge" else None, versioning  # the log journal does not need versions


async def _conditions(
    storage: Storage, bucket: str, manifest: str, environment: Environment, observed: Observed
) -> CheckResult:
    lacking = await lacking_creation(storage, bucket, manifest, environment)
    observed.creates = lacking is None
    return lacking is None, lacking or "the store enforces them"


async def _listing(storage: Storage, bucket: str, manifest: str, environment: Environment) -> CheckResult:
    lacking = await lacking_listing(storage, bucket, manifest, environment)
    if lacking is None:
        return True, "the versions of each key"
    return False, f"{lacking}: only the log journal can be used here, and a collection may leave something"


async def _timed(call: Callable[[], Awaitable[Any]]) -> CheckResult:
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return True, f"{median(times) * 1000:.0f} ms"
