"""``mps3 doctor``: what it says of buckets of every kind, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from helpers import BUCKET, MANIFEST, Unreliable
from servers import MOTO

from mps3 import MPS3, AccessError, LocalStorage, MemoryStorage
from mps3.cli import main
from mps3.doctor.diagnosis import diagnose
from mps3.doctor.findings import Diagnosis
from mps3.doctor.policy import policy
from mps3.storage import Capabilities
from mps3.storage.protocol import KeyRefusedError
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment

SECRET = "s3cr3tS3cr3t"


async def examine(storage: Any, bucket: str = BUCKET, **options: Any) -> Diagnosis:
    await storage.open()
    try:
        wanted = {"journal": "auto", "poll_interval": 1.0, "environment": Environment(), **options}
        return await diagnose(storage, bucket, MANIFEST, **wanted)
    finally:
        await storage.aclose()


def results(found: Diagnosis) -> dict[str, tuple[bool | None, str]]:
    return {finding.what: (finding.good, finding.result) for finding in found.findings}


async def leftovers(storage: Any, bucket: str = BUCKET) -> list[str]:
    await storage.open()
    try:
        left = [entry.key for entry in (await storage.list(bucket)).entries]
        for key in getattr(storage, "written", ()):
            left += [version.version for version in (await storage.versions(bucket, key)).versions]
        return left
    finally:
        await storage.aclose()


class Store(MemoryStorage):
    """Remembers what it was asked to write."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.written: set[str] = set()

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self.written.add(key)
        return await super().put(bucket, key, body, **options)


class Careless(Store):
    """Takes conditions and ignores them."""

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        options.pop("if_none_match", None)
        return await super().put(bucket, key, body, **options)


class Liar(Store):
    """Says that it keeps versions, and does not."""

    def __init__(self) -> None:
        super().__init__(versioning=False)

    async def capabilities(self, bucket: str) -> Capabilities:
        return Capabilities("enabled")


class ReadOnly(Store):
    closed = False

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        if not self.closed:
            return await super().put(bucket, key, body, **options)
        raise AccessError("PutObject failed: 403 AccessDenied", bucket=bucket, key=key, operation="PutObject")


class NoDelete(Store):
    async def delete(self, bucket: str, key: str, **options: Any) -> None:
        raise AccessError("DeleteObject failed: 403 AccessDenied", bucket=bucket, key=key, operation="DeleteObject")


@pytest.mark.parametrize("versioning", [True, False])
@pytest.mark.parametrize("kind", ["memory", "local"])
async def test_a_good_bucket(kind, versioning, tmp_path):
    storage = Store(versioning=versioning) if kind == "memory" else LocalStorage(tmp_path, versioning=versioning)
    found = await examine(storage)
    assert found.healthy and found.tidy
    assert found.journal == "log"
    said = results(found)
    assert said["versioning"] == (True, "enabled" if versioning else "off")
    assert said["conditions"][1] == "the store enforces them"
    assert ("listing versions" in said) is versioning
    assert "agree" in said["clocks"][1]
    assert await leftovers(storage) == []
    # A client finds nothing either.
    async with MPS3(BUCKET, storage=storage) as client:
        assert await client.get("key") is None


async def test_the_poll_interval_is_what_polling_costs():
    cheap, dear = [await examine(Store(), poll_interval=seconds) for seconds in (10.0, 1.0)]
    assert round(dear.monthly_cost, 2) == 1.11 and round(cheap.monthly_cost, 3) == 0.115
    assert dear.cost_of_change["merge"] > dear.cost_of_change["log"] > 0


@pytest.mark.parametrize("journal", ["log", "merge"])
async def test_the_journal_that_is_wanted(journal):
    found = await examine(Store(versioning=True), journal=journal)
    assert found.healthy and found.journal == journal


async def test_merge_is_wanted_where_it_cannot_be():
    found = await examine(Store(versioning=False), journal="merge")
    assert not found.healthy and found.journal is None
    assert "versioning" in results(found)["journal"][1]


@pytest.mark.parametrize(("journal", "other"), [("log", "merge"), ("merge", "log")])
async def test_the_journal_that_a_manifest_has(journal, other):
    storage = Store(versioning=True)
    async with MPS3(BUCKET, storage=storage, journal=journal) as client:
        await client.put("key", 1)
    assert (await examine(storage)).journal == journal
    assert not (await examine(storage, journal=other)).healthy


