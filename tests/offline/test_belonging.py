"""A directory belongs to one store: what is kept for it is never sent to another, nor served as another's."""

from __future__ import annotations

import json

import pytest
from helpers import BUCKET, MANIFEST, Unreliable, eventually

from mps3 import MPS3, ConfigurationError, CorruptionError, FormatError, LocalStorage, MemoryStorage, UnavailableError
from mps3.storage.identity import identity_of
from mps3.storage.s3.identity import normalize_endpoint, s3_identity

NOBODY = "http://127.0.0.1:9"  # nothing listens there
KEYS = {"aws_access_key_id": "AKIAEXAMPLEEXAMPLE", "aws_secret_access_key": "a secret", "region_name": "eu-central-1"}


def s3(directory, endpoint=NOBODY, bucket="bucket", manifest=MANIFEST, **options):
    config = {**KEYS, "endpoint_url": endpoint}
    return MPS3(bucket, manifest, s3_config=config, offline=directory, online=False, **options)


async def leave_a_write(client):
    """What a client keeps that never had contact, with the state of an empty manifest as if it had been there."""
    async with client:
        client.go_offline()
        await client.put("kept", 1).kept()


@pytest.mark.parametrize("kind", ["file", "memory", "storage", "custom", "bucket", "manifest"])
async def test_a_write_kept_for_one_store_is_not_committed_to_another(tmp_path, kind):
    class Custom(Unreliable):
        def __init__(self, place):
            super().__init__()
            self.place = place

        def identity(self):
            return f"custom {self.place}"

    stores = {
        "file": lambda one: MPS3.from_url(f"file://{tmp_path}/{one}", offline=tmp_path / "offline"),
        "memory": lambda one: MPS3.from_url(f"memory:{one}", offline=tmp_path / "offline"),
        "storage": lambda one: MPS3(BUCKET, storage=MemoryStorage(), offline=tmp_path / "offline"),
        "custom": lambda one: MPS3(BUCKET, storage=Custom(one), offline=tmp_path / "offline"),
        "bucket": lambda one: MPS3.from_url(f"file://{tmp_path}/a?bucket={one}", offline=tmp_path / "offline"),
        "manifest": lambda one: MPS3.from_url(f"file://{tmp_path}/a?manifest={one}", offline=tmp_path / "offline"),
    }
    client = stores[kind]("a")
    place = identity_of(client._store)
    await leave_a_write(client)
    for _ in range(2):  # the first refusal changes nothing
        with pytest.raises(ConfigurationError, match="belongs to") as caught:
            async with stores[kind]("b"):
                pass
        assert place in str(caught.value)
    if kind in ("file", "custom", "bucket", "manifest"):
        async with stores[kind]("a") as again:
            await eventually(lambda: not again.status().pending)
            assert await again.get("kept") == 1


async def test_what_was_read_from_one_store_is_not_served_as_another_s(tmp_path):
    async with MPS3.from_url(f"file://{tmp_path}/a", offline=tmp_path / "offline") as client:
        await client.put("whose", "a")
    with pytest.raises(ConfigurationError, match=f"belongs to .* file {tmp_path}/a"):
        async with MPS3.from_url(f"file://{tmp_path}/b", offline=tmp_path / "offline", online=False):
            pass


