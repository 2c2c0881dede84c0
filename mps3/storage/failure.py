"""What a failure of a request means for whoever repeats requests."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import MPS3Error


@dataclass(frozen=True, slots=True)
class Failure:
    """The classification of a failure.

    Attributes:
        error: The error for the caller.
        transient: Whether another attempt may succeed soon.
        no_effect: Whether the request certainly had no effect.
    """

    error: MPS3Error
    transient: bool = False
    no_effect: bool = False


class MalformedResponseError(Exception):
    """A response is not one of the service, or not complete, whatever its status is."""
