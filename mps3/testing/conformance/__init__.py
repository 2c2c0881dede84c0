"""Checks of what every `mps3.storage.Storage` must do.

All at once::

    report = await check_storage(MyStorage(), "a-bucket-for-tests")
    assert report.passed, report

or one by one, with any test framework, against a storage that is open::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_conformance(check, storage):
        await check(storage, "a-bucket-for-tests")

Use a bucket for tests: the checks write objects with keys of their own (and a few awkward keys, such as ``..``), and do
not delete all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from . import listings, objects, parts, races
from .helpers import Skipped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...storage.protocol import Storage

    Check = Callable[[Storage, str], Awaitable[None]]

__all__ = ["CHECKS", "Report", "Result", "Skipped", "check_storage"]

CHECKS: Final[tuple[Check, ...]] = (
    objects.round_trip,
    objects.empty_body,
    objects.large_body,
    objects.absent,
    objects.overwritten,
    objects.unchanged,
    objects.limited,
    objects.checksum,
    parts.parts,
    parts.parts_of_nothing,
    parts.parts_of_versions,
    parts.parts_unchanged,
    parts.parts_limited,
    parts.parts_of_large,
    listings.newest_first,
    listings.paged_versions,
    listings.exact_key,
    listings.old_versions,
    listings.deleted,
    listings.deleted_version,
    listings.without_versions,
    objects.awkward_keys,
    objects.control_characters,
    listings.listing,
    listings.described,
    listings.scanned,
    listings.store_time,
    races.concurrent_puts,
    races.whole_puts,
    races.cancelled_puts,
    races.conditional_create,
    objects.missing_bucket,
    objects.shared,  # the last one, because the storage is closed if it fails
)
"""Each takes an open storage and a bucket, and raises an `AssertionError` with the sentence of the documentation that
does not hold, or `Skipped` if it does not apply."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check.

    Attributes:
        check: Its name.
        outcome: ``skipped`` if the check does not apply.
        detail: What does not hold, or why it was skipped.
    """

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.check}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all checks.

    Attributes:
        results: One for each check, in the order of `CHECKS`.
    """

    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome != "failed" for result in self.results)

    def __str__(self) -> str:
        return "\n".join(str(result) for result in self.results)


async def check_storage(storage: Storage, bucket: str) -> Report:
    """Open a storage, run all checks against it, and close it.

    Args:
        storage: The storage, not open yet.
        bucket: A bucket for tests.

    Returns:
        The result of each check. Errors of ``open`` and ``aclose`` are raised.
    """
    await storage.aclose()
    await storage.open()
    try:
        results = [await _result(check, storage, bucket) for check in CHECKS]
    finally:
        await storage.aclose()
        await storage.aclose()
    return Report(tuple(results))


async def _result(check: Check, storage: Storage, bucket: str) -> Result:
    name = getattr(check, "__name__", repr(check))
    try:
        await check(storage, bucket)
    except Skipped as reason:
        return Result(name, "skipped", str(reason))
    except AssertionError as error:
        return Result(name, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - a broken storage may raise anything
        return Result(name, "failed", f"unexpected {error!r}")
    return Result(name, "passed")
