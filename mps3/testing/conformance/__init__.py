"""What every `mps3.storage.Storage` must do, as checks that can be run against one.

All at once::

    report = await check_storage(MyStorage(), "a-bucket-for-tests")
    assert report.passed, report

or one by one, with any test framework, against a storage that is open::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_conformance(check, storage):
        await check(storage, "a-bucket-for-tests")

The bucket should be one for tests: the checks write to it under names of their own (and a few
awkward ones, such as ``..``), and leave what they wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from .asking import Skipped
from .listings import (
    deleted,
    deleted_version,
    described,
    exact_key,
    listing,
    newest_first,
    old_versions,
    paged_versions,
    scanned,
    told_the_time,
    without_versions,
)
from .objects import (
    absent,
    awkward_keys,
    checksum,
    control_characters,
    empty_body,
    large_body,
    limited,
    missing_bucket,
    overwritten,
    round_trip,
    shared,
    unchanged,
)
from .races import cancelled_puts, concurrent_puts, conditional_create, conditional_replace, whole_puts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...storage.protocol import Storage

    Check = Callable[[Storage, str], Awaitable[None]]

__all__ = ["CHECKS", "Report", "Result", "Skipped", "check_storage"]

CHECKS: Final[tuple[Check, ...]] = (
    round_trip,
    empty_body,
    large_body,
    absent,
    overwritten,
    unchanged,
    limited,
    checksum,
    newest_first,
    paged_versions,
    exact_key,
    old_versions,
    deleted,
    deleted_version,
    without_versions,
    awkward_keys,
    control_characters,
    listing,
    described,
    scanned,
    told_the_time,
    concurrent_puts,
    whole_puts,
    cancelled_puts,
    conditional_create,
    conditional_replace,
    missing_bucket,
    shared,  # the last one: if it fails, the storage is closed
)
"""Each takes an open storage and a bucket, raises `AssertionError` with the sentence of the
documentation that does not hold, or `Skipped` if it does not apply."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went.

    Attributes:
        check: Its name.
        outcome: ``skipped`` if it does not apply.
        detail: What does not hold, or why it was skipped.
    """

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.check}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Report:
    """How all checks went.

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
        bucket: A bucket in it that is for tests.

    Returns:
        How each check went. It raises only what ``open`` and ``aclose`` raise.
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
