"""A client for values of one type."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast, overload

from ..errors import ValidationError
from ..format.operations import Step
from ..types import DELETE, JSON, KEPT, UNCHECKED, Batch, Change, Delete, Kept, Ref, Unchecked
from .changes import Changes, operation_at, step_of, steps_of
from .conversion import Conversion, type_name
from .operations import Increment
from .subscription import Subscription
from .transactions import Transactions, call_update
from .write import Write

T = TypeVar("T")
D = TypeVar("D")
K = TypeVar("K", bound=str | Ref)


class Typed(Generic[T]):
    """A view of a client whose values have one type. Values are checked when they are written and when they are read.

    A value that does not fit raises a `ValidationError`, which names its key. Stored values are never changed.
    """

    def __init__(self, client: Transactions, model: Any) -> None:
        self._client = client
        self._model = model
        self._conversion = Conversion(model)

    def put(
        self,
        key: str | Ref,
        value: T | Delete,
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: float | timedelta | None = None,
        if_version: str | Unchecked | None = UNCHECKED,
    ) -> Write:
        """Set a key, as `MPS3.put` does.

        Raises:
            ValidationError: The value does not fit the type; nothing is written.
        """
        dumped = self._dumped(key, value)
        return self._client.put(
            key, dumped, expires_in=expires_in, bucket=bucket, manifests=manifests, if_version=if_version
        )

    @overload
    async def update(
        self,
        key: str | Ref,
        function: Callable[[T | None], T | Awaitable[T]],
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> T: ...

    @overload
    async def update(
        self,
        key: str | Ref,
        function: Callable[[T | D], T | Awaitable[T]],
        default: D,
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> T: ...

    async def update(
        self,
        key: str | Ref,
        function: Callable[[Any], Any],
        default: Any = None,
        *,
        expires_in: float | timedelta | Kept | None = KEPT,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
    ) -> Any:
        """Update a value, as `MPS3.update` does.

        Raises:
            ValidationError: A value does not fit the type; nothing is written.
            TypeError: The function returned ``None`` for a value that was not ``None``; nothing is written.
        """

        async def change(value: Any) -> JSON | Delete:
            loaded = default if value is DELETE else self._conversion.load(str(key), value)
            return self._dumped(key, await call_update(function, loaded, key))

        written = await self._client._update(key, change, DELETE, expires_in, bucket, manifest)  # noqa: SLF001 - part of the client
        return written if written is DELETE else self._conversion.load(str(key), written)

    def put_all(
        self,
        values: Mapping[K, T | Delete],
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: float | timedelta | None = None,
    ) -> Write:
        """Set several keys in one commit, as `MPS3.put_all` does.

        Raises:
            ValidationError: A value does not fit the type; nothing is written.
        """
        dumped: dict[str | Ref, JSON | Delete] = {key: self._dumped(key, value) for key, value in values.items()}
        return self._client.put_all(dumped, expires_in=expires_in, bucket=bucket, manifests=manifests)

    def patch(
        self,
        key: str | Ref,
        changes: Changes,
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        if_version: str | Unchecked | None = UNCHECKED,
        expires_in: float | timedelta | None = None,
    ) -> Write:
        """Change parts of a value, as `MPS3.patch` does. The changes are JSON, as the value is stored.

        What the changes make of the value that this client shows is checked, if that value is in memory. What they make
        of the value that another client writes at the same time is checked only when it is read.

        Raises:
            ValidationError: The result does not fit the type; nothing is written.
        """
        return self._patch({key: step_of(changes, str(key))}, bucket, manifests, "patch", expires_in, if_version)

    def patch_all(
        self,
        changes: Mapping[K, Changes],
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: float | timedelta | None = None,
    ) -> Write:
        """Change parts of several values in one commit, as `MPS3.patch_all` does, and check them as `patch` does.

        Raises:
            ValidationError: A result does not fit the type; nothing is written.
        """
        return self._patch(steps_of(changes), bucket, manifests, "patch_all", expires_in)

    def increment(
        self,
        key: str | Ref,
        by: float = 1,
        *,
        path: str = "",
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        if_version: str | Unchecked | None = UNCHECKED,
        expires_in: float | timedelta | None = None,
    ) -> Write:
        """Add to a number, as `MPS3.increment` does, and check the value as `patch` does.

        Raises:
            ValidationError: The result does not fit the type; nothing is written.
        """
        step = operation_at(Increment(by), path, str(key))
        return self._patch({key: step}, bucket, manifests, "increment", expires_in, if_version)

    @overload
    async def get(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> T | None: ...

    @overload
    async def get(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> T | D: ...

    async def get(
        self, key: str | Ref, default: Any = None, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Any:
        """Return the value of a key, as `MPS3.get` does.

        Raises:
            ValidationError: The value does not fit the type.
        """
        value = await self._client.get(key, DELETE, bucket=bucket, manifest=manifest)
        return default if value is DELETE else self._conversion.load(str(key), value)

    @overload
    def subscribe(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[T | None]: ...

    @overload
    def subscribe(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[T | D]: ...

    def subscribe(
        self, key: str | Ref, default: Any = None, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[Any]:
        """Return an iterator over the value of a key, as `MPS3.subscribe` does.

        A value that does not fit raises a `ValidationError`. The iteration can be continued.
        """
        return self._client._subscribe(key, default, bucket, manifest, self._conversion)  # noqa: SLF001 - part of the client

    async def get_all(
        self,
        keys: Iterable[str] | None = None,
        *,
        prefix: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        manifest: str | Ref | None = None,
    ) -> dict[str, T]:
        """Return keys and their values, as `MPS3.get_all` does.

        Raises:
            ValidationError: A value does not fit the type.
        """
        read = cast("Any", self._client).get_all  # its overloads say what goes together, and it checks that
        found = await read(keys, prefix=prefix, limit=limit, after=after, manifest=manifest)
        return {key: self._conversion.load(key, value) for key, value in found.items()}

    def watch(
        self, prefix: str = "", *, manifest: str | Ref | None = None, since: str | None = None
    ) -> Subscription[Batch[T]]:
        """Return an iterator over the keys with a prefix and over their commits, as `MPS3.watch` does.

        A batch with values that do not fit raises a `ValidationError`, which names one of the keys. The iteration
        continues with the other changes of that batch.
        """
        return TypedWatch(self._client.watch(prefix, manifest=manifest, since=since), self._conversion)

    def _patch(
        self,
        steps: Mapping[Any, Step],
        bucket: str | None,
        manifests: Sequence[str | Ref] | None,
        verb: str,
        expires_in: float | timedelta | None,
        if_version: str | Unchecked | None = UNCHECKED,
    ) -> Write:
        for label, value in self._client._previews(steps, bucket, manifests):  # noqa: SLF001 - part of the client
            self._conversion.check_patched(label, value)
        return self._client._patch(steps, bucket, manifests, verb, expires_in, if_version)  # noqa: SLF001 - the same

    def _dumped(self, key: str | Ref, value: T | Delete) -> JSON | Delete:
        return value if isinstance(value, Delete) else self._conversion.dump(str(key), value)

    def __repr__(self) -> str:
        return f"<{self._client!r} of {type_name(self._model)}>"


class TypedWatch(Subscription[Batch[T]]):
    """A watch whose values are converted."""

    def __init__(self, watch: Subscription[Batch[JSON]], conversion: Conversion) -> None:
        super().__init__(watch._manifest, watch._listener, watch._environment)  # noqa: SLF001 - part of the client
        self._watch = watch
        self._conversion = conversion
        self._ready: deque[Batch[T]] = deque()

    async def __anext__(self) -> Batch[T]:
        """Wait for the next batch."""
        if self._ready:
            return self._ready.popleft()
        batch = await anext(self._watch)
        changes: list[Change[T]] = []
        failed: list[ValidationError] = []
        for change in batch.changes:
            if isinstance(change.value, Delete):
                changes.append(Change(change.key, change.value, change.version, change.pending))
                continue
            try:
                value = self._conversion.load(change.key, change.value)
            except ValidationError as error:
                failed.append(error)
            else:
                changes.append(Change(change.key, value, change.version, change.pending))
        converted: Batch[T] = replace(cast("Any", batch), changes=tuple(changes))
        if failed:
            self._ready.append(converted)
            raise failed[0]
        return converted

    def _remove_listener(self) -> None:
        self._watch._detach()  # noqa: SLF001 - part of the client