async def test_a_store_that_ignores_conditions():
    storage = Careless(versioning=False)
    found = await examine(storage)
    assert not found.healthy and found.journal is None
    assert results(found)["conditions"] == (
        False,
        "it ignores If-None-Match: a second create of the same object was not refused",
    )
    assert await leftovers(storage) == []
    storage = Careless(versioning=True)
    found = await examine(storage)
    assert found.healthy and found.journal == "merge"
    assert results(found)["conditions"][0] is None  # worth knowing, and not needed
    assert await leftovers(storage) == []


async def test_a_store_that_lies_about_versions():
    storage = Liar()
    found = await examine(storage)
    assert not found.healthy
    assert "made no version" in results(found)["writing"][1]
    assert await leftovers(storage) == []


@pytest.mark.parametrize("journal", ["log", "merge"])
async def test_who_may_only_read(journal):
    storage = ReadOnly(versioning=True)
    async with MPS3(BUCKET, storage=storage, journal=journal) as client:
        await client.put("key", 1)
    storage.closed = True
    found = await examine(storage)
    assert not found.healthy and found.journal == journal
    assert results(found)["writing"] == (False, "PutObject failed: 403 AccessDenied")
    assert results(found)["reading"][0] is True


async def test_who_may_not_delete_is_told_what_is_left():
    storage = NoDelete(versioning=True)
    found = await examine(storage)
    assert found.healthy and not found.tidy
    assert any(left in results(found)["removing"][1] for left in storage.written)


@pytest.mark.parametrize("operation", ["put", "get", "versions", "capabilities"])
@pytest.mark.parametrize("versioning", [True, False])
@pytest.mark.parametrize("moment", range(1, 5))
async def test_interrupted_it_cleans_up(operation, versioning, moment):
    storage = Unreliable(versioning=versioning)
    calls = 0

    def hang(asked: str, key: str) -> bool:
        nonlocal calls
        calls += asked == operation
        return asked == operation and calls == moment

    storage.hang = hang
    task = asyncio.ensure_future(examine(storage))
    while not task.done() and calls < moment:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    storage.switch.set()
    await asyncio.wait([task])
    await asyncio.sleep(0.01)
    storage.hang = lambda *_: False
    assert await leftovers(storage) == []
    for key in {key for asked, key in storage.calls if asked == "put"}:
        assert (await storage.versions(BUCKET, key)).versions == ()


