"""What tests share: a server, buckets in it, and a proxy that counts the requests that it gets."""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
from typing import TYPE_CHECKING, Any, Literal

import pytest
import servers
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader
from botocore.session import get_session
from helpers import EXAMPLES
from hypothesis import settings

from mps3 import MPS3

pytest_plugins = ["mps3.testing.fixtures"]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    MakeBucket = Callable[..., str]


# A test that is slow on a busy machine is no failure.
settings.register_profile("mps3", deadline=None, max_examples=EXAMPLES)
settings.load_profile("mps3")


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The command, where a test calls it in this process, shows the log in its own way."""
    log, root = logging.getLogger("mps3"), logging.getLogger()
    before = log.level, log.propagate, list(log.handlers), list(root.handlers)
    yield
    log.setLevel(before[0])
    log.propagate, log.handlers, root.handlers = before[1:]


@pytest.fixture(autouse=True)
def merge_where_a_test_is_about_it(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open clients with the merge journal in a test that runs once for each journal, where it runs for that one.

    Of their own accord clients take the log journal, with versions and without.
    """
    parameters = getattr(request.node, "callspec", None)
    if parameters is not None and "merge" in parameters.id.split("-"):
        if request.node.get_closest_marker("server"):
            request.getfixturevalue("complete_listings")
        monkeypatch.setitem(MPS3.__init__.__kwdefaults__, "journal", "merge")


@pytest.fixture(autouse=True)
def no_race_where_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients not try a server that answers one request after another: to do so in each test takes minutes."""
    if servers.MOTO:
        monkeypatch.setattr("mps3.journal.race.ROUNDS", 0)


read_once = functools.cache(create_loader)


@pytest.fixture(autouse=True)
def sdk_models(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share what the SDK reads from disk: to read it again takes more time than most tests need for all else.

    Not where a test watches for calls that block: there each client reads it, as it does outside tests.
    The servers that tests start need no certificates, so clients need not read those of this machine.
    """
    if servers.MOTO:
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
    if not hasattr(request.module, "blockbuster_ctx"):
        monkeypatch.setattr("botocore.session.create_loader", read_once)


@pytest.fixture(scope="session")
def server() -> Iterator[servers.Server]:
    with servers.server() as found:
        yield found


@pytest.fixture
def s3_config(server: servers.Server) -> dict[str, Any]:
    """For ``MPS3`` and ``S3Storage``."""
    return server.s3_config


@pytest.fixture(scope="session")
def s3(server: servers.Server) -> Iterator[Any]:
    """A plain blocking client, for tampering behind the library's back."""
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = get_session().create_client("s3", config=config, **server.s3_config)
    yield client
    client.close()


@pytest.fixture
def make_bucket(s3: Any) -> Iterator[MakeBucket]:
    """Makes buckets that last as long as the test."""
    made: list[str] = []

    def make(versioning: Literal["Enabled", "Suspended"] | None = "Enabled") -> str:
        bucket = f"mps3-{secrets.token_hex(8)}"
        s3.create_bucket(Bucket=bucket)
        made.append(bucket)
        if versioning is not None:
            give_versions(s3, bucket, versioning)
        return bucket

    yield make
    # Moto goes, and all buckets with it.
    for bucket in () if servers.MOTO else made:
        with contextlib.suppress(BotoCoreError, ClientError):
            remove(s3, bucket)


def give_versions(s3: Any, bucket: str, versioning: str) -> None:
    """Skip the test where the server has no versions."""
    try:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {405, 501}:
            raise
    else:
        if servers.MOTO or s3.get_bucket_versioning(Bucket=bucket).get("Status") == versioning:
            return
    pytest.skip("this server gives buckets no versions")


