"""The state of a client's connection to the store."""

from __future__ import annotations

import logging
import math
from datetime import datetime
from typing import Final

from ..errors import MPS3Error, UnavailableError
from ..observability.observer import Observer
from ..storage.switch import OfflineError, OfflineSwitch
from ..support.environment import Environment
from ..types import Ref
from .status_changes import Watchers

WARNING_INTERVAL: Final = 60.0
"""Seconds between warnings that the store does not answer, at least."""

_log = logging.getLogger("mps3")


class Connection:
    """The state of the connection to the store.

    Args:
        ref: The client's default manifest, for the log.
        wait_forever: Whether writes wait for the store without a time limit.

    Attributes:
        watchers: The iterators over the client's status.
        last_contact: When the store last answered, by this machine's clock; ``None`` before the first answer.
        last_error: The error of the last request; ``None`` if it succeeded.
    """

    def __init__(
        self, ref: Ref, switch: OfflineSwitch, environment: Environment, observer: Observer, *, wait_forever: bool
    ) -> None:
        self._ref = ref
        self._switch = switch
        self._environment = environment
        self._observer = observer
        self._wait_forever = wait_forever
        self._answers = False
        self._warn_at = -math.inf
        self.watchers = Watchers()
        self.last_contact: datetime | None = None
        self.last_error: MPS3Error | None = None
        self._retried: dict[object, MPS3Error] = {}

    @property
    def retried_error(self) -> MPS3Error | None:
        """The error of a write that waits to be tried again; ``None`` if none waits. Other requests may succeed."""
        return next(iter(self._retried.values()), None)

    def record_try(self, writer: object, error: MPS3Error | None) -> None:
        """Record the outcome of a try to write.

        Args:
            writer: Who has tried it, and tries it again.
            error: Why it waits to be tried again; ``None`` if it does not.
        """
        if error is not None:
            self._retried[writer] = error
        else:
            self._retried.pop(writer, None)

    @property
    def is_online(self) -> bool:
        """Whether the last request was answered, and requests are allowed."""
        return self._answers and not self._switch.shut

    def should_defer(self) -> bool:
        """Return whether requests that can wait should wait."""
        # Otherwise thousands of pending writes would retry independently.
        return self._switch.shut or (self._wait_forever and not self._answers)

    def switched(self) -> None:
        """Handle that the switch has blocked or allowed requests."""
        self._observer.connection_changed(None, online=self.is_online)
        self.watchers.notify()

    def record_response(self, error: MPS3Error | None) -> None:
        """Record the outcome of a request: ``None`` if it succeeded, or its error."""
        before = self._answers, self.last_error
        if isinstance(error, OfflineError):
            self._answers = False
        else:
            self._record(error)
        if before != (self._answers, self.last_error):
            self._observer.connection_changed(error, online=self.is_online)
            self.watchers.notify()

    def _record(self, error: MPS3Error | None) -> None:
        if isinstance(error, UnavailableError):
            if self._answers and self._environment.monotonic() >= self._warn_at:
                self._warn_at = self._environment.monotonic() + WARNING_INTERVAL
                _log.warning("%s lost the connection to the store, and retries: %s", self._ref, error)
            self._answers = False
        else:
            if not self._answers and self.last_contact is not None:
                _log.debug("%s is connected to the store again", self._ref)
            self._answers = True
            self.last_contact = self._environment.now()
        self.last_error = error
