"""mps3: a multiplayer key-value store in an S3 bucket."""

from .client.client import MPS3
from .client.history import FileInfo, Revision, Snapshot
from .client.log import LogEntry
from .client.operations import Append, Increment, Maximum, Minimum, Operation, Prepend, Remove, Union
from .client.presence import Presence
from .client.query import Query
from .client.rejected import Rejected
from .client.status_changes import StatusChanges
from .client.subscription import Subscription
from .client.transaction import Transaction, TransactionBlock
from .client.typed import Typed
from .client.view import View
from .client.write import Write
from .collect.report import Collected, Collecting, Tally
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
from .manifest.reconnect import PendingChange, PendingWrite, Reconnect
from .observability.statistics import Statistics
from .storage.local import LocalStorage
from .storage.memory import MemoryStorage
from .types import DELETE, JSON, KEPT, UNCHECKED, Batch, Change, Commit, Ref, Status

__version__ = "0.1.0"

__all__ = [
    "DELETE",
    "JSON",
    "KEPT",
    "MPS3",
    "UNCHECKED",
    "AccessError",
    "Append",
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
    "Increment",
    "LocalStorage",
    "LogEntry",
    "MPS3Error",
    "Maximum",
    "MemoryStorage",
    "Minimum",
    "Operation",
    "PendingChange",
    "PendingWrite",
    "Prepend",
    "Presence",
    "Query",
    "Reconnect",
    "Ref",
    "Rejected",
    "Remove",
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
    "Union",
    "UnknownOutcomeError",
    "ValidationError",
    "View",
    "WithdrawnError",
    "Write",
    "__version__",
]
