"""mps3: a multiplayer key-value store in a bucket."""

from .changes import StatusChanges
from .client import MPS3
from .collect import Collected, Collecting, Tally
from .commits import LogEntry
from .errors import (
    AccessError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    ExpiredError,
    FormatError,
    MPS3Error,
    UnavailableError,
    UnknownOutcomeError,
    ValidationError,
    WithdrawnError,
)
from .history import FileInfo, Revision, Snapshot
from .offline.reconnect import PendingChange, PendingWrite, Reconnect
from .offline.rejected import Rejected
from .presence import Presence
from .statistics import Statistics
from .storage.local import LocalStorage
from .storage.memory import MemoryStorage
from .subscription import Subscription
from .transactions import Transaction, TransactionBlock
from .typed import Typed
from .types import DELETE, JSON, KEPT, UNCHECKED, Batch, Change, Commit, Ref, Status
from .write import Write

__version__ = "0.1.0"

__all__ = [
    "DELETE",
    "JSON",
    "KEPT",
    "MPS3",
    "UNCHECKED",
    "AccessError",
    "Batch",
    "Change",
    "ClosedError",
    "Collected",
    "Collecting",
    "Commit",
    "ConfigurationError",
    "ConflictError",
    "CorruptionError",
    "ExpiredError",
    "FileInfo",
    "FormatError",
    "LocalStorage",
    "LogEntry",
    "MPS3Error",
    "MemoryStorage",
    "PendingChange",
    "PendingWrite",
    "Presence",
    "Reconnect",
    "Ref",
    "Rejected",
    "Revision",
    "Snapshot",
    "Statistics",
    "Status",
    "StatusChanges",
    "Subscription",
    "Tally",
    "Transaction",
    "TransactionBlock",
    "Typed",
    "UnavailableError",
    "UnknownOutcomeError",
    "ValidationError",
    "WithdrawnError",
    "Write",
    "__version__",
]
