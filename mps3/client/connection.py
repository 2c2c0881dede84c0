"""Whether the store answers, as far as one client knows, and who is told when that changes."""

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
"""Seconds between two warnings that the store does not answer; it may come and go."""

_log = logging.getLogger("mps3")


class Connection:
    """Whether the store answers.

    Args:
        ref: The client's default manifest, for the log.
        switch: The way to the store, closed while the client is to be offline.
        environment: Tells the time.
        observer: Told of changes.
        patient: Whether writes may wait for the store for as long as it takes.

    Attributes:
        watchers: Those who watch the client's status.
        last_contact: When the store last answered, by this machine's clock; ``None`` before that.
        last_error: What it last answered, or why it did not; ``None``: all is well.
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
        """Whether the store answered last, and may be asked."""
        return self._answers and not self._switch.shut

    def is_away(self) -> bool:
        """Whether it makes no sense to ask now for what can wait."""
        # Thousands of writes may wait, and need not all try again and again.
        return self._switch.shut or (self._patient and not self._answers)

    def switched(self) -> None:
        """The gate was opened or shut: tell who wants to know."""
        self._observer.contact(None, online=self.is_online)
        self.watchers.tell()

    def contact(self, error: MPS3Error | None) -> None:
        """The store has answered, with an error perhaps, or it has not.

        Args:
            error: What it said, or an `UnavailableError`; ``None``: all is well.
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
