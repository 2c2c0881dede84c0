"""How a reader tells a storage that an answer arrived damaged, so that the request takes another way."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

BYPASS: Final[ContextVar[bool]] = ContextVar("mps3_anew", default=False)
"""Whether a request should neither be answered from a cache, nor use a connection that others have used before.

In the context, because few storages can do anything about it. A storage that cannot ignores it.
"""
