"""put, put_all, delete and get, over a real protocol: what one client writes, the others read."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from aiobotocore.httpsession import AIOHTTPSession
from helpers import AWKWARD_KEYS, POLL, client, eventually, soon
from servers import MOTO

from mps3 import DELETE, ConfigurationError, CorruptionError, Ref
from mps3.format.slot import slot_key

pytestmark = pytest.mark.server


# Moto knows no line feeds in keys; every store of test_keys does.
KEYS = {name: key.replace("\n", "") if MOTO else key for name, key in AWKWARD_KEYS.items()}


@pytest.fixture(params=["log", "merge"])
def journal(request):
    """In a bucket with versions both journals are possible."""
    return request.param


@pytest.fixture
def connect(bucket, s3_config, journal):
    return lambda *args, **options: client(bucket, s3_config, *args, **{"journal": journal, **options})


@pytest.fixture
def commit_key(journal):
    """The object of the first commit: the manifest itself, or a slot."""
    return "manifest.json" if journal == "merge" else slot_key("manifest.json", 1)


async def test_any_key_is_taken_literally(connect, bucket, s3, hold):
    """All at once, so that none is taken for another."""
    hold(*KEYS.values())
    values = {key: {"name": name, "key": key} for name, key in KEYS.items()}
    async with connect(inline=0) as writer, connect(inline=0) as reader:
        subscriptions = {key: reader.subscribe(key, "absent") for key in values}
        assert await asyncio.gather(*map(anext, subscriptions.values())) == ["absent"] * len(values)
        await asyncio.gather(*(writer.put(key, value) for key, value in values.items()))
        for key, value in values.items():
            assert await reader.get(key) == value
            assert await soon(anext(subscriptions[key])) == value
        assert [await reader.get(Ref(key)) for key in values] == list(values.values())
        stored = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, EncodingType="url")["Contents"]]
        assert len([key for key in stored if not key.startswith("manifest.json.log/")]) == len(values) + 1
        await asyncio.gather(*(writer.delete(key) for key in list(values)[::2]))
        assert await asyncio.gather(*(reader.get(key, "absent") for key in values)) == [
            value if number % 2 else "absent" for number, value in enumerate(values.values())
        ]


async def test_the_object_is_where_the_key_says(connect, bucket, s3):
    async with connect(inline=0) as writer:
        key = KEYS["awkward"]
        commit = await writer.put(key, {"a": 1})
    body = s3.get_object(Bucket=bucket, Key=key, VersionId=commit.versions[key])["Body"].read()
    assert json.loads(body) == {"a": 1}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("", ValueError),
        ("k" * 1025, ValueError),
        ("\U0001f600" * 257, ValueError),
        ("a\ud800", ValueError),
        (1, TypeError),
        (None, TypeError),
        (b"k", TypeError),
        (Ref(""), ValueError),
        (Ref("k", ""), ValueError),
        (Ref("k", "a/b"), ValueError),
    ],
    ids=str,
)
async def test_what_is_no_key_is_refused_at_the_call(connect, key, kind):
    async with connect() as one:
        for call in (
            one.put,
            one.subscribe,
            lambda key, _: one.put_all({"fine": 1, key: 1}),
            lambda key, _: one.delete(key),
        ):
            with pytest.raises(kind):
                call(key, 1)
        with pytest.raises(kind):
            await one.get(key)
        assert await one.get("fine", "absent") == "absent"
        assert one.status().pending == 0


async def test_the_places_of_the_manifest_are_no_keys(connect):
    async with connect("dir/m.json") as one:
        for key in ("dir/m.json", "dir/m.json.runs/x"):
            with pytest.raises(ConfigurationError, match="choose another key"):
                one.put(key, 1)
        await one.put("dir/m.json.runsx", 1)


async def test_null_is_not_absence(connect):
    async with connect() as writer, connect() as reader:
        assert await reader.get("k", "absent") == "absent"
        assert await reader.get("k") is None
        await writer.put("k", None)
        assert await reader.get("k", "absent") is None
        assert await reader.get("k") is None
        await writer.delete("k")
        assert await reader.get("k", "absent") == "absent"


@pytest.mark.parametrize("way", ["put", "put_all", "delete"])
async def test_three_ways_to_delete(connect, way):
    async with connect() as writer, connect() as reader:
        await writer.put_all({"k": 1, "other": 1})
        assert await reader.get("k") == 1
        write = {
            "put": lambda: writer.put("k", DELETE),
            "put_all": lambda: writer.put_all({"k": DELETE, "other": 2}),
            "delete": lambda: writer.delete("k"),
        }[way]()
        assert (await write).versions["k"] is None
        assert await reader.get("k", "absent") == "absent"
        assert await reader.get("other") == (2 if way == "put_all" else 1)
        await writer.put("k", 3)
        assert await reader.get("k") == 3


async def test_deleting_what_is_absent_is_no_error(connect):
    async with connect() as one:
        assert (await one.delete("k")).versions == {"k": None}
        await one.delete("k")


async def test_deleting_removes_no_object(connect, bucket, s3):
    async with connect(inline=0) as one:
        commit = await one.put("k", 1)
        await one.delete("k")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=commit.versions["k"])["Body"].read() == b"1"


async def test_put_all_is_one_commit(connect):
    async with connect() as writer, connect() as reader:
        await writer.put_all({"a": 1, Ref("b"): 2, "c": DELETE})
        assert (await reader.get("a"), await reader.get("b"), await reader.get("c", 3)) == (1, 2, 3)
        with pytest.raises(ValueError):
            writer.put_all({})


async def test_reads_are_as_new_as_the_call(connect):
    """Not as new as the last poll."""
    async with connect() as writer, connect(poll_interval=60) as reader:
        for number in range(5):
            await writer.put("k", number)
            assert await reader.get("k") == number


async def test_values_written_before_are_found_by_new_clients(connect):
    async with connect() as one:
        await asyncio.gather(*(one.put(f"k{number}", number) for number in range(30)))
        for number in range(5):
            await one.put("k0", f"again {number}")
    async with connect() as later:
        assert await later.get("k0") == "again 4"
        assert [await later.get(f"k{number}") for number in range(1, 30)] == list(range(1, 30))


async def test_manifests_are_groups_of_their_own(connect):
    async with connect() as one, connect("second.json") as two:
        first = await one.put("k", 1)
        assert first.manifest == Ref("manifest.json", one._bucket)
        assert await two.get("k", "absent") == "absent"
        assert await two.get("k", manifest="manifest.json") == 1
        await two.put("k", 2)
        assert (await one.get("k"), await two.get("k")) == (1, 2)
        assert await one.get("k", manifest="second.json") == 2
        await one.delete("k", manifests=[Ref("second.json")])
        assert await two.get("k", "absent") == "absent"
        assert await one.get("k") == 1


async def test_a_write_may_name_several_manifests(connect, bucket):
    names = ["a.json", Ref("dir/b.json"), Ref("c.json", bucket)]
    async with connect() as one, connect("dir/b.json") as other:
        commit = await one.put("k", 1, manifests=names)
        refs = [Ref("a.json", bucket), Ref("dir/b.json", bucket), Ref("c.json", bucket)]
        assert [commit.manifest, *(further.manifest for further in commit.others)] == refs
        assert {json.dumps(dict(each.versions)) for each in (commit, *commit.others)} == {
            json.dumps(dict(commit.versions))
        }
        for name in names:
            assert await one.get("k", manifest=name) == 1
        assert await other.get("k") == 1
        assert await one.get("k", "absent") == "absent"
        assert set(one.status().manifests) == {*refs, Ref("manifest.json", bucket)}


async def test_a_value_for_several_manifests_is_stored_once(connect, journal, bucket, s3):
    async with connect(inline=0) as one:
        await one.put("k", 1, manifests=["a.json", "b.json", "a.json"])
    assert len(s3.list_object_versions(Bucket=bucket, Prefix="k")["Versions"]) == 1
    versions = s3.list_object_versions(Bucket=bucket, Prefix="a.json")["Versions"]
    assert [item["Key"] for item in versions] == ["a.json", *([slot_key("a.json", 1)] if journal == "log" else [])]


async def test_manifests_wants_a_list_of_some(connect):
    async with connect() as one:
        for wrong in ("m.json", Ref("m.json")):
            with pytest.raises(TypeError, match="list"):
                one.put("k", 1, manifests=wrong)
        with pytest.raises(ValueError):
            one.put("k", 1, manifests=[])
        assert await one.get("k", "absent") == "absent"


async def test_a_manifest_with_any_name(connect, hold):
    name = KEYS["awkward"] + "/../\U0001f600"
    hold(name)
    async with connect(name) as writer, connect(Ref(name)) as reader:
        await writer.put("k", 1)
        assert await reader.get("k") == 1


async def test_a_manifest_whose_name_begins_another(connect):
    """A listing by prefix shows both."""
    async with connect("m") as one, connect("m.json") as two, connect("m.json.json") as three:
        for number, each in enumerate((one, two, three, two, one)):
            await each.put("k", number)
        assert [await each.get("k") for each in (one, two, three)] == [4, 3, 2]


async def test_values_in_another_bucket(connect, make_bucket, s3):
    elsewhere = make_bucket()
    async with connect() as writer, connect() as reader:
        commit = await writer.put("k", "there", bucket=elsewhere)
        await writer.put("k", "here")
        assert commit.versions.keys() == {f"s3://{elsewhere}/k"}
        assert await reader.get("k") == "here"
        assert await reader.get("k", bucket=elsewhere) == "there"
        assert await reader.get(Ref("k", elsewhere)) == "there"
        assert await anext(reader.subscribe(Ref("k", elsewhere))) == "there"
        await writer.put_all({Ref("k", elsewhere): 1, "k": 2})
        assert (await reader.get(Ref("k", elsewhere)), await reader.get("k")) == (1, 2)
        await writer.delete("k", bucket=elsewhere)
        assert await reader.get("k", "absent", bucket=elsewhere) == "absent"
        assert await reader.get("k") == 2
    assert len(s3.list_object_versions(Bucket=elsewhere, Prefix="k")["Versions"]) == 2


async def test_values_in_a_bucket_without_versions(connect, plain_bucket, s3):
    async with connect() as writer, connect() as reader:
        for number in range(3):
            await writer.put("k", number, bucket=plain_bucket)
            assert await reader.get("k", bucket=plain_bucket) == number
    stored = [item["Key"] for item in s3.list_objects_v2(Bucket=plain_bucket)["Contents"]]
    assert len(stored) == 3
    assert all(key.startswith("k@") for key in stored)


@pytest.mark.parametrize("key", [KEYS["awkward"], KEYS["1024 bytes"]], ids=["awkward", "1024 bytes"])
async def test_any_key_in_a_bucket_without_versions_or_a_clear_no(connect, plain_bucket, key):
    async with connect() as one:
        if len(key) < 1000:
            await soon(one.put(key, 1, bucket=plain_bucket), 20)
            assert await one.get(key, bucket=plain_bucket) == 1
        else:  # there is no room for the version that is added to it
            with pytest.raises((ConfigurationError, ValueError), match=r"(?i)long|1,?024 bytes"):
                await soon(one.put(key, 1, bucket=plain_bucket), 20)
            assert await one.get(key, "absent", bucket=plain_bucket) == "absent"


async def test_a_manifest_in_another_bucket(connect, make_bucket, bucket):
    elsewhere = make_bucket()
    async with connect() as one, connect(Ref("m.json", elsewhere)) as two:
        await one.put("k", 1, manifests=[Ref("m.json", elsewhere)])
        assert await two.get("k") == 1
        assert await one.get("k", manifest=Ref("m.json", elsewhere)) == 1
        assert await two.get(Ref("k", bucket)) == 1


async def test_a_url_like_key_is_not_one_in_another_bucket(connect, make_bucket):
    elsewhere = make_bucket()
    async with connect() as writer, connect() as reader:
        await writer.put("k", "there", bucket=elsewhere)
        await writer.put(f"s3://{elsewhere}/k", "here")
        assert await reader.get("k", bucket=elsewhere) == "there"
        assert await reader.get(f"s3://{elsewhere}/k") == "here"


async def test_checksums_are_recorded(connect, commit_key, bucket, s3):
    async with connect(inline=0) as one:
        await one.put("k", {"a": 1})
    body = b'{"a":1}'
    file = json.loads(s3.get_object(Bucket=bucket, Key=commit_key)["Body"].read())["update"]["files"]["k"]
    assert (file["sha256"], file["size"]) == (hashlib.sha256(body).hexdigest(), len(body))


def tamper(s3, bucket, body: bytes) -> str:
    """Let the manifest name another object than was written, as if the store had changed it."""
    version = s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"]
    slots = s3.list_objects_v2(Bucket=bucket, Prefix="manifest.json.log/").get("Contents", ())
    commit_key = slots[0]["Key"] if slots else "manifest.json"  # the newest
    document = json.loads(s3.get_object(Bucket=bucket, Key=commit_key)["Body"].read())
    document["update"]["files"]["k"]["version"] = version
    document["session"] += "x"
    s3.put_object(Bucket=bucket, Key=commit_key, Body=json.dumps(document).encode())
    return version


@pytest.mark.parametrize(
    "body", [b"[2]", b"[1", b"[1] ", b"", b"[1]" * 1000], ids=["other", "shorter", "longer", "empty", "huge"]
)
async def test_a_tampered_value_is_refused(connect, bucket, s3, body, monkeypatch):
    monkeypatch.setattr("mps3.storage.verification.PAUSES", (0.0,) * 4)  # it is read as often, but at once
    async with connect(inline=0) as one:
        await one.put("k", [1])
    version = tamper(s3, bucket, body)
    async with connect(inline=0) as one:
        with pytest.raises(CorruptionError, match=f"s3://{bucket}/k|'k'") as caught:
            await one.get("k")
        assert (caught.value.bucket, caught.value.key, caught.value.version) == (bucket, "k", version)
        assert version in str(caught.value)
        with pytest.raises(CorruptionError):
            await anext(one.subscribe("k"))
        await one.put("k", [3])
        assert await one.get("k") == [3]


async def test_a_value_that_is_gone_is_a_corruption(connect, bucket, s3):
    async with connect(inline=0) as one:
        commit = await one.put("k", [1])
    s3.delete_object(Bucket=bucket, Key="k", VersionId=commit.versions["k"])
    async with connect(inline=0) as one:
        with pytest.raises(CorruptionError, match=commit.versions["k"]):
            await one.get("k")


async def test_a_value_whose_object_is_deleted_is_still_there(connect, bucket, s3):
    """A delete marker hides the newest version from those who do not name it."""
    async with connect() as one:
        await one.put("k", [1])
    s3.delete_object(Bucket=bucket, Key="k")
    async with connect() as one:
        assert await one.get("k") == [1]


async def test_without_checksums_none_is_recorded_or_verified(connect, commit_key, bucket, s3):
    async with connect(checksums=False, inline=0) as one:
        await one.put("k", [1])
    file = json.loads(s3.get_object(Bucket=bucket, Key=commit_key)["Body"].read())["update"]["files"]["k"]
    assert file.get("sha256") is None
    async with connect(inline=0) as one:
        assert await one.get("k") == [1]
        await one.put("k", [1])
    tamper(s3, bucket, b"[2]")
    async with connect(checksums=False, inline=0) as one:
        assert await one.get("k") == [2]


async def test_a_checksum_of_an_older_value_does_not_stay(connect):
    async with connect() as one, connect(checksums=False) as careless:
        await one.put("k", [1])
        await careless.put("k", [2])
        assert await one.get("k") == [2]
    async with connect() as later:
        assert await later.get("k") == [2]


@pytest.mark.parametrize("checksums", [True, False])
async def test_checksums_are_sent_or_not(connect, monkeypatch, checksums):
    sent = []
    original = AIOHTTPSession.send

    async def send(self, request):
        if request.method == "PUT":
            sent.append({name.lower() for name in request.headers})
        return await original(self, request)

    monkeypatch.setattr(AIOHTTPSession, "send", send)
    async with connect(checksums=checksums) as one:
        await one.put("k", 1)
    assert sent
    assert any("x-amz-checksum-sha256" in headers for headers in sent) is checksums
    assert not any(
        name.startswith("x-amz-checksum-") and name != "x-amz-checksum-sha256" for one in sent for name in one
    )


async def test_a_large_value(connect):
    value = {"text": "x" * 3_000_000}
    async with connect() as writer, connect() as reader:
        await writer.put("k", value)
        assert await reader.get("k") == value


async def test_status_tells_how_it_goes(connect, bucket):
    one = connect()
    async with one:
        before = one.status()
        assert (before.online, before.pending, before.last_error, before.subscriptions) == (True, 0, None, 0)
        assert before.manifests == (Ref("manifest.json", bucket),)
        write = one.put("k", 1)
        assert one.status().pending == 1
        await write
        assert one.status().pending == 0
        await eventually(lambda: one.status().last_contact > before.last_contact, within=10 * POLL + 5)
        with pytest.raises(AttributeError):
            before.online = False
