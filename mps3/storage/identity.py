"""The identity of a store: a text that is the same in every process, and that holds no secrets."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .protocol import Storage


@runtime_checkable
class Identified(Protocol):
    """A storage that can say which store it is. No storage has to."""

    def identity(self) -> str:
        """Where the objects are: the same for all that reach the same objects, and another for any other store.

        It is written into directories of working offline and into messages, so it holds no credentials. It is called
        in a thread, before `mps3.storage.Storage.open`, and may read files, but asks no server.
        """
        ...


def identity_of(storage: Storage) -> str:
    """Which store a storage is. Where it does not say so itself, its class has to do.

    Args:
        storage: The storage. It need not be open.

    Raises:
        ConfigurationError: Its settings do not make sense.
    """
    if isinstance(storage, Identified):
        return storage.identity()
    kind = type(storage)
    return f"{kind.__module__}.{kind.__qualname__}"
