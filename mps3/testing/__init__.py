"""For tests: of programs that use this library, and of storages that somebody wrote for it.

Nothing here needs pytest but `mps3.testing.fixtures`, which is imported by nobody else.
"""

from .clock import VIRTUAL_BACKEND, StuckError, VirtualClock, VirtualEnvironment, VirtualLoop
from .conformance import CHECKS, Report, Result, Skipped, check_storage
from .faulty import Fault, FaultyStorage, Request

__all__ = [
    "CHECKS",
    "VIRTUAL_BACKEND",
    "Fault",
    "FaultyStorage",
    "Report",
    "Request",
    "Result",
    "Skipped",
    "StuckError",
    "VirtualClock",
    "VirtualEnvironment",
    "VirtualLoop",
    "check_storage",
]
