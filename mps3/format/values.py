"""What a value is as bytes, and that it comes back as it was. Pure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast

import orjson

from ..errors import CorruptionError
from ..types import JSON
from . import limits
from .json_text import is_richer, parse

PAGE: Final = 4096
"""Bytes of memory that a system hands out at once; values of no more are copied, to share them."""
LONG: Final = 64 * 2**10
"""Parsing more bytes than this would hold up the event loop; a thread does it."""
BREATH: Final = 1e-6
"""Seconds that such a thread sleeps now and then, so that the event loop can go on."""
TOGETHER: Final = 500
"""Values that are read back together: few, so that the garbage collector finds few objects to visit."""
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: JSON, key: str) -> bytes:
    """The bytes of a value.

    Raises:
        TypeError: Something in it is not JSON.
        ValueError: It is a number or text that JSON cannot hold, or more than any client reads.
    """
    try:
        body = compact(orjson.dumps(value, option=_OPTIONS))
        _check_size(body)
        if orjson.loads(body) == value:
            return body
    except _TooMuch as error:
        raise ValueError(f"the value for {key!r} {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        _explain(value, key)
        raise TypeError(f"the value for {key!r} is not JSON: {error}") from error
    _explain(value, key)
    return body


def encode_all(values: Mapping[str, JSON]) -> dict[str, bytes]:
    """The bytes of many values, as `encode` makes them of each, and much faster.

    Raises:
        TypeError: As `encode`.
        ValueError: As `encode`.
    """
    bodies: dict[str, bytes] = {}
    items = iter(values.items())
    while part := list(islice(items, TOGETHER)):
        keys, wanted = zip(*part, strict=True)
        found = _encode_together(wanted)
        if found is None:
            found = [encode(value, key) for key, value in part]
        bodies.update(zip(keys, found, strict=True))
    return bodies


def _encode_together(values: Sequence[JSON]) -> list[bytes] | None:
    """Encode some values with one call; ``None`` if one of them has to be looked at more closely."""
    # Texts hold no line breaks: JSON escapes them.
    separated: list[Any] = [orjson.Fragment(b"\n")] * (2 * len(values) - 1)
    separated[::2] = values
    try:
        found = orjson.dumps(separated, option=_OPTIONS)[1:-1].split(b",\n,")
        same = orjson.loads(b"[%b]" % b",".join(found)) == list(values)
    except (TypeError, ValueError, RecursionError):
        return None
    # What has no more bytes has no more parts.
    return found if same and max(map(len, found)) <= limits.PARTS else None


class _TooMuch(ValueError):  # noqa: N818 - never leaves this module
    """More than any client reads."""


def _check_size(body: bytes, pause: Callable[[], object] = lambda: None) -> None:
    if len(body) > limits.VALUE:
        raise _TooMuch(f"has {len(body)} bytes, more than {limits.VALUE}")
    if is_richer(body, limits.PARTS, pause):
        raise _TooMuch(f"has more than {limits.PARTS} arrays, objects and commas: keep parts of it under other keys")


def is_deep(body: bytes, value: object) -> bool:
    """Whether a value nests deeper than a writer takes it.

    Args:
        body: Its bytes.
        value: What was read from them.
    """
    if not isinstance(value, dict | list):
        return False
    if len(body) <= LONG and body.count(b"[") + body.count(b"{") <= limits.DEPTH:
        return False  # it has not even so many parts
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def compact(body: bytes) -> bytes:
    """Return what the encoder has made, to be kept for long."""
    # What orjson returns holds on to the room that it was written in, some KB for a value of a few bytes, and finding
    # new room for the next one takes longer than all else. A copy takes what it needs.
    return body if len(body) > PAGE else bytes(memoryview(body))


def decode(body: bytes, bucket: str, key: str, version: str | None, pause: Callable[[], object] = lambda: None) -> JSON:
    """The value in some bytes.

    Args:
        body: The bytes.
        bucket: Where they were read, for errors.
        key: Where they were read, for errors.
        version: Where they were read, for errors.
        pause: Called now and then, to let others work.

    Raises:
        CorruptionError: They are not JSON, or not what any client writes.
    """
    try:
        _check_size(body, pause)
        value = parse(body)
        if is_deep(body, value):
            raise _TooMuch(f"nests more than {limits.DEPTH} deep")
        return cast("JSON", value)
    except ValueError as error:
        why = str(error) if isinstance(error, _TooMuch) else f"is not JSON: {error}"
        raise CorruptionError(
            f"s3://{bucket}/{key} (version {version}) {why}",
            bucket=bucket,
            key=key,
            operation="GetObject",
            version=version,
        ) from error


async def load(body: bytes, bucket: str, key: str, version: str | None) -> JSON:
    """The same; a large value is read in a thread, so that the event loop goes on."""
    if len(body) <= LONG:
        return decode(body, bucket, key, version)
    return await asyncio.to_thread(decode, body, bucket, key, version, lambda: time.sleep(BREATH))


def _explain(value: object, key: str) -> None:
    """Raise for the first part of ``value`` that does not round-trip, saying where it is."""
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    while stack:
        part, path, depth = stack.pop()
        shown = path if len(path) <= 120 else f"{path[:60]}…{path[-60:]}"
        where = f"the value for {key!r}" + (f", at {shown}," if path else "")
        if depth >= limits.DEPTH and isinstance(part, dict | list | tuple):
            raise ValueError(f"{where} nests more than {limits.DEPTH} deep")
        if part is None or type(part) in (bool, str, int):
            if isinstance(part, str) and not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError:
                    raise ValueError(f"{where} is a text with a lone surrogate, which UTF-8 cannot hold") from None
            if type(part) is int and not -(2**63) <= part < 2**64:
                raise ValueError(f"{where} is an integer of more than 64 bits")
        elif type(part) is float:
            if part != part or part in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
                raise ValueError(f"{where} is {part}, which JSON does not have: use None or a text")
        elif type(part) is dict:
            for name, inner in part.items():
                if type(name) is not str:
                    raise TypeError(f"{where} has the key {name!r}: the keys of JSON objects are texts")
                stack.append((inner, f"{path}[{name!r}]", depth + 1))
                stack.append((name, f"{path} the key {name!r}", depth + 1))
        elif type(part) in (list, tuple):
            stack.extend((inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(cast("list[Any]", part)))
        else:
            raise TypeError(f"{where} is a {type(part).__qualname__}, which is not JSON: convert it first")
