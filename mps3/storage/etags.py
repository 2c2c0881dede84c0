"""Weak ETags, which a proxy makes of strong ones.

A proxy that changes the encoding of a body (usually by compression) marks its ETag as weak, with ``W/``. The object in
the store is the same, and the store knows its ETag only without the mark.
"""

from __future__ import annotations


def strong(etag: str | None) -> str | None:
    """Return an ETag as the store knows it, for a condition."""
    return etag[2:] if etag is not None and is_weak(etag) else etag


def is_weak(etag: str) -> bool:
    """Whether an ETag has the mark ``W/``."""
    return etag.startswith(("W/", "w/"))


def bare(etag: str | None) -> str:
    """Return an ETag without mark and quotes, for comparisons."""
    return (strong(etag) or "").strip('"')
