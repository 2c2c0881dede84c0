import pytest
from aiobotocore.config import AioConfig

from mps3.storage.s3.storage import S3Storage
from mps3.storage.s3.vendors import AWS, GENERIC, S3_EXPRESS, vendor_of

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


async def settings(**s3_config):
    storage = S3Storage(KEYS | s3_config)
    await storage.open()
    try:
        return storage._session.connection.client.meta
    finally:
        await storage.aclose()


@pytest.mark.parametrize(
    ("endpoint", "name", "region"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "AWS S3", None),
        ("https://s3.cn-north-1.amazonaws.com.cn", "AWS S3", None),
        ("https://s3express-usw2-az1.us-west-2.amazonaws.com", "AWS S3 Express One Zone", None),
        ("https://abc123.r2.cloudflarestorage.com", "Cloudflare R2", "auto"),
        ("https://abc123.eu.r2.cloudflarestorage.com/", "Cloudflare R2", "auto"),
        ("https://s3.us-west-004.backblazeb2.com", "Backblaze B2", "us-west-004"),
        ("https://storage.googleapis.com", "Google Cloud Storage", None),
        ("https://fra1.digitaloceanspaces.com", "DigitalOcean Spaces", None),
        ("https://s3.wasabisys.com", "Wasabi", None),
        ("https://s3.eu-central-1.wasabisys.com:443", "Wasabi", "eu-central-1"),
        ("https://fly.storage.tigris.dev", "Tigris", "auto"),
        ("https://t3.storage.dev", "Tigris", "auto"),
        ("https://s3.gra.io.cloud.ovh.net/", "OVHcloud", "gra"),
        ("https://s3.fr-par.scw.cloud", "Scaleway", "fr-par"),
        ("HTTPS://S3.FR-PAR.SCW.CLOUD", "Scaleway", "fr-par"),
        ("http://localhost:9000", "unknown", None),
        ("https://storage.example.org", "unknown", None),
        ("https://notr2.cloudflarestorage.com", "unknown", None),
        ("https://r2.cloudflarestorage.com.example.org", "unknown", None),
        ("https://example.org/s3.fr-par.scw.cloud", "unknown", None),
        ("not a url", "unknown", None),
        ("http://[", "unknown", None),
    ],
)
def test_endpoints(endpoint, name, region):
    vendor = vendor_of(endpoint)
    assert (vendor.name, vendor.region_of(endpoint)) == (name, region)


def test_no_endpoint_is_aws():
    assert vendor_of(None) is AWS
    assert GENERIC.addressing == "path" and not GENERIC.sdk_checksums
    assert S3_EXPRESS.addressing is None and S3_EXPRESS.sdk_checksums


async def test_what_is_set():
    meta = await settings(endpoint_url="https://s3.fr-par.scw.cloud")
    assert (meta.region_name, meta.config.s3["addressing_style"]) == ("fr-par", "path")
    assert meta.config.request_checksum_calculation == meta.config.response_checksum_validation == "when_required"

    meta = await settings(endpoint_url="https://t3.storage.dev")
    assert (meta.region_name, meta.config.s3["addressing_style"]) == ("auto", "virtual")

    meta = await settings(endpoint_url="https://s3.eu-west-1.amazonaws.com", region_name="eu-west-1")
    assert (meta.config.s3 or {}).get("addressing_style") is None
    assert meta.config.request_checksum_calculation == "when_supported"


async def test_the_user_has_the_last_word(monkeypatch, tmp_path):
    config = AioConfig(
        s3={"addressing_style": "virtual"}, request_checksum_calculation="when_supported", max_pool_connections=3
    )
    meta = await settings(endpoint_url="https://s3.fr-par.scw.cloud", region_name="elsewhere", config=config)
    assert (meta.region_name, meta.config.s3["addressing_style"]) == ("elsewhere", "virtual")
    assert (meta.config.request_checksum_calculation, meta.config.max_pool_connections) == ("when_supported", 3)

    monkeypatch.setenv("AWS_DEFAULT_REGION", "from-the-environment")
    assert (await settings(endpoint_url="https://s3.fr-par.scw.cloud")).region_name == "from-the-environment"

    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (tmp_path / "config").write_text("[default]\nregion = from-the-profile\ns3 =\n  addressing_style = virtual\n")
    meta = await settings(endpoint_url="https://s3.fr-par.scw.cloud")
    assert (meta.region_name, meta.config.s3["addressing_style"]) == ("from-the-profile", "virtual")


async def test_headers_of_a_vendor_are_sent():
    storage = S3Storage(KEYS | {"endpoint_url": "https://t3.storage.dev"})
    await storage.open()
    sent = []

    def answer(request, **_):
        sent.append((request.url, {name.lower(): value for name, value in request.headers.items()}))
        raise OSError("far enough")

    storage._session.connection.client.meta.events.register("before-send.s3", answer)
    try:
        with pytest.raises(Exception, match="far enough"):
            await storage.put("bucket", "key", b"{}")
    finally:
        await storage.aclose()
    ((url, headers),) = sent
    assert url == "https://bucket.t3.storage.dev/key"
    assert headers["x-tigris-consistent"] in ("true", b"true")
    assert "x-tigris-consistent" in str(headers["authorization"])
