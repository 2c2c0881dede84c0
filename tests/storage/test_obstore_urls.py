"""URLs of Google Cloud Storage and of Azure Blob Storage."""

from __future__ import annotations

import pytest

from mps3 import MPS3, ConfigurationError
from mps3.storage.identity import identity_of
from mps3.storage.lazy import LazyStorage
from mps3.storage.locate import locate
from mps3.storage.url import parse
from mps3.support.environment import Environment


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "GOOGLE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_url_names_a_bucket_and_a_manifest():
    location = parse("gs://bucket/some/manifest.json?endpoint_url=http://localhost:1")
    assert (location.scheme, location.bucket, location.manifest) == ("gs", "bucket", "some/manifest.json")
    assert location.storage_options == {"endpoint_url": "http://localhost:1"}
    assert parse("az://container?account_name=a").manifest == "manifest.json"


@pytest.mark.parametrize(
    "url",
    [
        "gs://",
        "az:///manifest.json",
        "gs://user:password@bucket/x",
        "gs://bucket:1/x",
        "az://container/x?account_key=c2VjcmV0",
        "az://container/x?sas_token=c2VjcmV0",
        "gs://bucket/x?service_account_key=c2VjcmV0",
        "gs://bucket/x?endpoint_url=http://a:c2VjcmV0@host",
        "gs://bucket/x?endpoint_url=nowhere",
        "gs://bucket/x?region_name=a",
    ],
)
def test_other_urls_are_refused_without_their_secrets(url):
    with pytest.raises(ConfigurationError) as caught:
        parse(url)
    assert "c2VjcmV0" not in str(caught.value) and "password@" not in str(caught.value)


def test_secrets_are_options_and_are_not_shown():
    client = MPS3.from_url("az://container/m.json?account_name=a", storage_options={"account_key": "c2VjcmV0"})
    assert repr(client) == "<MPS3 az://container/m.json, new>"
    assert "c2VjcmV0" not in repr(parse("az://c/m").with_options({"account_key": "c2VjcmV0"}))
    for url in ("s3://bucket", "memory:"):
        with pytest.raises(ConfigurationError, match="storage_options are for"):
            MPS3.from_url(url, storage_options={"account_key": "c2VjcmV0"})


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("gs://bucket", "gs storage.googleapis.com"),
        ("gs://bucket?endpoint_url=https://Storage.googleapis.com:443/", "gs storage.googleapis.com"),
        ("gs://bucket?endpoint_url=http://localhost:4443", "gs 127.0.0.1:4443"),
        ("az://container?account_name=one", "az one.blob.core.windows.net"),
        ("az://container?account_name=one&use_fabric_endpoint=true", "az one.blob.fabric.microsoft.com"),
        ("az://container?use_emulator=true", "az 127.0.0.1:10000/devstoreaccount1"),
        ("az://container?account_name=one&endpoint_url=http://host:1/one", "az host:1/one"),
    ],
)
def test_the_identity_is_the_address(url, identity):
    storage = locate(parse(url), Environment())
    assert isinstance(storage, LazyStorage)
    assert identity_of(storage) == identity


def test_the_address_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://localhost:2")
    assert identity_of(locate(parse("az://container"), Environment())) == "az other.blob.core.windows.net"
    assert identity_of(locate(parse("gs://bucket"), Environment())) == "gs 127.0.0.1:2"
