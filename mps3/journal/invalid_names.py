"""Telling of names in a manifest that are none: no client can have written them, and nobody can use them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

REMEMBERED: Final = 1000
"""Objects whose names were told of, so that each is told of once."""

_log = logging.getLogger("mps3")


class InvalidNames:
    """Logs the names that were left out of versions of a manifest, or of its runs, once for each of these.

    Args:
        bucket: The manifest's bucket.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._told: OrderedDict[tuple[str, str | None], None] = OrderedDict()

    def report(self, key: str, version: str | None, names: Sequence[str]) -> None:
        """Log what was left out of one object.

        Args:
            key: Where it was read.
            version: Where it was read.
            names: What was left out.
        """
        if not names or (key, version) in self._told:
            return
        self._told[key, version] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        shown = ", ".join(ascii(name[:80]) for name in names[:3]) + (", …" if len(names) > 3 else "")
        _log.warning(
            "s3://%s/%s%s names %s, which no key can be called: %d left out. Somebody has written to the manifest "
            "without mps3",
            self._bucket,
            ascii(key)[1:-1],
            "" if version is None else f" (version {ascii(version)[1:-1]})",
            shown,
            len(names),
        )
