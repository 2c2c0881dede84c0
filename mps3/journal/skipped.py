"""Telling of names in a manifest that are none: no client can have written them, and nobody can use them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

REMEMBERED: Final = 1000
"""Objects whose names were told of, so that each is told of once."""

_Place: TypeAlias = tuple[str, str, str | None]

_log = logging.getLogger("mps3")
_told: OrderedDict[_Place, None] = OrderedDict()


def report_skipped(bucket: str, key: str, version: str | None, names: Sequence[str]) -> None:
    """Log the names that were left out of a version of a manifest, or of a run of it.

    Args:
        bucket: Where it was read.
        key: Where it was read.
        version: Where it was read.
        names: What was left out.
    """
    place = (bucket, key, version)
    if not names or place in _told:
        return
    _told[place] = None
    while len(_told) > REMEMBERED:
        _told.popitem(last=False)
    shown = ", ".join(ascii(name[:80]) for name in names[:3]) + (", …" if len(names) > 3 else "")
    _log.warning(
        "s3://%s/%s%s names %s, which no key can be called: %d left out. Somebody has written to the manifest without "
        "mps3",
        bucket,
        ascii(key)[1:-1],
        "" if version is None else f" (version {ascii(version)[1:-1]})",
        shown,
        len(names),
    )
