"""The patch of a pending write, which becomes part of the commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from ..format import limits
from ..format.operations import Step, check_steps, joined
from ..format.patches import PATCH
from ..format.schema import MalformedError, format_time
from ..types import Ref
from .value import PendingValue


class TooLargeError(ValueError):
    """The patches of a write are more than a commit can have."""


def encode_steps(steps: Sequence[Step], key: str) -> bytes:
    """Return the bytes of the steps of a patch, which a reader of the commit does not refuse.

    Args:
        steps: The steps.
        key: The key that they are for, for errors.

    Raises:
        ValueError: They are too large, or nest too deep.
    """
    try:
        body = orjson.dumps(steps)
        check_steps(list(steps), "")
    except TypeError:
        pass  # the encoder does not write so many levels
    except MalformedError:
        if len(body) > limits.PATCH:
            raise ValueError(
                f"the change of {key!r} has {len(body)} bytes, more than {limits.PATCH}: put the value instead"
            ) from None
    else:
        return body
    raise ValueError(f"the change of {key!r} nests more than {limits.INLINE_DEPTH} deep")


def check_patches(contents: Iterable[PendingValue | None]) -> None:
    """Refuse patches that are too many, or too large, for one commit.

    Args:
        contents: What the commit says of its keys.

    Raises:
        TooLargeError: They are.
    """
    patches = [content for content in contents if isinstance(content, PendingPatch)]
    if len(patches) > limits.MANY:
        raise TooLargeError(f"patches of {len(patches)} keys are more than {limits.MANY}: make several calls")
    if (size := sum(len(content.body) for content in patches)) > limits.PATCHES:
        raise TooLargeError(f"patches of {size} bytes are more than {limits.PATCHES}: make several calls")


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
        parts: The patches that this one is made of, in order; itself if it is not made of others.
    """

    __slots__ = ("_joined", "parts", "steps")

    def __init__(
        self, bucket: str, key: str, body: bytes, manifests: tuple[Ref, ...] = (), expires_in: float | None = None
    ) -> None:
        super().__init__(bucket, key, body, manifests, expires_in, inline=True)
        self.steps: Sequence[Step] = orjson.loads(body)
        self.parts: tuple[PendingPatch, ...] = (self,)
        self._joined: tuple[PendingPatch, PendingPatch] | None = None

    @property
    def patch(self) -> dict[str, Any]:
        """The change of the file that a commit records."""
        return self._change(self.version)

    @property
    def provisional(self) -> dict[str, Any]:
        """The same, before it has a version."""
        return self._change(self.name)

    def _change(self, version: str | None) -> dict[str, Any]:
        expires = {} if self.expires is None else {"expires": format_time(self.expires)}
        return {"version": version, PATCH: self.steps, **expires}

    def after(self, earlier: PendingPatch) -> PendingPatch:
        """Return one patch that does what an earlier one and this one do. It is always the same object."""
        if self._joined is not None and self._joined[0] is earlier:
            return self._joined[1]
        steps = [*earlier.steps, *self.steps]
        if earlier.steps and self.steps and (one := joined(earlier.steps[-1], self.steps[0])) is not None:
            steps = [*earlier.steps[:-1], one, *self.steps[1:]]
        expires_in = earlier.expires_in if self.expires_in is None else self.expires_in
        made = PendingPatch(self.bucket, self.key, orjson.dumps(steps), self.manifests, expires_in)
        made.parts, made.version = (*earlier.parts, self), self.version
        self._joined = earlier, made
        return made

    def places(self) -> Mapping[PendingPatch, range]:
        """Return which of the steps of a patch that is made of several belong to which of those."""
        found: dict[PendingPatch, range] = {}
        steps: list[Step] = []
        for part in self.parts:
            start = len(steps)
            if steps and part.steps and (one := joined(steps[-1], part.steps[0])) is not None:
                start -= 1
                steps = [*steps[:-1], one, *part.steps[1:]]
            else:
                steps += part.steps
            found[part] = range(start, len(steps))
        return found
