"""The patch of a pending write, which becomes part of the commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from ..format import limits
from ..format.operations import Step, check_steps, joined
from ..format.patches import PATCH
from ..format.schema import MalformedError, format_time
from ..format.values import compact
from ..types import Ref
from .value import PendingValue


class TooLargeError(ValueError):
    """The patches of a write are more than a commit can have."""


def check_patches(contents: Iterable[PendingValue | None]) -> None:
    """Refuse patches that are too many, or too large, for one commit.

    Args:
        contents: What the commit says of its keys.

    Raises:
        TooLargeError: They are.
    """
    patches = [content for content in contents if isinstance(content, PendingPatch)]
    if len({(one.bucket, one.key) for one in patches}) < len(patches):
        raise ValueError("two of the keys are the same, once as a text and once as a Ref: make one change of them")
    if len(patches) > limits.MANY:
        raise TooLargeError(f"patches of {len(patches)} keys are more than {limits.MANY}: make several calls")
    for one in patches:
        if len(one.body) > limits.PATCH or len(one.steps) > limits.STEPS:
            raise TooLargeError(
                f"the changes of {one.key!r} have {len(one.body)} bytes in {len(one.steps)} steps, more than "
                f"{limits.PATCH} or {limits.STEPS}: put the value instead"
            )
    if (size := sum(len(content.body) for content in patches)) > limits.PATCHES:
        raise TooLargeError(f"patches of {size} bytes are more than {limits.PATCHES}: make several calls")


def encode_steps(steps: Sequence[Step], key: str) -> bytes:
    """Return the bytes of the steps of one patch.

    Args:
        steps: The steps.
        key: The key that they are for, for errors.

    Raises:
        ValueError: They are more than a patch can have, or nest too deep.
    """
    try:
        body = compact(orjson.dumps(steps))
    except TypeError:  # the encoder does not write so many levels
        raise ValueError(f"the change of {key!r} nests more than {limits.INLINE_DEPTH} deep") from None
    if len(body) > limits.PATCH:
        raise ValueError(
            f"the change of {key!r} has {len(body)} bytes, more than {limits.PATCH}: put the value instead"
        )
    try:
        check_steps(orjson.loads(body), "it")
    except MalformedError as error:
        raise ValueError(f"the change of {key!r} cannot be a patch ({error}): put the value instead") from None
    return body


class PendingPatch(PendingValue):
    """What a pending write says of how a value changes. It is inline, and its bytes are those of its steps.

    Args:
        bucket: The bucket of the value.
        key: The key of the value.
        body: The steps, encoded.
        manifests: The manifests that the write commits to.
        expires_in: Seconds until the key expires, from when the patch is stored; ``None``: it keeps its expiry.

    Attributes:
        steps: The steps.
        made_of: The patches that this one was made of by `after`; none if it was not.
    """

    __slots__ = ("_joined", "made_of", "steps")

    def __init__(
        self, bucket: str, key: str, body: bytes, manifests: tuple[Ref, ...] = (), expires_in: float | None = None
    ) -> None:
        super().__init__(bucket, key, body, manifests, expires_in, inline=True)
        self.steps: Sequence[Step] = orjson.loads(body)
        self.made_of: tuple[PendingPatch, ...] = ()
        self._joined: PendingPatch | None = None

    @property
    def patch(self) -> dict[str, Any]:
        """The change of the file that a commit records."""
        return self._change(self.version)

    @property
    def provisional(self) -> dict[str, Any]:
        """The same, before it has a version."""
        return self._change(self.name)

    @property
    def may_fail(self) -> bool:
        """Whether it depends on the value if it applies. A merge patch always does."""
        return any("operations" in step for step in self.steps)

    def _change(self, version: str | None) -> dict[str, Any]:
        expires = {} if self.expires is None else {"expires": format_time(self.expires)}
        return {"version": version, PATCH: self.steps, **expires}

    @property
    def parts(self) -> tuple[PendingPatch, ...]:
        """The patches that this one is made of, in order; itself if it is not made of others."""
        found: list[PendingPatch] = []
        first = self
        while first.made_of:
            found += reversed(first.made_of[1:])
            first = first.made_of[0]
        return (first, *reversed(found))

    def after(self, *earlier: PendingPatch) -> PendingPatch:
        """Return one patch that does what some earlier ones and this one do. It is always the same object."""
        if not earlier:
            return self
        several = (*earlier, self)
        if self._joined is None or self._joined.made_of != several:
            steps: list[Step] = []
            expires_in = None
            for one in several:
                add_steps(steps, one.steps)
                expires_in = expires_in if one.expires_in is None else one.expires_in
            made = PendingPatch(self.bucket, self.key, compact(orjson.dumps(steps)), self.manifests, expires_in)
            made.made_of, made.version = several, self.version
            self._joined = made
        return self._joined

    def places(self) -> Mapping[PendingPatch, range]:
        """Return which of the steps of a patch that is made of several belong to which of those."""
        found: dict[PendingPatch, range] = {}
        steps: list[Step] = []
        for part in self.parts:
            start = add_steps(steps, part.steps)
            found[part] = range(start, len(steps))
        return found


def add_steps(steps: list[Step], more: Sequence[Step]) -> int:
    """Add steps to others, where simple ones are joined; return the place of the first of them."""
    if steps and more and (one := joined(steps[-1], more[0])) is not None:
        steps[-1:] = [one, *more[1:]]
        return len(steps) - len(more)
    steps += more
    return len(steps) - len(more)
