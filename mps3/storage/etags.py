"""Weak ETags, which a proxy makes of strong ones.

A proxy that changes how bytes are encoded (compression, for the most) marks the ETags of what it passes on as weak,
with ``W/``. The object in the store is the same, and the store knows its ETag without the mark only.
"""

from __future__ import annotations

from typing import overload


@overload
def strong(etag: str) -> str: ...


@overload
def strong(etag: str | None) -> str | None: ...


def strong(etag: str | None) -> str | None:
    """An ETag as the store knows it, for a condition.

    Args:
        etag: As it was sent; ``None`` if there was none.
    """
    return etag[2:] if etag is not None and is_weak(etag) else etag


def is_weak(etag: str) -> bool:
    """Whether an ETag has the mark."""
    return etag.startswith(("W/", "w/"))


def bare(etag: str | None) -> str:
    """An ETag without mark and quotes: the same however it was sent."""
    return strong(etag or "").strip('"')
