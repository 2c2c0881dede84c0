"""The state of the connection of one client to the store."""

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

WARNING: Final = 60.0
"""Seconds between two warnings that the store does not answer, at the least."""

_log = logging.getLogger("mps3")


class Connection:
    """The state of the connection to the store.

    Args:
        ref: The client's default manifest, for the log.
        switch: Blocks requests while the client is offline by choice.
        environment: The clock.
        observer: Told of changes.
        patient: Whether writes wait for the store without a limit.

    Attributes:
        watchers: The iterators over the client's status.
        last_contact: When the store last answered, by this machine's clock; ``None`` before the first answer.
        last_error: The error of the last request; ``None`` if it succeeded.
    """

    def __init__(
        self, ref: Ref, switch: OfflineSwitch, environment: Environment, observer: Observer, *, patient: bool
    ) -> None:
        self._ref = ref
        self._switch = switch
        self._environment = environment
        self._observer = observer
        self._patient = patient
        self._answers = False
        self._warn_at = -math.inf
        self.watchers = Watchers()
        self.last_contact: datetime | None = None
        self.last_error: MPS3Error | None = None

    @property
    def is_online(self) -> bool:
        """Whether the last request was answered, and requests are allowed."""
        return self._answers and not self._switch.shut

    def should_defer(self) -> bool:
        """Return whether requests that can wait should wait."""
        # Thousands of pending writes would retry, each for itself.
        return self._switch.shut or (self._patient and not self._answers)

    def switched(self) -> None:
        """Report that requests have been allowed or blocked."""
        self._observer.contact(None, online=self.is_online)
        self.watchers.tell()

    def contact(self, error: MPS3Error | None) -> None:
        """Record the outcome of a request.

        Args:
            error: Its error; an `UnavailableError` if the store did not answer; ``None`` if it succeeded.
        """
        before = self._answers, self.last_error
        if isinstance(error, OfflineError):
            self._answers = False
        else:
            self._note(error)
        if before != (self._answers, self.last_error):
            self._observer.contact(error, online=self.is_online)
            self.watchers.tell()

    def _note(self, error: MPS3Error | None) -> None:
        if isinstance(error, UnavailableError):
            if self._answers and self._environment.monotonic() >= self._warn_at:
                self._warn_at = self._environment.monotonic() + WARNING
                _log.warning("%s lost contact with the store, and tries again: %s", self._ref, error)
            self._answers = False
        else:
            if not self._answers and self.last_contact is not None:
                _log.debug("%s has contact with the store again", self._ref)
            self._answers = True
            self.last_contact = self._environment.now()
        self.last_error = error
