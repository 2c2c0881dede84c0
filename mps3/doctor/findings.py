"""What `diagnose` returns: one finding for each check, and what follows from them all."""

from __future__ import annotations

from dataclasses import dataclass, field


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