def test_policies():
    merge = json.loads(policy("b", "m.json", "merge"))
    actions = {action for statement in merge["Statement"] for action in statement["Action"]}
    assert actions == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetBucketVersioning",
    }
    conditional = json.loads(policy("b", "m.json", "log"))
    assert {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": ["arn:aws:s3:::b/m.json.probe/*"]} in (
        conditional["Statement"]
    )
    versioned = json.loads(policy("b", "m.json", "log", versioned=True))
    assert versioned["Statement"][:2] == merge["Statement"]  # values are read by version, and so is the past
    assert versioned["Statement"][2]["Action"] == ["s3:DeleteObjectVersion"]


# The command ----------------------------------------------------------------------------------------------------------


def test_for_people(capsys):
    assert main(["doctor", "memory:for-people", "--no-json"]) == 0
    said = capsys.readouterr()
    assert "ok    versioning" in said.out and "ready for the log journal" in said.out
    assert said.err == ""


def test_for_programs(capsys, tmp_path):
    assert main(["doctor", "--json", "--poll-interval", "10", f"file://{tmp_path}/store"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] and found["journal"] == "log"
    assert {"what", "good", "result"} == set(found["findings"][0])


@pytest.mark.parametrize("url", ["memory:no-prices", "file://{}/store"])
def test_a_directory_and_memory_have_no_prices_and_no_policies(url, capsys, tmp_path):
    assert main(["doctor", url.format(tmp_path), "--no-json"]) == 0
    said = capsys.readouterr().out
    assert "$" not in said and "AWS" not in said and "IAM" not in said and "policy" not in said
    assert main(["doctor", url.format(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["policy"], found["monthly_cost"], found["cost_of_change"]) == (None, None, {})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/bucket",
        "nothing",
        "",
        "s3://",
        f"s3://bucket/m?endpoint_url=http://127.0.0.1:9&what={SECRET}",
        f"s3://user:{SECRET}@bucket/m",
        f"s3://bucket/m?endpoint_url=nonsense&aws_access_key_id=a&aws_secret_access_key={SECRET}",
        "s3://bucket?profile_name=nobody-has-this-one",
    ],
)
def test_a_wrong_url_is_one_line(url, capsys):
    assert main(["doctor", url]) == (2 if not url else 3)
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("mps3: ") and said.err.count("\n") == 1
    assert SECRET not in said.err


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "x"])
def test_wrong_arguments(interval, capsys):
    assert main(["doctor", "memory:", "--poll-interval", interval]) == 2
    assert "poll-interval" in capsys.readouterr().err


def test_nothing_listens(capsys):
    url = f"s3://bucket/m?endpoint_url=http://127.0.0.1:9&aws_access_key_id=a&aws_secret_access_key={SECRET}"
    assert main(["doctor", url]) == 5
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and SECRET not in said.err


def url_of(server: Any, bucket: str, **other: str) -> str:
    return f"s3://{bucket}/{MANIFEST}?" + urlencode({**server.s3_config, **other})


def objects(s3: Any, bucket: str) -> list[str]:
    found = s3.list_object_versions(Bucket=bucket)
    return [item["Key"] for item in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


@pytest.mark.server
@pytest.mark.parametrize("versioning", ["Enabled", None])
def test_over_a_server(versioning, server, usable_bucket, creates_in_versions, s3, capsys):
    bucket = usable_bucket(versioning)
    assert main(["doctor", "--json", url_of(server, bucket)]) == 0
    said = capsys.readouterr().out
    found = json.loads(said)
    assert found["healthy"]
    assert found["journal"] == ("log" if creates_in_versions or versioning is None else "merge")
    assert found["vendor"] == "unknown"
    assert found["policy"]["Version"] == "2012-10-17" and round(found["monthly_cost"], 2) == 1.11
    assert objects(s3, bucket) == []
    assert server.secret_key not in said or server.secret_key == server.access_key == "testing"


@pytest.mark.server
def test_suspended_versioning(server, creation, make_bucket, s3, capsys):
    bucket = make_bucket("Suspended")
    assert main(["doctor", "--journal", "merge", url_of(server, bucket)]) == 1
    assert "suspended" in capsys.readouterr().out
    assert main(["doctor", "--json", url_of(server, bucket)]) == 0
    assert json.loads(capsys.readouterr().out)["journal"] == "log"
    assert objects(s3, bucket) == []


@pytest.mark.server
@pytest.mark.usefixtures("missing_buckets")
def test_no_such_bucket(server, capsys):
    assert main(["doctor", url_of(server, "mps3-nobody-made-this")]) == 3
    said = capsys.readouterr()
    assert said.out == "" and "there is no bucket" in said.err and said.err.count("\n") == 1


@pytest.mark.server
@pytest.mark.skipif(MOTO, reason="moto does not verify signatures")
def test_wrong_credentials(server, bucket, capsys):
    assert main(["doctor", url_of(server, bucket, aws_secret_access_key=SECRET)]) == 1
    said = capsys.readouterr()
    assert "SignatureDoesNotMatch" in said.out + said.err and SECRET not in said.out + said.err


@pytest.mark.server
async def test_what_the_storage_says_of_its_vendor(server, bucket):
    storage = S3Storage(server.s3_config)
    assert storage.vendor is None
    found = await examine(storage, bucket)
    assert (found.vendor, found.notes) == ("unknown", ())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_ctrl_c_is_quiet(tmp_path):
    reached = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()  # until it hangs up
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    url = f"s3://bucket/m?endpoint_url=http://127.0.0.1:{port}&aws_access_key_id=a&aws_secret_access_key={SECRET}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mps3", "doctor", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await asyncio.wait_for(reached.wait(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    silent.close()
    await asyncio.sleep(0.1)
    assert (process.returncode, out, err) == (130, b"", b"")


class Directories(MemoryStorage):
    """Keeps objects in directories."""

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        parents = key.split("/")[:-1]
        if any("/".join(parents[:depth]) in self._buckets.get(bucket, {}) for depth in range(1, len(parents) + 1)):
            raise KeyRefusedError("its directory is an object", bucket=bucket, key=key, operation="PutObject")
        return await super().put(bucket, key, body, **options)


class Hiding(MemoryStorage):
    """Lists nothing below an object."""

    async def list(self, bucket: str, prefix: str = "", **options: Any) -> Any:
        page = await super().list(bucket, prefix, **options)
        keys = {one.key for one in (await super().list(bucket)).entries}
        shown = (one for one in page.entries if not any(one.key.startswith(f"{key}/") for key in keys))
        return replace(page, entries=tuple(shown))


@pytest.mark.parametrize(("kind", "words"), [(Directories, "objects in directories"), (Hiding, "hides those below it")])
async def test_stores_whose_keys_are_paths_are_told(kind, words):
    storage = kind()
    found = await examine(storage)
    good, result = results(found)["keys below keys"]
    assert good is None and words in result
    assert found.healthy and found.tidy
    assert await leftovers(storage) == []
