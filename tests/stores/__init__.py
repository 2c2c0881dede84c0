"""Real S3 servers to test against, one file each, and the exam that they take.

``nox -s store -- seaweedfs`` installs one, starts it, and runs the whole exam; ``--up`` only starts it. What is
installed or built is kept in a cache outside the checkout, ``~/.cache/mps3-stores`` or ``MPS3_STORES_CACHE``.
"""

from __future__ import annotations

import os
import pkgutil
from importlib import import_module
from pathlib import Path

from stores.base import StoreServer

CACHE = Path(os.environ.get("MPS3_STORES_CACHE") or Path.home() / ".cache" / "mps3-stores")
FRAMEWORK = {"__main__", "base", "native", "packages", "processes", "exam", "conftest"}


def modules() -> list[str]:
    """The names of all servers, as the command takes them."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in found if name not in FRAMEWORK and not name.startswith("test_")]


def store(name: str) -> StoreServer:
    """The server of that name; it need not be installed yet."""
    module = import_module(f"stores.{name}")
    (found,) = (
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, StoreServer) and one.__module__ == module.__name__
    )
    return found(name, CACHE / name)
