"""For tests: of programs that use this library, and of storages that somebody wrote for it.

Nothing here needs pytest but `mps3.testing.fixtures`, which is imported by nobody else.
"""

from mps3.testing.clock import VIRTUAL_BACKEND, StuckError, VirtualClock, VirtualLoop, VirtualWorld
from mps3.testing.conformance import CHECKS, Report, Result, Skipped, check_storage
from mps3.testing.faulty import Fault, FaultyStorage, Request

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
    "VirtualLoop",
    "VirtualWorld",
    "check_storage",
]
