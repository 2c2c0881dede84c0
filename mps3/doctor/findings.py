"""The result of `diagnose`: one finding for each check, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import AccessError, MPS3Error

CheckResult: TypeAlias = tuple[bool | None, str]
"""Whether something works (``None``: neither good nor bad), and a text about it."""


@dataclass(slots=True)
class Finding:
    """The result of one check.

    Attributes:
        what: What was checked.
        good: Whether it works; ``None`` if the result is neither good nor bad.
        result: The result as text.
    """

    what: str
    good: bool | None
    result: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What the doctor finds otherwise than it is known of the store.

    Attributes:
        what: What it is about.
        known: What is known, as text.
        found: What the doctor found, as text.
        worse: Whether the store does less than is known of it.
    """

    what: str
    known: str
    found: str
    worse: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of the store, and whether the doctor finds the same.

    Attributes:
        store: The name of the store; ``None`` if it was not recognised.
        recognised_by: ``endpoint`` or ``responses``.
        tried_version: The version that was tried; ``None`` if none was.
        tried_date: When it was tried.
        command: The command that tried it.
        source: Where all is known from if the store was not tried.
        notes: Sentences about the store.
        headers: What the server says of itself.
        differences: What the doctor found otherwise.
        advice: What to do about the differences.
    """

    store: str | None = None
    recognised_by: str | None = None
    tried_version: str | None = None
    tried_date: str | None = None
    command: str | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    advice: str = ""


@dataclass(slots=True)
class Diagnosis:
    """The results of all checks.

    Attributes:
        vendor: The vendor of the endpoint, as far as its name tells.
        notes: Known limits of the vendor.
        findings: In the order of the checks.
        known: What is known of the store; ``None`` for a directory and for memory, and if too little was found.
        journal: The journal that a client would use; ``None`` if it could use none.
        tidy: Whether the objects that were written could be removed again.
        policy: The least that an IAM policy has to allow, as JSON; ``None`` for a store without policies.
        monthly_cost: Dollars a month for the polls of one client when nothing happens, at S3's prices; ``None`` for a
            store without prices.
        cost_of_change: Dollars for one client to see one change of one key, at S3's prices, by journal; empty for a
            store without prices.
    """

    vendor: str = ""
    notes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    known: Comparison | None = None
    journal: str | None = None
    tidy: bool = False
    policy: str | None = None
    monthly_cost: float | None = None
    cost_of_change: dict[str, float] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether the bucket can be used, for writing too."""
        return self.journal is not None and all(finding.good is not False for finding in self.findings)

    async def check(self, what: str, check: Awaitable[CheckResult], *, needed: bool = True) -> str | None:
        """Run a check and add its finding.

        Args:
            what: What is checked.
            check: The check.
            needed: Whether a client needs it to work.

        Returns:
            The text of the result; ``None`` if the check failed.

        Raises:
            MPS3Error: The first check failed, so that there is nothing else to check.
        """
        try:
            good, result = await check
        except MPS3Error as error:
            if not self.findings and not isinstance(error, AccessError):
                raise
            good, result = False, str(error)
        self.add(what, good if needed or good else None, result)
        return None if good is False else result

    def add(self, what: str, good: bool | None, result: str) -> None:  # noqa: FBT001 - a part of the finding
        """Add a finding. A reason that was given before is not repeated."""
        if not good and any(result == earlier.result for earlier in self.findings):
            result = "for the same reason"
        self.findings.append(Finding(what, good, result))
