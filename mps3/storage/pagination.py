"""Going through the pages of a listing of any store, without going round for ever."""

from __future__ import annotations

from ..errors import UnavailableError


class PageProgress:
    """Where a listing has been: a page that starts where another one did would make it endless.

    It costs a constant amount of memory. It remembers the start of one page, and after twice as many pages that of
    another one (Brent's algorithm), so that a circle is noticed after going round a few times.

    Args:
        bucket: What is listed, for the error.
        key: The key or the prefix, for the error.
        operation: As S3 calls it, for the error.
    """

    def __init__(self, bucket: str, key: str | None, operation: str) -> None:
        self._bucket = bucket
        self._key = key
        self._operation = operation
        self._remembered: str | None = None
        self._count = 0
        self._power = 1

    def forward(self, start: str | None) -> str | None:
        """Go on with the next page.

        Args:
            start: Where it starts; ``None`` at the end of the listing.

        Returns:
            The same.

        Raises:
            UnavailableError: The listing goes round.
        """
        if start is None:
            return None
        if start == self._remembered:
            raise UnavailableError(
                f"a listing of s3://{self._bucket}/{self._key or ''} goes round: a page starts where an earlier "
                "one did",
                bucket=self._bucket,
                key=self._key,
                operation=self._operation,
            )
        self._count += 1
        if self._count == self._power:
            self._remembered = start
            self._power *= 2
            self._count = 0
        return start
