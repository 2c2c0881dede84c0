"""mps3: a multiplayer key-value store in a bucket."""

from .client import MPS3
from .errors import (
    AccessError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    FormatError,
    MPS3Error,
    UnavailableError,
    WithdrawnError,
)
from .storage.local import LocalStorage
from .storage.memory import MemoryStorage
from .subscription import Subscription
from .types import DELETE, JSON, Commit, Ref, Status
from .write import Write

__version__ = "0.1.0"

__all__ = [
    "DELETE",
    "JSON",
    "MPS3",
    "AccessError",
    "ClosedError",
    "Commit",
    "ConfigurationError",
    "ConflictError",
    "CorruptionError",
    "FormatError",
    "LocalStorage",
    "MPS3Error",
    "MemoryStorage",
    "Ref",
    "Status",
    "Subscription",
    "UnavailableError",
    "WithdrawnError",
    "Write",
    "__version__",
]
