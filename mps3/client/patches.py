"""The calls that change parts of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..format.names import name_in
from ..format.operations import Step
from ..types import JSON, UNCHECKED, Ref, Unchecked
from .changes import Changes, ValueChange, operation_at, step_of, steps_of
from .operations import Increment
from .preview import Unknown, preview
from .write import Write
from .writes import ExpiresIn, Writes


class Patches(Writes):
    """The calls that change parts of values, and merge with what others change at the same time."""

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
        """Change parts of a value. What other clients change in other parts at the same time is kept.

        The change is applied where its commit has its place in the order, to whatever the value is there, and to ``{}``
        if there is none. It is visible in this client immediately; await the result until it is durable.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            changes: A mapping of member names. A value replaces the member, ``None`` sets it to null, a mapping changes
                its members in turn (RFC 7386: what is there and is no object becomes one), `DELETE` removes it.
                `Increment`, `Append`, `Prepend`, `Union`, `Remove`, `Maximum` and `Minimum` change what is there; one
                of these in the place of the mapping changes the whole value.
            bucket: The key's bucket; the default bucket if ``None``.
            manifests: The manifests to commit the change to; the default manifest if ``None``.
            if_version: Change only if the key has this version when the change is committed, as with `put`.
            expires_in: Seconds, or a timedelta, until the key expires, as for `put`. If it is not given, the key keeps
                its expiry.

        Returns:
            A `Write`, which need not be awaited. A failure that no caller awaits is logged. It is a `ConflictError` if
            the change does not apply to the value that is there, such as an increment of a text: then it has changed
            nothing.

        Raises:
            TypeError: A value is not JSON.
            ValueError: A value or the key cannot be stored, or the change is larger than 32 KiB.
            ClosedError: The client is not open.
        """
        return self._patch({key: step_of(changes, str(key))}, bucket, manifests, "patch", expires_in, if_version)

    def patch_all(
        self,
        changes: Mapping[str | Ref, Changes] | Mapping[str, Changes],
        *,
        bucket: str | None = None,
        manifests: Sequence[str | Ref] | None = None,
        expires_in: ExpiresIn = None,
    ) -> Write:
        """Change parts of several values in one commit: a client sees either none or all of the changes.

        If one of the changes does not apply to what is known, nothing is written. If that is so only because of what
        another client writes at the same moment, the other keys are changed, and the error says so.

        Args:
            changes: Keys and the changes of each, as for `patch`: at most 500 keys, and 120 KiB.
            bucket: The bucket of keys that name none; the default bucket if ``None``.
            manifests: The manifests to commit the change to; the default manifest if ``None``.
            expires_in: As for `put_all`. Keys for which it is not given keep their expiry.

        Returns:
            A `Write`, which need not be awaited, as for `patch`.

        Raises:
            TypeError: A value is not JSON.
            ValueError: A value or a key cannot be stored, ``changes`` is empty, names a key twice, or has more than
                500 keys.
            ClosedError: The client is not open.
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
        """Add to a number: the value of a key, or a part of it. Clients that do so at the same time never conflict.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            by: The number to add. Where there is none, it is added to 0.
            path: Where the number is in the value, as a JSON pointer (RFC 6901) such as ``/votes``; the value itself if
                empty.
            bucket: As for `patch`.
            manifests: As for `patch`.
            if_version: As for `patch`.
            expires_in: As for `patch`.

        Returns:
            A `Write`, which need not be awaited, as for `patch`.

        Raises:
            TypeError: ``by`` is not a number.
            ValueError: ``by`` is not finite, or the path is not one.
            ClosedError: The client is not open.
        """
        step = operation_at(Increment(by), path, str(key))
        return self._patch({key: step}, bucket, manifests, "increment", expires_in, if_version)

    def _patch(
        self,
        steps: Mapping[Any, Step],
        bucket: str | None,
        manifests: Sequence[str | Ref] | None,
        verb: str,
        expires_in: ExpiresIn,
        if_version: str | Unchecked | None = UNCHECKED,
    ) -> Write:
        changes = {key: ValueChange(step) for key, step in steps.items()}
        return self._write(changes, bucket, manifests, verb, expires_in, if_version)

    def _previews(
        self, steps: Mapping[Any, Step], bucket: str | None, manifests: Sequence[str | Ref] | None
    ) -> Iterator[tuple[str, JSON]]:
        """Yield the labels of keys, and what steps make of the values that this client shows, where it is known."""
        self._check_open()
        for ref in self._owners(manifests):
            opened = self._manifest(ref)
            for key, step in steps.items():
                place, literal = self._place(key, bucket)
                value = preview(opened, name_in(ref, place, literal), (place, literal), step, self._contents)
                if not isinstance(value, Unknown):
                    yield self._label(place, literal), value
