"""Writes that failed for good, kept until somebody decides about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import MPS3Error
from ..format.values import decode
from ..manifest.session import error_of, time_of
from ..offline.protocol import Refusal
from ..types import DELETE, JSON, Delete, Ref

if TYPE_CHECKING:
    from ..manifest.pending import Pending
    from .write import Write


class Rejected:
    """A write that failed for good, and what to do with it.

    Attributes:
        manifest: Where it should have been committed.
        values: Its keys and their values; `DELETE` for a key to be deleted.
        error: Why it failed.
        time: When it failed, by this machine's clock.
        made: When it was made, by this machine's clock.
    """

    def __init__(
        self,
        pending: Pending,
        refusal: Refusal,
        retry: Callable[[Rejected, Pending], Write],
        drop: Callable[[Rejected, Pending], None],
    ) -> None:
        self._pending = pending
        self._retry = retry
        self._drop = drop
        self.manifest: Ref = pending.session.manifest
        self.values: Mapping[str, JSON | Delete] = {
            label: DELETE if (content := pending.changes[name]) is None else decode(content.body, label, label, None)
            for name, label in pending.labels.items()
        }
        self.error: MPS3Error = error_of(refusal)
        self.time: datetime = time_of(refusal.time)
        self.made: datetime = pending.made

    def retry(self) -> Write:
        """Write it once more, as if it were made now.

        Raises:
            ClosedError: The client is not open.
        """
        return self._retry(self, self._pending)

    def drop(self) -> None:
        """Forget it.

        Raises:
            ClosedError: The client is not open.
        """
        self._drop(self, self._pending)

    def __repr__(self) -> str:
        keys = ", ".join(map(repr, self.values))
        return f"<rejected write of {keys}: {self.error}>"
