"""What a value is as bytes, and that it comes back as it was. Pure."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson

from .errors import CorruptionError
from .types import JSON

PAGE: Final = 4096
"""Bytes of memory that a system hands out at once; values of no more are copied, to share them."""
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: JSON, key: str) -> bytes:
    """The bytes of a value.

    Raises:
        TypeError: Something in it is not JSON.
        ValueError: It is a number or text that JSON cannot hold.
    """
    try:
        body = _compact(orjson.dumps(value, option=_OPTIONS))
        if orjson.loads(body) == value:
            return body
    except (TypeError, ValueError, RecursionError) as error:
        _explain(value, key)
        raise TypeError(f"the value for {key!r} is not JSON: {error}") from error
    _explain(value, key)
    return body


def _compact(body: bytes) -> bytes:
    # What orjson returns holds on to the room that it was written in, some KB for a value of a few bytes, and finding
    # new room for the next one takes longer than all else. A copy takes what it needs.
    return body if len(body) > PAGE else bytes(memoryview(body))


def decode(body: bytes, bucket: str, key: str, version: str | None) -> JSON:
    """The value in some bytes.

    Raises:
        CorruptionError: They are not JSON.
    """
    try:
        return cast("JSON", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise CorruptionError(
            f"s3://{bucket}/{key} (version {version}) is not JSON: {error}",
            bucket=bucket,
            key=key,
            operation="GetObject",
            version=version,
        ) from error


def _explain(value: object, key: str) -> None:
    """Raise for the first part of ``value`` that does not round-trip, saying where it is."""
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    while stack:
        part, path, depth = stack.pop()
        shown = path if len(path) <= 120 else f"{path[:60]}…{path[-60:]}"
        where = f"the value for {key!r}" + (f", at {shown}," if path else "")
        if depth > 250:
            raise ValueError(f"{where} nests too deep")
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
