"""Tools for tests of programs that use this library, and of other implementations of `mps3.storage.Storage`.

Only `mps3.testing.fixtures` needs pytest, and no other module imports it. No other room imports this one.
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
