"""What errors tell people: what is to change, and no secret, however odd the words of servers and settings."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers import NoBackoff, soon
from scripted_s3 import answer, error
from storage.s3_storage import opened, talking_to

from mps3 import MPS3, AccessError, ConfigurationError, MPS3Error, UnavailableError
from mps3.storage.s3.redaction import MAX_INPUT, public_url, redact
from mps3.storage.s3.storage import S3Storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# What is to change ----------------------------------------------------------------------------------------------------

DENY = (
    'User: arn:aws:iam::1:user/ann is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::bucket/key" '
    "with an explicit deny in a resource-based policy"
)
UNALLOWED = (
    'User: arn:aws:iam::1:user/ann is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::bucket/key" '
    "because no identity-based policy allows the s3:PutObject action"
)
KMS = (
    "User: arn:aws:iam::1:user/ann is not authorized to perform: kms:GenerateDataKey on resource: "
    "arn:aws:kms:eu-west-1:1:key/k because no identity-based policy allows the kms:GenerateDataKey action"
)
ADVICE = [
    (error(400, "ExpiredToken", "The provided token has expired."), "renew"),
    (error(403, "ExpiredTokenException"), "renew"),
    (error(403, "AccessDenied", "The security token included in the request is expired"), "renew"),
    (error(401, "TokenExpired"), "renew"),
    (error(400, "InvalidToken", "The provided token is malformed or otherwise invalid."), "Check the credentials"),
    (error(403, "InvalidTokenId", "The security token included in the request is invalid"), "Check the credentials"),
    (error(403, "AccessDenied", "The security token is invalid"), "Check the credentials"),
    (error(400, "InvalidClientTokenId"), "Check the credentials"),
    (error(403, "UnrecognizedClientException"), "Check the credentials"),
    (error(401, "AccessDenied"), "Check the credentials"),
    (error(401, "Unauthorized"), "Check the credentials"),
    (answer(401), "Check the credentials"),
    (answer(401, b"<html>log in</html>"), "Check the credentials"),
    (answer(403, b"<html>blocked by the company</html>"), "An intermediary before the store"),
    (error(403, "QuotaExceeded"), "quota"),
    (error(403, "AccessDenied", "Transaction cap exceeded, see the Caps page"), "quota"),
    (error(400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"), "quota"),
    (error(507, "XMinioStorageFull"), "quota"),
    (error(403, "AllAccessDisabled"), "account"),
    (error(403, "AccessDenied", DENY), "denies s3:PutObject on arn:aws:s3:::bucket/key explicitly"),
    (error(403, "AccessDenied", DENY), "resource-based policy"),
    (error(403, "KMS.AccessDeniedException", "no"), "allow kms:GenerateDataKey and kms:Decrypt on it"),
    (error(403, "AccessDenied", KMS), "Allow kms:GenerateDataKey on arn:aws:kms:eu-west-1:1:key/k"),
    (error(403, "AccessDenied", "forbidden by object lock"), "until its retention is over"),
    (error(403, "AccessDenied", "Access Denied because object protected by object lock."), "retention is over"),
    (error(413, "EntityTooLarge"), "1,234 bytes"),
    (error(400, "EntityTooLarge"), "1,234 bytes"),
    (answer(413, b"<html>too large</html>"), "1,234 bytes"),
    (answer(413), "1,234 bytes"),
]


async def test_each_refusal_says_what_is_to_change(fake):
    async with talking_to(fake) as storage:
        for reply, advice in ADVICE:
            fake.answers = [reply]
            with pytest.raises(MPS3Error) as caught:
                await storage.put("bucket", "key", b"x" * 1234)
            assert advice in str(caught.value), str(caught.value)
            assert "Allow s3:" not in str(caught.value), str(caught.value)
            assert "s3://bucket/key" in str(caught.value)


@pytest.mark.parametrize("reply", [error(403, "AccessDenied"), answer(403), error(403, "AccessDenied", UNALLOWED)])
async def test_what_is_not_allowed_is_named(fake, reply):
    fake.answers = [reply]
    async with talking_to(fake) as storage:
        with pytest.raises(AccessError, match=r"Allow s3:PutObject on arn:aws:s3:::bucket/key$"):
            await storage.put("bucket", "key", b"")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(200, b"<html>hi</html>", ETag=""), "ETag"),
        (answer(200, b"hel", length=5, ETag='"1"'), "3 of 5 bytes"),
    ],
)
async def test_a_damaged_answer_says_its_reason(fake, reply, reason):
    fake.answers = [reply]
    async with talking_to(fake) as storage:
        with pytest.raises(UnavailableError, match=reason):
            await storage.get("bucket", "key")
        fake.answers = [answer(200, b"<html>hi</html>")]
        with pytest.raises(UnavailableError, match="a web page came"):
            await storage.capabilities("bucket")


# Certificates ---------------------------------------------------------------------------------------------------------


def certificate(path: Path, host: str, *, days: int = 1) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = path / f"{host}{days}.pem", path / f"{host}{days}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


@contextlib.asynccontextmanager
async def https(pem: Path, secret: Path) -> AsyncIterator[dict[str, Any]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(200, b"hello", ETag='"1"'))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield {
            "endpoint_url": f"https://localhost:{port}",
            "region_name": "us-east-1",
            "aws_access_key_id": "a",
            "aws_secret_access_key": "b",
        }
    finally:
        server.close()


@pytest.mark.parametrize("auth", [None, httpx2.BasicAuth("a", "b")], ids=["sdk", "httpx2"])
@pytest.mark.parametrize(
    ("host", "days", "advice"),
    [
        ("localhost", 1, "AWS_CA_BUNDLE"),
        ("elsewhere", 1, "host in endpoint_url"),
        ("localhost", -1, "clock"),
    ],
    ids=["signs itself", "of another host", "expired"],
)
async def test_a_certificate_that_is_not_trusted(tmp_path, auth, host, days, advice):
    pem, secret = certificate(tmp_path, host, days=days)
    async with https(pem, secret) as s3_config:
        trusted = {} if advice == "AWS_CA_BUNDLE" else {"verify": str(pem)}
        async with opened(s3_config | trusted, environment=NoBackoff(), auth=auth) as storage:
            with pytest.raises(UnavailableError) as caught:
                await storage.put("bucket", "key", b"")
            assert advice in str(caught.value)
            assert not caught.value.maybe_written
        if advice == "AWS_CA_BUNDLE":
            async with opened(s3_config | {"verify": str(pem)}, environment=NoBackoff(), auth=auth) as storage:
                assert (await storage.get("bucket", "key")).body == b"hello"


async def test_https_to_a_server_without():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    s3_config = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    s3_config["endpoint_url"] = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with opened(s3_config, environment=NoBackoff()) as storage:
        with pytest.raises(UnavailableError, match="begin with http://"):
            await storage.get("bucket", "key")
    server.close()


@pytest.mark.parametrize("how", ["verify", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle", "client_cert"])
@pytest.mark.parametrize("wrong", ["missing", "directory", "no certificate"])
async def test_a_bundle_that_cannot_be_read_is_named(fake, tmp_path, monkeypatch, how, wrong):
    path = tmp_path / "bundle.pem"
    if wrong == "directory":
        path.mkdir()
    elif wrong == "no certificate":
        path.write_text("hello")
    config = dict(fake.s3_config)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if how == "verify":
        config["verify"] = str(path)
    elif how == "client_cert":
        from aiobotocore.config import AioConfig  # noqa: PLC0415

        config["config"] = AioConfig(client_cert=str(path))
    elif how == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {path}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(how, str(path))
    storage = S3Storage(config)
    with pytest.raises(ConfigurationError) as caught:
        await storage.open()
    assert str(path) in str(caught.value) and how in str(caught.value)


# Secrets --------------------------------------------------------------------------------------------------------------

PASSWORDS = [
    "PASSWORD",
    "a/PASSWORD",
    "a?PASSWORD",
    "a#PASSWORD",
    "a@PASSWORD",
    "a PASSWORD",
    'a"PASSWORD',
    "a\\PASSWORD",
    "80/PASSWORD",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("variable", [None, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_a_password_in_an_endpoint_is_in_no_message(password, variable, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "mps3")
    config: dict[str, Any] = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    endpoint = f"http://u:{password}@host.invalid:9000/x?sig=PASSWORD"
    if variable is None:
        config["endpoint_url"] = endpoint
    else:
        monkeypatch.setenv(variable, endpoint)
    events: list[Any] = []
    one = MPS3("bucket", s3_config=config, hooks=[events.append])
    with pytest.raises(ConfigurationError, match="user or a password") as caught:
        await soon(one.__aenter__())
    said = [repr(one), str(one.status()), repr(events), caplog.text]
    cause: BaseException | None = caught.value
    while cause is not None:
        said += [repr(cause), str(cause), str(vars(cause))]
        cause = cause.__cause__ or cause.__context__
    assert not [text for text in said if "PASSWORD" in text]


@pytest.mark.parametrize(
    "endpoint", ["http://u:PASSWORD%40host", "http://u:PASSWORD%40host:9000/x", "http://u:PASSWORD"]
)
async def test_a_password_whose_at_sign_is_escaped_is_in_no_message(endpoint):
    config = {"endpoint_url": endpoint, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    with pytest.raises(ConfigurationError) as caught:
        await soon(MPS3("bucket", s3_config=config).__aenter__())
    assert "PASSWORD" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    "url",
    [
        "s3://u:a/PASSWORD@bucket/manifest.json",
        "s3://u:PASSWORD@bucket",
        "s3://[PASSWORD]",
        "s3://u:p\u2100PASSWORD@bucket",
        "http://u:a/PASSWORD@host/bucket",
        "s3://bucket?endpoint_url=http://u:a#PASSWORD@host",
        "s3://bucket?endpoint_url=http://u:a&PASSWORD@host",
        "s3://bucket?endpoint_url=http://u:a&PASSWORD",
        "file://u:a/PASSWORD@host/x?y=1",
    ],
)
def test_a_password_in_the_url_of_a_store_is_in_no_message(url):
    with pytest.raises(ConfigurationError) as caught:
        MPS3.from_url(url)
    assert "PASSWORD" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    "endpoint", [f"http://u:{password}@host.invalid/" for password in ("PASSWORD", "a/PASSWORD", "80/PASSWORD")]
)
async def test_a_password_in_the_endpoint_of_a_url_is_in_no_message(endpoint):
    url = f"s3://bucket?endpoint_url={endpoint}&aws_access_key_id=a&aws_secret_access_key=b"
    with pytest.raises(ConfigurationError) as caught:
        await soon(MPS3.from_url(url).__aenter__())
    assert "PASSWORD" not in f"{caught.value!r} {caught.value.__cause__!r}"
    one = MPS3("bucket", s3_config={"endpoint_url": endpoint, "aws_access_key_id": "a", "aws_secret_access_key": "b"})
    with pytest.raises(ConfigurationError) as caught:
        await soon(one.__aenter__())
    assert "PASSWORD" not in f"{one!r} {one.status()} {caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://host:9000/x", "http://host:9000/x"),
        ("http://u:a/PASSWORD@host/x", "http://…@host/x"),
        ("http://u:PASSWORD@host?PASSWORD", "http://…@host"),
        ("http://host/?mail=a@b&sig=PASSWORD", "http://…"),
        ("http://u:p?PASSWORD@host", "http://…"),
        ("http://u:p#PASSWORD@host", "http://…"),
        ("http://host/x?PASSWORD#PASSWORD", "http://host/x"),
        ("https://" + "u:p@" * 9 + "host", "https://…@host"),
    ],
)
def test_urls_in_messages(url, public):
    assert public_url(url) == public
    assert "PASSWORD" not in redact(f'cannot connect to "{url}" now')


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer PASSWORD",
        "authorization=Basic PASSWORD, x",
        '{"session_token": "PASSWORD"}',
        "SessionToken=PASSWORD&x=1",
        "X-Amz-Security-Token=PASSWORD",
        "password: PASSWORD",
        "Credential=PASSWORD/2026/us-east-1, Signature=PASSWORD",
        "see ftp://u:PASSWORD@h and http://x:PASSWORD@y",
        "x" * (MAX_INPUT - 20) + " http://user:PASSWORD" + "y" * 50 + "@host",
    ],
)
def test_secrets_in_the_words_of_servers(text):
    assert "PASSWORD" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 40_000,
        "a://" * 20_000,
        "a@" * 40_000,
        "http://" + "a@" * 40_000,
        "token" * 20_000,
        "token " * 20_000,
        "token" + " " * 80_000,
        "AKIA" * 20_000,
        "authorization: bearer " * 5_000,
        "?" * 80_000,
        " " * 80_000,
        "\x00" * 80_000,
        "not authorized to perform: s3:" + "a" * 80_000,
        "explicit deny in a " + "a " * 40_000,
    ],
    ids=lambda text: text[:12].strip() or "blank",
)
async def test_a_long_message_takes_no_time(fake, text):
    started = time.perf_counter()
    assert len(redact(text)) <= 300
    assert time.perf_counter() - started < 2
    body = f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>".replace("\x00", "-").encode()
    fake.answers = [answer(403, body)]
    async with talking_to(fake) as storage:
        started = time.perf_counter()
        with pytest.raises(AccessError) as caught:
            await storage.put("bucket", "key", b"")
        assert time.perf_counter() - started < 4
    assert len(str(caught.value)) < 1000


async def test_what_a_server_or_a_bucket_calls_itself_stays_on_its_line(fake):
    fake.answers = [error(403, "Access\u202eDenied", "no\u2028more\x85lines &#27;[31m".replace("&#27;", "\u009b"))]
    async with talking_to(fake) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.get("bucket", "a\nb\x1b", version="v\n\u202e")
    assert str(caught.value).isprintable()