async def test_a_directory_of_the_same_store_reached_another_way_is_taken(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    await leave_a_write(MPS3.from_url(f"file://{tmp_path}/a", offline=tmp_path / "offline"))
    monkeypatch.chdir(tmp_path)
    for storage in (LocalStorage(tmp_path / "link"), LocalStorage("a"), LocalStorage(f"{tmp_path}/b/../a/")):
        async with MPS3("default", storage=storage, offline=tmp_path / "offline", online=False) as again:
            assert await again.get("kept") == 1


async def test_a_directory_that_holds_nothing_belongs_to_nobody(tmp_path):
    """A typing error in the endpoint must not spoil it."""
    for endpoint in (NOBODY, "http://127.0.0.1:1"):
        with pytest.raises(Exception, match="never been read"):
            async with s3(tmp_path, endpoint):
                pass
    async with MPS3.from_url(f"file://{tmp_path}/a", offline=tmp_path):
        pass
    with pytest.raises(ConfigurationError, match="belongs to"):
        async with s3(tmp_path):
            pass


async def test_a_directory_that_somebody_uses_is_not_taken_for_another_store(tmp_path):
    async with MPS3.from_url(f"file://{tmp_path}/a", offline=tmp_path / "offline"):
        (tmp_path / "offline" / "cache.sqlite3").unlink()
        with pytest.raises(ConfigurationError, match="belongs to"):
            async with MPS3.from_url(f"file://{tmp_path}/b", offline=tmp_path / "offline"):
                pass


async def test_no_credentials_are_in_the_directory_or_the_error(tmp_path, server, make_bucket):
    bucket = make_bucket()
    with pytest.raises(UnavailableError, match="never been read"):
        async with s3(tmp_path, "http://user:pa%2Fss@127.0.0.1:9/", bucket):
            pass
    for secret in ("user", "ss@", "pa%2F", "pa/ss", *list(KEYS.values())[:2]):
        assert secret not in (tmp_path / "store.json").read_text()
    async with MPS3(bucket, s3_config=server.s3_config, offline=tmp_path) as client:
        client.go_offline()
        await client.put("kept", 1).kept()
    assert server.secret_key not in (tmp_path / "store.json").read_text()
    with pytest.raises(ConfigurationError, match="belongs to") as caught:
        async with s3(tmp_path, "http://other:secret@127.0.0.1:9", bucket):
            pass
    assert "secret" not in str(caught.value)
    assert "other:" not in str(caught.value)
    spelled = {**server.s3_config, "endpoint_url": server.url.replace("127.0.0.1", "localhost") + "/"}
    async with MPS3(bucket, s3_config=spelled, offline=tmp_path, online=False) as again:
        assert await again.get("kept") == 1


@pytest.mark.parametrize(
    "spellings",
    [
        ["http://host:9000", "HTTP://HOST:9000/", "http://u:p@host:9000", "http://host.:9000?x=y", "https://host:9000"],
        ["https://host", "https://host:443/", "http://host:80", "http://host//"],
        ["http://localhost:9000", "http://127.0.0.1:9000/", "http://[::1]:9000", "http://LOCALHOST:9000"],
        ["http://[2001:db8::1]:9000", "http://[2001:0db8:0:0::1]:9000"],
        ["https://host/a/b", "https://host/a/b/", "https://host//a/%62"],
        ["https://s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com", "https://s3-eu-west-1.amazonaws.com/",
         "https://s3.dualstack.us-east-1.amazonaws.com:443", "https://s3-accelerate.amazonaws.com"],
    ],
)  # fmt: skip
def test_one_endpoint_is_one_store_however_it_is_spelled(spellings):
    assert len({normalize_endpoint(spelling) for spelling in spellings}) == 1


def test_other_endpoints_are_other_stores():
    others = ["http://host:9000", "http://host:9001", "http://host", "http://hosts:9000", "http://host:9000/a",
              "https://s3.amazonaws.com", "https://s3.cn-north-1.amazonaws.com.cn",
              "https://s3.us-gov-west-1.amazonaws.com", "https://s3.amazonaws.com.example.org"]  # fmt: skip
    assert len({normalize_endpoint(other) for other in others}) == len(others)


def test_the_endpoint_counts_wherever_it_is_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("[profile away]\nendpoint_url = https://away.example\n")
    assert s3_identity({**KEYS, "profile_name": "away"}) == s3_identity(
        {**KEYS, "endpoint_url": "https://away.example"}
    )
    assert s3_identity(KEYS) == s3_identity({**KEYS, "endpoint_url": "https://s3.eu-west-1.amazonaws.com"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://near.example:9000/")
    assert s3_identity(KEYS) == s3_identity({**KEYS, "endpoint_url": "http://near.example:9000"})
    with pytest.raises(ConfigurationError):
        s3_identity({"profile_name": "no such profile"})


async def test_the_directory_of_an_older_version_is_taken_once(tmp_path):
    one = f"file://{tmp_path}/a"
    await leave_a_write(MPS3.from_url(one, offline=tmp_path / "offline"))
    (tmp_path / "offline" / "store.json").unlink()
    with pytest.raises(ConfigurationError, match="belongs to"):
        async with MPS3.from_url(f"{one}?bucket=other", offline=tmp_path / "offline"):
            pass  # what is cached is of another manifest
    async with MPS3.from_url(one, offline=tmp_path / "offline") as again:
        await eventually(lambda: not again.status().pending)
    with pytest.raises(ConfigurationError, match="belongs to"):
        async with MPS3.from_url(f"file://{tmp_path}/b", offline=tmp_path / "offline"):
            pass


async def test_a_damaged_or_newer_record_is_left_as_it_is(tmp_path):
    url = f"file://{tmp_path}/a"
    await leave_a_write(MPS3.from_url(url, offline=tmp_path / "offline"))
    file = tmp_path / "offline" / "store.json"
    sound = file.read_bytes()
    for content, kind in (
        (b"", CorruptionError),
        (b"{}", CorruptionError),
        (b'["', CorruptionError),
        (json.dumps({**json.loads(sound), "mps3": 99}).encode(), FormatError),
    ):
        file.write_bytes(content)
        with pytest.raises(kind):
            async with MPS3.from_url(url, offline=tmp_path / "offline"):
                pass
        assert file.read_bytes() == content
    file.write_bytes(sound)
    async with MPS3.from_url(url, offline=tmp_path / "offline") as again:
        await eventually(lambda: not again.status().pending)
    assert list((tmp_path / "offline" / "outbox").iterdir()) == []
