"""Libraries that are installed only by whoever needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import ConfigurationError


def needed(module: str, extra: str) -> Any:
    """Return a module of an extra.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f'these wake-ups need another package: pip install "mps3[{extra}]"') from error