def remove(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
    s3.delete_bucket(Bucket=bucket)


@pytest.fixture
def bucket(request: pytest.FixtureRequest, make_bucket: MakeBucket) -> str:
    """A bucket with versions. For the log journal the server has to enforce create-if-absent there."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and "log" in callspec.params.values():
        request.getfixturevalue("creation_in_versions")
    return make_bucket()


@pytest.fixture
def plain_bucket(request: pytest.FixtureRequest, make_bucket: MakeBucket) -> str:
    """A bucket without versions, in which the server enforces create-if-absent: else no client can use it."""
    request.getfixturevalue("creation")
    return make_bucket(None)


@pytest.fixture
def usable_bucket(request: pytest.FixtureRequest, make_bucket: MakeBucket) -> MakeBucket:
    """Makes buckets for clients: without versions only where the server enforces create-if-absent there."""

    def make(versioning: Literal["Enabled"] | None) -> str:
        if versioning is None:
            request.getfixturevalue("creation")
        return make_bucket(versioning)

    return make


@pytest.fixture
def creates_in_versions(make_bucket: MakeBucket, s3: Any) -> bool:
    """Whether the server enforces create-if-absent also in a bucket with versions: Ceph ignores the header there."""
    return enforces_creation(s3, make_bucket("Enabled"))


@pytest.fixture
def creation(request: pytest.FixtureRequest) -> None:
    """Skip what needs a server that enforces create-if-absent in a bucket without versions: Swift refuses the header."""
    if not servers.MOTO and not enforces_creation(
        request.getfixturevalue("s3"), request.getfixturevalue("make_bucket")(None)
    ):
        pytest.skip("this server does not enforce create-if-absent in a bucket without versions")


def enforces_creation(s3: Any, bucket: str) -> bool:
    try:
        s3.put_object(Bucket=bucket, Key="x", Body=b"1", IfNoneMatch="*")
    except ClientError:
        return False
    try:
        s3.put_object(Bucket=bucket, Key="x", Body=b"2", IfNoneMatch="*")
    except ClientError:
        return True
    return False


@pytest.fixture
def creation_in_versions(request: pytest.FixtureRequest) -> None:
    """Skip what needs a server that enforces create-if-absent in a bucket with versions, where that does not."""
    if not servers.MOTO and not request.getfixturevalue("creates_in_versions"):
        pytest.skip("this server does not enforce create-if-absent in a bucket with versions")


@pytest.fixture
def missing_buckets(s3: Any) -> None:
    """Skip what needs a server that says which buckets do not exist, when it is asked for their versioning."""
    try:
        s3.get_bucket_versioning(Bucket=f"mps3-{secrets.token_hex(8)}")
    except ClientError as error:
        if error.response["Error"].get("Code") == "NoSuchBucket":
            return
    pytest.skip("this server does not say of a bucket that it does not exist when it is asked for its versioning")


@pytest.fixture
def lists_completely(make_bucket: MakeBucket, s3: Any) -> bool:
    """Whether the server lists all versions of a key with which other keys begin: SeaweedFS does not."""
    bucket = make_bucket("Enabled")
    for key in ("x.runs/0", "x.runs/1", "x", "x"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    page = s3.list_object_versions(Bucket=bucket, Prefix="x", MaxKeys=2)
    return [one["Key"] for one in page.get("Versions", ())] == ["x", "x"]


@pytest.fixture
def complete_listings(request: pytest.FixtureRequest) -> None:
    """Skip what needs complete listings of versions, where a server leaves some out."""
    if not servers.MOTO and not request.getfixturevalue("lists_completely"):
        pytest.skip("this server leaves versions out of its listings")


@pytest.fixture
def hold(make_bucket: MakeBucket, s3: Any) -> Callable[..., None]:
    """Skip what uses keys that the server does not take literally, all at once, in a bucket with versions.

    Servers that keep objects in directories refuse some keys, and take others for other ones.
    """

    def skip_unless_held(*keys: str) -> None:
        if servers.MOTO:
            return
        bucket = make_bucket("Enabled")
        try:
            for key in keys:
                s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
            found = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
            listed = [
                one["Key"]
                for key in keys
                if key.isprintable()
                for one in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ())
            ]
        except (BotoCoreError, ClientError) as error:
            pytest.skip(f"this server does not take such keys: {error}")
        missing = {key for key in keys if key.isprintable()} - {*listed}
        if found != [key.encode() for key in keys] or missing:
            pytest.skip(f"this server takes such keys for other ones: {sorted(missing)}")

    return skip_unless_held


@pytest.fixture
async def counting_proxy(server: servers.Server) -> AsyncIterator[servers.CountingProxy]:
    """Stands before the server: has ``url``, ``requests`` and ``clear()``."""
    async with servers.counted(server.url) as proxy:
        yield proxy
