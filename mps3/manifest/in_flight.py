"""An in-flight commit: its writes, its attempt in the journal, and the results of its tries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..content.many import ManyValues
from ..content.value import PendingValue
from ..errors import ConflictError, MPS3Error, UnknownOutcomeError
from ..journal.attempt import Attempt, OutdatedError
from ..journal.outcome import unknown
from ..offline.protocol import Sent
from ..support.steps import in_steps
from .pending import Pending, final_changes
from .session import Session

CLOSES: Final[Mapping[str, Any]] = {"closes": True}
"""The update of a commit that ends a transaction."""


@dataclass(slots=True, eq=False)
class InFlightCommit:
    """A commit that is being sent or decided.

    Attributes:
        attempt: The attempt in the journal.
        group: The writes in it.
        session: The session under whose name they are committed.
        sent: How an earlier client may have sent them.
        versions: The versions of its values as it was last filled; ``None`` for a deleted key.
        recorded: The update that was recorded before it was sent.
        failures: How often the store did not answer.
        conflicts: How often another client committed first.
        seen: Whether it is part of the state that is shown.
        retry_at: When to try again, by this client's clock.
        renewed: Values that were stored again, and the last collection that was known before.
        failed: The error of a transaction that does not hold; it is raised once no try of it can arrive any more.
        optional: Whether it is made once or not at all: a commit without content that only leaves fewer runs.
        closes: Of a commit without content: the transaction that cannot hold any more once this commit counts (R4).
    """

    attempt: Attempt
    group: list[Pending]
    session: Session
    sent: Sent | None = None
    recorded: Mapping[str, Any] | None = None
    failures: int = 0
    conflicts: int = 0
    seen: bool = False
    retry_at: float = -math.inf
    renewed: dict[PendingValue, str | None] = field(default_factory=dict)
    failed: MPS3Error | None = None
    optional: bool = False
    closes: InFlightCommit | None = None
    versions: dict[str, str | None] = field(default_factory=dict)

    async def fill(self) -> None:
        """Set the update of the attempt from the writes, as their values are stored now."""
        changes: dict[str, Any] = {}
        versions: dict[str, str | None] = {}
        first = math.inf
        final = final_changes(self.group)
        if isinstance(final, ManyValues):
            versions = final.versions
            async for names in in_steps(final):
                changes.update([(name, final.patch(name)) for name in names])
        else:
            async for part in in_steps(final.items()):
                for name, content in part:
                    changes[name] = None if content is None else content.patch
                    versions[name] = None if content is None else content.version
                    if content is not None and content.stored is not None:
                        first = min(first, content.stored)
        expect = {"expect": dict(self.attempt.expect)} if self.attempt.expect else {}
        self.versions = versions
        self.attempt.update = {"files": changes, **expect, **(CLOSES if self.closes is not None else {})}
        self.attempt.stored = None if math.isinf(first) else first

    def retry_now(self) -> None:
        """Let it be tried again at once."""
        self.retry_at = -math.inf

    def outdated(self) -> OutdatedError:
        """Return the error of a transaction that has arrived and does not hold."""
        (pending,) = self.group
        keys = ", ".join(repr(pending.labels.get(name, name)) for name in self.attempt.expect)
        return OutdatedError(
            f"another client changed {keys} first, so nothing was written",
            bucket=pending.session.manifest.bucket,
            key=pending.session.manifest.key,
            operation="PutObject",
        )

    def unknown_outcome(self, why: str = "") -> UnknownOutcomeError:
        """Return the error for a commit whose outcome is not known any more."""
        ref = self.session.manifest
        return unknown(ref.bucket, ref.key, why)


def conflict_of(outdated: OutdatedError) -> ConflictError:
    """Return the error that users get for a transaction that does not hold."""
    return ConflictError(
        str(outdated),
        bucket=outdated.bucket,
        key=outdated.key,
        operation=outdated.operation,
        version=outdated.version,
    )
