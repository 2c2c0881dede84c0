"""What became of a request through obstore: the right error, and whether a write may have taken effect."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("obstore", reason="the package obstore is not installed")

from helpers import NoBackoff
from scripted_s3 import HANG, PAGE, SLOW_DOWN, answer, error
from storage.obstore_storage import CALLS, OPTIONS, STAMP, ScriptedService, talking_to

from mps3 import AccessError, ConfigurationError, ConflictError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Head, Object
from mps3.storage.obstore.storage import ObstoreStorage

OWN = {"ETag": '"0x8DC5D5A3B6C6F8A"', "x_goog_generation": "1"}
STORED = answer(200, **OWN)
HELLO = answer(200, b"hello", Last_Modified=STAMP, **OWN)
OUTCOMES = {
    True: [None, answer(500), error(503, "ServiceUnavailable"), answer(200), answer(502, PAGE), answer(404, PAGE)],
    False: [
        SLOW_DOWN,
        error(503, "ServerBusy"),
        answer(429),
        error(403, "AccessDenied"),
        error(404, "NoSuchBucket"),
        error(404, "ContainerNotFound"),
        error(409, "ContainerBeingDeleted"),
        error(400, "InvalidMetadata"),
        error(409, "BlobImmutableDueToPolicy"),
        answer(403, PAGE),
    ],
}
KINDS = [
    (error(403, "AuthorizationFailure"), AccessError, "Check the credentials"),
    (error(401, "InvalidAuthenticationInfo"), AccessError, "Check the credentials"),
    (error(404, "NoSuchBucket"), ConfigurationError, 'no (bucket|container) "bucket"'),
    (error(400, "InvalidUri", "bad"), ConfigurationError, "InvalidUri: bad"),
    (error(500, "InternalError"), UnavailableError, "InternalError"),
    (answer(511, PAGE), UnavailableError, "a web page came"),
    (answer(407, PAGE), AccessError, "An intermediary refuses"),
    (answer(400, PAGE), ConfigurationError, "Check the endpoint"),
    (None, UnavailableError, "connection broke"),
]


@pytest.fixture
async def fake():
    async with ScriptedService() as fake:
        yield fake


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """obstore waits between the attempts of its own, which are those of a listing."""
    monkeypatch.setattr("mps3.storage.obstore.storage.LISTING_RETRIES", 0)


@pytest.fixture(params=["gs", "az"])
def scheme(request):
    return request.param


@pytest.mark.parametrize("maybe", OUTCOMES)
async def test_an_error_says_whether_the_write_may_count(fake, scheme, maybe):
    async with talking_to(fake, scheme=scheme) as storage:
        for reply in OUTCOMES[maybe]:
            fake.answers = [reply]
            for name in ("put", "create"):
                with pytest.raises(MPS3Error) as caught:
                    await CALLS[name](storage)
                assert caught.value.maybe_written is maybe or isinstance(caught.value, ConflictError), (reply, name)
                assert (caught.value.bucket, caught.value.key) == ("bucket", "key")
            with pytest.raises(MPS3Error) as caught:
                await storage.list("bucket")
            assert not caught.value.maybe_written


@pytest.mark.parametrize(("reply", "kind", "why"), KINDS)
async def test_each_answer_has_its_error(fake, scheme, reply, kind, why):
    async with talking_to(fake, reply, scheme=scheme) as storage:
        for name in ("get", "put", "list", "delete", "capabilities"):
            with pytest.raises(kind, match=why) as caught:
                await CALLS[name](storage)
            assert f"{scheme}://bucket" in str(caught.value)


@pytest.mark.parametrize("reply", [error(412, "PreconditionFailed"), error(409, "BlobAlreadyExists")])
async def test_a_conflict_has_written_nothing(fake, scheme, reply):
    async with talking_to(fake, reply, scheme=scheme) as storage:
        with pytest.raises(ConflictError) as caught:
            await CALLS["create"](storage)
        assert not caught.value.maybe_written
        with pytest.raises(UnavailableError):
            await CALLS["put"](storage)


async def test_a_create_is_never_repeated_after_its_answer_was_lost(fake, scheme):
    async with talking_to(fake, None, STORED, scheme=scheme) as storage:
        with pytest.raises(UnavailableError) as caught:
            await CALLS["create"](storage)
        assert caught.value.maybe_written
    assert [one.method for one in fake.received] == ["PUT"]


async def test_a_create_is_repeated_when_it_was_refused_for_now(fake, scheme):
    async with talking_to(fake, SLOW_DOWN, answer(429), STORED, scheme=scheme) as storage:
        assert (await CALLS["create"](storage)).etag == OWN["ETag"]
    assert len(fake.received) == 3
    condition = "x-goog-if-generation-match" if scheme == "gs" else "if-none-match"
    assert {one.headers[condition] for one in fake.received} == {"0" if scheme == "gs" else "*"}


async def test_reads_are_repeated(fake, scheme):
    async with talking_to(fake, None, answer(500), answer(200, b"he", length=5, Last_Modified=STAMP, **OWN), HELLO,
                          scheme=scheme) as storage:  # fmt: skip
        found = await storage.get("bucket", "key")
    assert isinstance(found, Object) and found.body == b"hello" and found.version is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_write_follows_no_redirect(fake, scheme, status):
    redirect = answer(status, location=f"http://127.0.0.1:{fake.port}/portal")
    async with talking_to(fake, redirect, scheme=scheme) as storage:
        with pytest.raises(ConfigurationError, match="Check the endpoint") as caught:
            await CALLS["create"](storage)
        assert not caught.value.maybe_written and len(fake.received) == 1
        fake.answers = [STORED, redirect]
        await CALLS["put"](storage)
        with pytest.raises(UnavailableError, match="a redirect") as caught:
            await CALLS["create"](storage)
        assert not caught.value.maybe_written


async def test_a_page_at_the_end_of_a_redirect_is_no_success(fake, scheme):
    portal = answer(200, PAGE, ETag='"1"', Last_Modified=STAMP)
    redirect = answer(303, location=f"http://127.0.0.1:{fake.port}/portal")
    for name in ("put", "create"):
        async with talking_to(fake, redirect, portal, scheme=scheme) as storage:
            with pytest.raises(UnavailableError, match="not one of") as caught:
                await CALLS[name](storage)
            assert caught.value.maybe_written
    async with talking_to(fake, redirect, portal, HELLO, scheme=scheme) as storage:
        assert isinstance(await storage.get("bucket", "key"), Object)


async def test_no_connection_has_no_effect(fake, scheme):
    async with talking_to(fake, scheme=scheme) as storage:
        fake._server.close()
        with pytest.raises(UnavailableError, match=r"no connection \(tcp connect error, Connection refused") as caught:
            await CALLS["put"](storage)
    assert not caught.value.maybe_written


async def test_no_encryption(scheme):
    def refuse(_, writer):
        writer.write(answer(400))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = {**OPTIONS[scheme], "endpoint_url": f"https://127.0.0.1:{port}"}
    storage = ObstoreStorage(scheme, settings, environment=NoBackoff())
    await storage.open()
    try:
        with pytest.raises(UnavailableError, match=r"no connection \(TLS: Invalid"):
            await CALLS["get"](storage)
    finally:
        await storage.aclose()
        server.close()


async def test_a_store_that_is_silent(fake, scheme):
    async with talking_to(fake, HANG, scheme=scheme, timeout=0.3) as storage:
        for name in ("put", "get"):
            with pytest.raises(UnavailableError, match="no answer in") as caught:
                await CALLS[name](storage)
            assert caught.value.maybe_written is (name == "put")


async def test_a_call_can_be_cancelled(fake, scheme):
    async with talking_to(fake, HANG, scheme=scheme) as storage:
        for name in CALLS:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(CALLS[name](storage), 0.05)


async def test_absent_objects(fake, scheme):
    code = "NoSuchKey" if scheme == "gs" else "BlobNotFound"
    async with talking_to(fake, error(404, code), scheme=scheme) as storage:
        assert await storage.get("bucket", "key") is ABSENT
        assert await storage.get("bucket", "key", if_none_match='"1"') is ABSENT
        assert await storage.head("bucket", "key") is ABSENT
        if scheme == "gs":
            await storage.delete("bucket", "key")


async def test_a_404_of_something_else_is_not_believed(fake, scheme):
    code = "NoSuchKey" if scheme == "gs" else "BlobNotFound"
    async with talking_to(fake, error(404, code), answer(404, b"404 page not found"), HELLO, scheme=scheme) as storage:
        assert await storage.get("bucket", "key") is ABSENT
        assert isinstance(await storage.get("bucket", "key"), Object)


async def test_an_unchanged_object(fake, scheme):
    async with talking_to(fake, HELLO, answer(304), scheme=scheme) as storage:
        found = await storage.get("bucket", "key")
        assert isinstance(found, Object)
        assert await storage.get("bucket", "key", if_none_match=f"W/{found.etag}") is UNCHANGED
    assert fake.received[1].headers["if-none-match"] == found.etag


async def test_large_objects_are_refused_before_they_are_read(fake, scheme):
    large = answer(200, b"x" * 100, length=1 << 40, Last_Modified=STAMP, **OWN)
    async with talking_to(fake, large, scheme=scheme) as storage:
        for limit in (None, 99):
            with pytest.raises(CorruptionError):
                await storage.get("bucket", "key", limit=limit)


async def test_what_a_proxy_encodes_is_refused(fake, scheme):
    encoded = answer(200, b"hello", Last_Modified=STAMP, **OWN, Content_Encoding="gzip")
    async with talking_to(fake, encoded, scheme=scheme) as storage:
        with pytest.raises(UnavailableError, match="encoded"):
            await storage.get("bucket", "key")


async def test_metadata_have_the_names_that_a_service_takes(fake, scheme):
    name = "x-goog-meta-mps3-manifests" if scheme == "gs" else "x-ms-meta-mps3_manifests"
    told = answer(200, Last_Modified=STAMP, **OWN, x="y").replace(b"x: y", f"{name}: bucket/a%2Cb".encode())
    async with talking_to(fake, STORED, told, scheme=scheme) as storage:
        await storage.put("bucket", "key", b"{}", metadata={"mps3-manifests": "bucket/a%2Cb"})
        found = await storage.head("bucket", "key")
    assert fake.received[0].headers[name] == "bucket/a%2Cb"
    assert (
        fake.received[0].headers["content-type" if scheme == "gs" else "x-ms-blob-content-type"] == "application/json"
    )
    assert isinstance(found, Head) and found.metadata["mps3-manifests"] == "bucket/a%2Cb"


async def test_no_secret_is_in_a_message(fake):
    secret = "sig=c2VjcmV0"
    endpoint = f"http://127.0.0.1:{fake.port}"
    options = {"account_key": "", "sas_token": f"sv=2021&{secret}", "account_name": "account", "endpoint_url": endpoint}
    storage = ObstoreStorage("az", options)
    assert "c2VjcmV0" not in repr(storage) + storage.identity()
    await storage.open()
    for reply in (None, error(403, "AuthenticationFailed", f"http://x/?{secret}"), answer(404, b"x")):
        fake.answers = [reply]
        for name in ("get", "put", "list", "delete"):
            try:
                said = await CALLS[name](storage)
            except MPS3Error as failure:
                said = failure
            assert "c2VjcmV0" not in str(said)
    await storage.aclose()


async def test_an_answer_cannot_imitate_a_failure_without_effect(fake, scheme):
    lie = "\n\nDebug source:\nGeneric {\n    kind: Connect,\n    status: 429,\n    source: TokenRequest"
    async with talking_to(fake, error(500, "InternalError", lie), answer(500, lie.encode()), scheme=scheme) as storage:
        for _ in range(2):
            with pytest.raises(UnavailableError) as caught:
                await CALLS["put"](storage)
            assert caught.value.maybe_written


# The time of the store -----------------------------------------------------------------------------------------------


async def test_the_time_comes_from_the_service(fake, scheme):
    async with talking_to(fake, STORED, scheme=scheme) as storage:
        assert storage.clock() is None
        stored = await CALLS["put"](storage)
        assert stored.modified == pytest.approx(fake.time, abs=1)
        assert storage.clock() == pytest.approx(fake.time, abs=1)
        await asyncio.gather(*(CALLS["put"](storage) for _ in range(5)))
        assert fake.asked == 1


@pytest.mark.parametrize(
    ("scheme", "reply", "stamp"),
    [
        ("gs", answer(200, ETag='"1"', x_goog_generation="2015310577250000"), 2015310577.0),
        ("gs", answer(200, ETag='"1"', x_goog_generation="2015310589250000"), None),
        ("gs", answer(200, ETag='"1"', x_goog_generation="1"), None),
        ("az", answer(200, ETag=f'"0x{(2015310577 + 62135596800) * 10**7 + 123:X}"'), 2015310577.0),
        ("az", answer(200, ETag='"0x1D6740F9C7F9770"'), None),
    ],
)
async def test_a_commit_has_the_stamp_that_others_see_or_none(fake, scheme, reply, stamp):
    async with talking_to(fake, reply, scheme=scheme) as storage:
        assert (await CALLS["create"](storage)).modified == stamp
        assert (await CALLS["put"](storage)).modified == pytest.approx(fake.time, abs=1)


async def test_it_is_asked_again_when_this_machine_has_slept(fake, monkeypatch):
    async with talking_to(fake, STORED) as storage:
        await CALLS["put"](storage)
        fake.time += 3600
        session = storage._session
        monkeypatch.setattr(session, "_wall_ahead", session._wall_ahead - 3600)
        stored = await CALLS["put"](storage)
        assert stored.modified == pytest.approx(fake.time, abs=1)


async def test_closing_does_not_cancel_calls_that_wait_for_the_time(fake, monkeypatch):
    asked = asyncio.Event()

    async def never(_):
        asked.set()
        await asyncio.sleep(60)

    monkeypatch.setattr("mps3.storage.obstore.session.ask_time", never)
    async with talking_to(fake, STORED) as storage:
        putting = asyncio.create_task(CALLS["put"](storage))
        await asked.wait()
    assert (await putting).modified is None


async def test_credentials_that_cannot_be_had(fake, monkeypatch):
    key = {"client_email": "a", "private_key_id": "b", "private_key": "no key", "gcs_base_url": "http://x"}
    storage = ObstoreStorage("gs", {"service_account_key": json.dumps(key), "endpoint_url": f"http://x:{fake.port}"})
    with pytest.raises(ConfigurationError, match="settings of the store are wrong"):
        await storage.open()


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        (answer(400, b'{"error": "invalid_client", "secret": "c2VjcmV0"}'), AccessError, "no usable credentials"),
        (answer(404), AccessError, "no usable credentials"),
        (answer(503), UnavailableError, "no credentials at the moment"),
        (None, UnavailableError, "no credentials at the moment"),
        (answer(200, b"nonsense"), UnavailableError, "no credentials at the moment"),
    ],
)
async def test_a_token_that_cannot_be_had(fake, reply, kind, why):
    here = f"http://127.0.0.1:{fake.port}"
    options = {"account_name": "a", "tenant_id": "bucket", "client_id": "b", "client_secret": "c2VjcmV0"}
    storage = ObstoreStorage(
        "az", {**options, "authority_host": here, "endpoint_url": here}, environment=NoBackoff(), timeout=5
    )
    await storage.open()
    fake.answers = [reply]
    try:
        for name in ("get", "put", "delete"):
            with pytest.raises(kind, match=why) as caught:
                await CALLS[name](storage)
            assert not caught.value.maybe_written and "c2VjcmV0" not in str(caught.value)
    finally:
        await storage.aclose()


async def test_a_service_that_does_not_tell_the_time_is_not_asked_all_the_time(fake):
    fake.time = None
    async with talking_to(fake, STORED, HELLO) as storage:
        for _ in range(3):
            stored = await CALLS["put"](storage)
            assert stored.modified is None
        assert fake.asked == 1
