"""A commit on its way: the writes in it, and what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..content.store import Content
from ..errors import ConflictError, MPS3Error
from ..journal.protocol import Attempt, OutdatedError
from ..offline.protocol import Sent
from .pending import Pending, final_changes
from .session import Session

CLOSES: Final[Mapping[str, Any]] = {"closes": True}
"""What a commit says that ends a transaction."""


@dataclass(slots=True, eq=False)
class InFlightCommit:
    """A commit on its way, and the writes in it.

    Attributes:
        attempt: What the journal is told.
        group: The writes.
        session: Under whose name they are committed.
        sent: How they left in an earlier life of the client.
        recorded: What was recorded of it before it left.
        failures: How often the store did not answer.
        conflicts: How often somebody else was first.
        seen: Whether it is part of the state that is shown.
        retry_at: When to try again, by this client's clock.
        renewed: Values that were stored again, and the last collection that was known before.
        failed: Of a transaction that does not hold: what to say of it once no try of it can arrive any more.
        closes: Of a commit without content: the transaction that cannot hold any more when this one counts (R4).
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
    renewed: dict[Content, str | None] = field(default_factory=dict)
    failed: MPS3Error | None = None
    closes: InFlightCommit | None = None

    def fill(self) -> None:
        """Say in the attempt what is to be committed, as it is stored now."""
        final = final_changes(self.group)
        changes = {name: None if content is None else content.patch for name, content in final.items()}
        stored = [content.stored for content in final.values() if content is not None and content.stored is not None]
        expect = {"expect": dict(self.attempt.expect)} if self.attempt.expect else {}
        self.attempt.update = {"files": changes, **expect, **(CLOSES if self.closes is not None else {})}
        self.attempt.stored = min(stored, default=None)

    def void(self) -> OutdatedError:
        """Why a transaction that arrived does not hold."""
        (pending,) = self.group
        keys = ", ".join(repr(pending.labels.get(name, name)) for name in self.attempt.expect)
        return OutdatedError(
            f"somebody else changed {keys} first, so nothing was written",
            bucket=pending.session.manifest.bucket,
            key=pending.session.manifest.key,
            operation="PutObject",
        )


def conflict_of(outdated: OutdatedError) -> ConflictError:
    """What users are told of it."""
    return ConflictError(
        str(outdated),
        bucket=outdated.bucket,
        key=outdated.key,
        operation=outdated.operation,
        version=outdated.version,
    )
