"""For those who write a storage of their own."""

from mps3.testing.conformance import CHECKS, Report, Result, Skipped, check_storage

__all__ = ["CHECKS", "Report", "Result", "Skipped", "check_storage"]
