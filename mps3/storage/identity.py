"""The identity of a store: a text that is the same in every process, and that holds no secrets."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .protocol import Storage


@runtime_checkable
class Identified(Protocol):
    """A storage that can name its store. This is optional."""

    def identity(self) -> str:
        """Return the identity: equal for storages that reach the same objects, and different for any other store.

        It is written into offline directories and messages, so it holds no credentials. It is called in a thread,
        before `mps3.storage.Storage.open`; it may read files, but it makes no request.
        """
        ...


def identity_of(storage: Storage) -> str:
    """Return the identity of a storage, which need not be open; the name of its class if it has no identity.

    Raises:
        ConfigurationError: Its settings are invalid.
    """
    if isinstance(storage, Identified):
        return storage.identity()
    kind = type(storage)
    return f"{kind.__module__}.{kind.__qualname__}"
