"""Parts of objects through obstore, of services that answer otherwise than they should."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("obstore", reason="the package obstore is not installed")

from scripted_s3 import PAGE, Received, answer, error
from storage.obstore_storage import STAMP, ScriptedService, memory_storage, talking_to

from mps3 import ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Object
from mps3.storage.obstore import storage as obstore_storage

BODY = b"0123456789"
ETAG = '"0x8DC5D5A3B6C6F8A"'
OWN = {"etag": ETAG, "x_goog_generation": "1", "Last_Modified": STAMP}
SECONDS = 2014879777.0
WHOLE = answer(200, BODY, **OWN)
PART = answer(206, b"234", content_range="bytes 2-4/10", **OWN)
BEHIND = error(416, "InvalidRange")

pytestmark = pytest.mark.parametrize("scheme", ["gs", "az"])


class Service(ScriptedService):
    """A service with other answers to a HEAD, and to a GET of a whole object."""

    head: Any = WHOLE
    whole: Any = WHOLE

    def reply(self, received: Received) -> Any:
        if "/bucket" in received.target and received.method == "HEAD":
            return self.head
        if received.method == "GET" and "range" not in received.headers:
            return self.whole
        return super().reply(received)


@pytest.fixture
async def fake():
    async with Service() as fake:
        yield fake


async def test_a_part_is_asked_for_and_read(fake, scheme):
    async with talking_to(fake, PART, scheme=scheme) as storage:
        found = await storage.get("bucket", "key", if_none_match='"1"', byte_range=(2, 5), limit=3)
        assert found == Object(b"234", None, ETAG, SECONDS, partial=True)
        with pytest.raises(CorruptionError, match="3 bytes, more than 2"):
            await storage.get("bucket", "key", byte_range=(2, 5), limit=2)
    asked = fake.received[0].headers
    assert (asked["range"], asked["if-none-match"]) == ("bytes=2-4", '"1"')


async def test_a_large_object_has_parts(fake, scheme):
    part = answer(206, b"234", content_range=f"bytes 2-4/{1 << 40}", **OWN)
    async with talking_to(fake, part, scheme=scheme) as storage:
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"


async def test_an_unchanged_object_has_no_part(fake, scheme):
    async with talking_to(fake, answer(304), scheme=scheme) as storage:
        assert await storage.get("bucket", "key", if_none_match=ETAG, byte_range=(2, 5)) is UNCHANGED


async def test_the_part_is_cut_from_the_whole_object_where_it_comes(fake, scheme, monkeypatch):
    async with talking_to(fake, WHOLE, scheme=scheme) as storage:
        for start, end in ((0, 3), (2, 5), (8, 20), (10, 12), (15, 17)):
            found = await storage.get("bucket", "key", byte_range=(start, end), limit=3)
            assert (found.body, found.etag, found.partial) == (BODY[start:end], ETAG, True)
        with pytest.raises(CorruptionError):
            await storage.get("bucket", "key", byte_range=(2, 5), limit=2)
        monkeypatch.setattr(obstore_storage, "MAX_WHOLE_BYTES", 9)
        with pytest.raises(ConfigurationError, match="ignores the range"):
            await storage.get("bucket", "key", byte_range=(2, 5))
        monkeypatch.undo()
        fake.whole = answer(200, BODY[:5], length=10, **OWN)
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key", byte_range=(2, 5))


OTHERS = {
    "another start": answer(206, b"345", content_range="bytes 3-5/10", **OWN),
    "further": answer(206, b"2345", content_range="bytes 2-5/10", **OWN),
    "shorter": answer(206, b"23", content_range="bytes 2-3/10", **OWN),
    "nothing said": answer(206, b"234", **OWN),
    "nonsense": answer(206, b"234", content_range="bytes x", **OWN),
    "fewer bytes than said": answer(206, b"23", content_range="bytes 2-4/10", **OWN),
    "more bytes than said": answer(206, b"2345", content_range="bytes 2-4/10", **OWN),
    "cut": answer(206, b"23", length=3, content_range="bytes 2-4/10", **OWN),
    "encoded": answer(206, b"234", content_range="bytes 2-4/10", content_encoding="gzip", **OWN),
    "of nobody": answer(206, b"234", content_range="bytes 2-4/10", etag='"1"', Last_Modified=STAMP),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_another_part_is_damage(fake, scheme, what):
    async with talking_to(fake, OTHERS[what], scheme=scheme) as storage:
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key", byte_range=(2, 5))
        assert len(fake.received) == 4
        fake.answers = [OTHERS[what], PART]
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"


EMPTY = answer(206, b"", content_range="bytes 0--1/0", **OWN)  # as Azurite


@pytest.mark.parametrize("behind", [BEHIND, answer(416), EMPTY], ids=["code", "bare", "empty"])
async def test_behind_the_end_is_an_empty_part_of_the_object_that_is_there(fake, scheme, behind):
    async with talking_to(fake, behind, scheme=scheme) as storage:
        found = await storage.get("bucket", "key", byte_range=(10, 12))
        assert found == Object(b"", None, ETAG, SECONDS, partial=True)
        assert [one.method for one in fake.received] == ["GET", "HEAD"]
        assert await storage.get("bucket", "key", if_none_match=ETAG, byte_range=(10, 12)) is UNCHANGED


async def test_a_416_is_no_word_of_what_is_there(fake, scheme):
    async with talking_to(fake, BEHIND, scheme=scheme) as storage:
        with pytest.raises(UnavailableError, match="has 10 bytes"):
            await storage.get("bucket", "key", byte_range=(9, 12))
        fake.whole = fake.answers = [error(404, "NoSuchKey" if scheme == "gs" else "BlobNotFound")]
        assert await storage.get("bucket", "key", byte_range=(10, 12)) is ABSENT
        fake.answers, fake.head = [BEHIND], answer(404)
        assert await storage.get("bucket", "key", byte_range=(10, 12)) is ABSENT
        fake.answers = [answer(416, PAGE, content_type="text/html")]
        with pytest.raises(MPS3Error, match="web page"):
            await storage.get("bucket", "key", byte_range=(10, 12))
        fake.whole = BEHIND
        with pytest.raises(ConfigurationError, match="416"):
            await storage.get("bucket", "key")


@pytest.mark.parametrize("byte_range", [(3, 3), (-1, 3), (0, 2**63)])
async def test_what_is_no_range_is_refused(scheme, byte_range):
    storage = memory_storage()
    await storage.open()
    with pytest.raises(ConfigurationError, match="byte_range"):
        await storage.get("bucket", "key", byte_range=byte_range)
    await storage.aclose()
