"""A context variable that makes a storage bypass its caches and its open connections, after a damaged answer."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

BYPASS: Final[ContextVar[bool]] = ContextVar("mps3_anew", default=False)
"""Whether a request bypasses every cache and uses a new connection.

It is a context variable because few storages have a cache or a connection. The others ignore it.
"""
