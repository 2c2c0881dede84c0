"""Writes that failed permanently, which are kept until they are retried or dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from ..errors import MPS3Error
from ..format.values import decode
from ..manifest.pending import Pending
from ..manifest.session import error_of, time_of
from ..offline.protocol import Refusal
from ..types import DELETE, JSON, Delete, Ref
from .write import Write


class Rejected:
    """A write that failed permanently, to be retried or dropped.

    Attributes:
        manifest: The manifest that it was for.
        values: Its keys and their values; `DELETE` for a deletion. Of a patch, they are the steps that it consists of.
        error: Why it failed.
        time: When it failed, by this machine's clock.
        made: When the write was called, by this machine's clock.
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
        """Repeat the write, as a new one.

        Raises:
            ClosedError: The client is not open.
        """
        return self._retry(self, self._pending)

    def drop(self) -> None:
        """Forget the write.

        Raises:
            ClosedError: The client is not open.
        """
        self._drop(self, self._pending)

    def __repr__(self) -> str:
        keys = ", ".join(map(repr, self.values))
        return f"<rejected write of {keys}: {self.error}>"
