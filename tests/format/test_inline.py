"""Inline values: what is read of them, and refused."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from format.test_document import PLACE, SHA256, json_values, raw, read, replaced
from hypothesis import given

from mps3.errors import CorruptionError, FormatError
from mps3.format import limits
from mps3.format.block import check_block, line_of, open_block
from mps3.format.document_codec import decode, encode
from mps3.format.file_entry import inline_body, nests_deep, sha256_of_value, size_of_value


def nested_lists(depth: int) -> Any:
    return orjson.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ({"version": "1", "value": "x" * (limits.INLINE - 1)}, "65537 bytes"),
        ({"version": "1", "value": [["x"] * 10_000] * 2}, "bytes, more than 65536"),
        ({"version": "1", "value": nested_lists(65)}, "nests more than 64 deep"),
        ({"version": "1", "value": 1, "sha256": SHA256}, "SHA-256 of a stored one"),
        ({"value": 1}, "version is not a text"),
        ({"version": "", "value": 1}, "version is not a text"),
        ({"version": "1", "value": 1, "size": "x"}, "size is not a whole number"),
        ({"version": "1", "value": 1, "expires": "soon"}, "expires is not a time"),
    ],
)
@pytest.mark.parametrize("where", [("update", "files", "a"), ("log", 0, "update", "files", "c"), ("files", "d")])
def test_a_hostile_inline_value_is_refused(file, why, where):
    with pytest.raises(CorruptionError, match=f"VERSION.*{why}"):
        read(replaced(where, file))
    if where == ("files", "d"):
        line = orjson.dumps(["k", file])
        with pytest.raises(ValueError, match=why):
            check_block(line)


@given(json_values)
def test_an_inline_value_is_read_as_it_was_written(value):
    file = {"value": value, "size": 1, "version": "1"}
    for where in (("update", "files", "a"), ("log", 0, "update", "files", "c"), ("files", "d")):
        document = read(replaced(where, file))
        again = decode(encode(document, **PLACE), version="v", **PLACE)
        assert again == document
    assert again.files["d"]["value"] == value
    assert inline_body(again.files["d"]) == orjson.dumps(value)
    line = line_of("k", file)
    assert check_block(line) == ["k"]
    assert open_block(line).get("k", None) == file


@pytest.mark.parametrize("levels", [63, 64, 65])
@pytest.mark.parametrize(("opening", "inner", "closing"), [("[", "", "]"), ("[", "1", "]"), ('{"a":', "1", "}")])
def test_a_writer_makes_no_value_inline_that_a_reader_refuses(levels, opening, inner, closing):
    body = (opening * levels + inner + closing * levels).encode()
    file = {"version": "1", "value": orjson.loads(body), "size": len(body)}
    try:
        read(replaced(("update", "files", "a"), file))
    except CorruptionError:
        assert nests_deep(body)
    else:
        assert not nests_deep(body)


def test_the_largest_and_the_deepest_inline_value():
    for value in ("x" * (limits.INLINE - 2), nested_lists(64), [0] * 32_767):
        document = read(replaced(("files", "d"), {"value": value, "size": 1, "version": "1"}))
        assert decode(encode(document, **PLACE), version="v", **PLACE).files["d"]["value"] == value
        assert not nests_deep(orjson.dumps(value))
    one = orjson.loads("[" * 63 + "1" + "]" * 63)
    assert not nests_deep(orjson.dumps(one)) and nests_deep(orjson.dumps([one]))
    assert nests_deep(orjson.dumps(nested_lists(65)))


def test_the_size_of_an_inline_value_is_counted_and_not_believed():
    file = {"value": "é", "size": 4711, "version": "1"}
    assert read(replaced(("files", "d"), file)).files["d"] == file
    assert size_of_value(file) == 4
    assert sha256_of_value(file) == hashlib.sha256('"é"'.encode()).hexdigest()
    assert size_of_value({"version": "1", "size": 4711}) == 4711 and inline_body({"version": "1"}) is None


@pytest.mark.parametrize("number", [1])
def test_an_older_format_is_refused(number):
    with pytest.raises(FormatError, match=r"VERSION.*format 1, this client reads format 2.*before the first release"):
        read(raw() | {"mps3": number})
