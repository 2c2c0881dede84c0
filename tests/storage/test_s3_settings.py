"""Settings of a storage on S3: defaults for each vendor, profiles, the environment, what is wrong."""

from __future__ import annotations

import os
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from storage.s3_storage import opened, talking_to

from mps3.errors import AccessError, ClosedError, ConfigurationError
from mps3.storage.s3.storage import S3Storage

# Wrong settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"endpoint_url": "not a url"}, ConfigurationError),
        ({"region_name": "not a region!"}, ConfigurationError),
        ({"no_such_argument": 1}, ConfigurationError),
        ({"profile_name": "no such profile"}, ConfigurationError),
        ({"aws_secret_access_key": None}, AccessError),
    ],
)
async def test_wrong_configuration_shows_at_open(fake, wrong, kind):
    storage = S3Storage(fake.s3_config | wrong)
    with pytest.raises(kind) as caught:
        await storage.open()
    assert caught.value.__cause__ is not None
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.aclose()


async def test_no_credentials(fake, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    storage = S3Storage({"endpoint_url": fake.s3_config["endpoint_url"]})
    with pytest.raises(AccessError, match="credentials"):
        await storage.open()


# Settings -------------------------------------------------------------------------------------------------------------


def settings(storage: S3Storage) -> Any:
    assert storage._session.connection is not None
    return storage._session.connection.client.meta.config


async def test_defaults_for_other_vendors(fake):
    async with talking_to(fake) as storage:
        config = settings(storage)
    assert config.s3["addressing_style"] == "path"
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"
    assert (config.max_pool_connections, config.connect_timeout, config.read_timeout) == (64, 5, 15)
    assert config.retries["total_max_attempts"] == 1


async def test_defaults_for_aws():
    async with opened({"region_name": "eu-west-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}) as storage:
        config = settings(storage)
    assert (config.s3 or {}).get("addressing_style") != "path"
    assert config.request_checksum_calculation == "when_supported"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_an_endpoint_in_the_environment(fake, monkeypatch, variable):
    monkeypatch.setenv(variable, fake.s3_config.pop("endpoint_url"))
    async with talking_to(fake) as storage:
        assert settings(storage).s3["addressing_style"] == "path"
        assert (await storage.get("bucket", "key")).body == b"hello"
    assert fake.received[0].target == "/bucket/key"


async def test_a_profile(fake, monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[profile here]\naws_access_key_id = a\naws_secret_access_key = b\nregion = eu-west-1\n"
        f"endpoint_url = {fake.s3_config['endpoint_url']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with opened({"profile_name": "here"}) as storage:
        await storage.get("bucket", "key")
    assert fake.received[0].target == "/bucket/key"
    assert "/eu-west-1/s3/" in fake.received[0].headers["authorization"]


async def test_own_settings_win(fake, monkeypatch):
    fake.s3_config["config"] = AioConfig(
        max_pool_connections=3, read_timeout=2, s3={"payload_signing_enabled": True}, request_checksum_calculation=None
    )
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    async with talking_to(fake) as storage:
        config = settings(storage)
    assert (config.max_pool_connections, config.connect_timeout, config.read_timeout) == (3, 5, 2)
    assert config.s3["addressing_style"] == "path" and config.s3["payload_signing_enabled"]
    assert config.response_checksum_validation == "when_supported"
