"""The SDK's client: its settings, and its creation in a thread, with all that it would load lazily.

On the event loop, the creation would block for about 250 ms, and the first request for 60 ms more.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.loaders import JSONFileLoader

from ...errors import ConfigurationError
from ...types import Auth
from . import byte_ranges, google
from . import listing as s3_listing
from . import responses as s3_responses
from .auth import auth_session_class
from .certificates import check_certificates
from .redaction import has_credentials, public_url
from .server_headers import ServerHeaders
from .transport import HTTPSession
from .vendors import GENERATION, Vendor, vendor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

CONNECTIONS: Final = 64
CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 15.0
LARGE: Final = 1 << 19

# The data files that a client reads. If another version of the SDK reads more, it is only slower.
_DATA: Final = ("endpoints", "partitions", "sdk-default-configuration")
_MODELS: Final = ("service-2", "endpoint-rule-set-1")


class S3Connection:
    """A client of the SDK, with the vendor, the endpoint (without secrets) and the region of its requests.

    ``server_headers`` has what the server says of itself.
    """

    def __init__(self, client: Any, context: AbstractAsyncContextManager[Any], vendor: Vendor) -> None:
        self.client = client
        self.vendor = vendor
        self.server_headers = ServerHeaders()
        self.server_headers.register(client.meta.events)
        self.endpoint = public_url(str(client.meta.endpoint_url))
        self.region = str(client.meta.region_name or "")
        self._context = context

    async def aclose(self) -> None:
        """Close all its connections."""
        await self._context.__aexit__(None, None, None)


async def connect(s3_config: Mapping[str, Any], auth: Auth | None = None) -> S3Connection:
    """Create a client in a thread. No connection is open yet.

    Raises:
        ConfigurationError: The endpoint holds a password, or a file with certificates cannot be read.
    """
    return await asyncio.to_thread(_connect, dict(s3_config), auth)


def _connect(options: dict[str, Any], auth: Auth | None) -> S3Connection:
    session = AioSession(profile=options.pop("profile_name", None))
    _preload(session)
    endpoint_url = _endpoint_url(session, options)
    if endpoint_url and has_credentials(endpoint_url):
        # S3 has no use for them, and every message that names the endpoint would repeat them.
        raise ConfigurationError(
            f"endpoint_url ({public_url(endpoint_url)}) has a user or a password in it, which S3 does not know: give "
            "credentials as other S3 tools take them, or as auth=httpx.BasicAuth(…), and write an @ of a path as %40"
        )
    check_certificates(session, options)
    vendor = vendor_of(endpoint_url)
    if endpoint_url and not (options.get("region_name") or session.get_config_variable("region")):
        options["region_name"] = vendor.region_of(endpoint_url)
    options["config"] = _config(session, options, vendor)
    if auth is not None:
        unsigned = AioConfig(signature_version=UNSIGNED, http_session_cls=auth_session_class(auth))
        options["config"] = options["config"].merge(unsigned)
    # A client is not bound to an event loop before its first request, so this thread may use its own loop.
    return asyncio.run(_create(session, options, vendor))


async def _create(session: Any, options: dict[str, Any], vendor: Vendor) -> S3Connection:
    context = session.create_client("s3", **options)
    client = await context.__aenter__()
    s3_listing.register(client.meta.events)
    s3_responses.register(client.meta.events)
    byte_ranges.register(client.meta.events)
    # The SDK adds the header after the handlers of a single operation have run.
    client.meta.events.register_last("before-call.s3", _disable_expect_continue)
    client.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update(vendor.headers))
    client.meta.events.register("before-call.s3", _disable_redirects)
    if vendor.create_header == GENERATION:
        google.register(client.meta.events)
    await _warm_up(client)
    return S3Connection(client, context, vendor)


def configured_endpoint(s3_config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the endpoint and the region from all sources of configuration; ``None`` for each that is not set."""
    session = AioSession(profile=s3_config.get("profile_name"))
    return _endpoint_url(session, s3_config), s3_config.get("region_name") or session.get_config_variable("region")


# Settings -------------------------------------------------------------------------------------------------------------


def _config(session: Any, options: Mapping[str, Any], vendor: Vendor) -> AioConfig:
    given = options.get("config")
    settings: dict[str, Any] = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        # `S3Session` repeats requests, because the SDK does not know which failures are safe to repeat.
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "http_session_cls": HTTPSession,
    }
    settings |= _for_vendor(session, vendor)
    config = AioConfig(**settings)
    if given is None:
        return config
    if given.s3 and "s3" in settings:
        config = config.merge(given)
        return config.merge(AioConfig(s3={**settings["s3"], **given.s3}))
    return config.merge(given)


def _for_vendor(session: Any, vendor: Vendor) -> dict[str, Any]:
    """Return the settings for a vendor, except those that the user's environment or profile sets."""
    profile = session.get_scoped_config()
    settings: dict[str, Any] = {}
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if not vendor.sdk_checksums and f"AWS_{name.upper()}" not in os.environ and name not in profile:
            settings[name] = "when_required"
    if vendor.addressing and "addressing_style" not in (profile.get("s3") or {}):
        settings["s3"] = {"addressing_style": vendor.addressing}
    return settings


def _endpoint_url(session: Any, options: Mapping[str, Any]) -> str | None:
    """Return the endpoint from all sources of configuration; ``None`` if it is not set."""
    if options.get("endpoint_url"):
        return str(options["endpoint_url"])
    profile = session.get_scoped_config()
    ignored = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", profile.get("ignore_configured_endpoint_urls", ""))
    if getattr(options.get("config"), "ignore_configured_endpoint_urls", None) or ignored.lower() == "true":
        return None
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or services.get("s3", {}).get("endpoint_url")
        or profile.get("endpoint_url")
    )


def _disable_redirects(params: dict[str, Any], **_: Any) -> None:
    """Mark a request as already redirected, so that the SDK does not send its body and headers to another region."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _disable_expect_continue(params: dict[str, Any], **_: Any) -> None:
    """Send the body without waiting for "100 Continue", which would cost one more round trip for each object."""
    params["headers"].pop("Expect", None)
    if hasattr(params["body"], "read"):
        body = params["body"].read()
        # aiohttp sends bytes in one call, which would block the event loop if there are many.
        params["body"] = io.BytesIO(body) if len(body) > LARGE else body


# What would be loaded lazily ------------------------------------------------------------------------------------------


class _OrjsonLoader(JSONFileLoader):  # type: ignore[misc, unused-ignore]
    """A faster loader: parsing holds the GIL, and so blocks the event loop of the other thread."""

    def load_file(self, file_path: str) -> Any:
        openers: tuple[tuple[str, Callable[..., Any]], ...] = ((".json", open), (".json.gz", gzip.open))
        for suffix, opener in openers:
            try:
                with opener(file_path + suffix, "rb") as file:
                    return orjson.loads(file.read())
            except FileNotFoundError:
                continue
        return None


def _preload(session: Any) -> None:
    loader = session.get_component("data_loader")
    loader.file_loader = _OrjsonLoader()
    for name in _DATA:
        loader.load_data(name)
    for name in _MODELS:
        # The cache distinguishes positional from keyword arguments.
        loader.load_service_model("s3", name, api_version=None)
        loader.load_service_model("s3", type_name=name, api_version=None)


_VERSIONS: Final = (
    b"<ListVersionsResult><Version><Key>key</Key><VersionId>1</VersionId><Size>2</Size>"
    b"<LastModified>2020-01-01T00:00:00.000Z</LastModified></Version></ListVersionsResult>"
)
_WARM_UP_CALLS: Final[dict[str, tuple[dict[str, Any], int, bytes]]] = {
    "get_object": ({"Key": "key", "IfNoneMatch": '"0"'}, 304, b""),
    "put_object": ({"Key": "key", "Body": b"{}", "ContentType": "application/json", "IfNoneMatch": "*"}, 200, b""),
    "delete_object": ({"Key": "key"}, 204, b""),
    "list_object_versions": ({"Prefix": "key"}, 200, _VERSIONS),
    "list_objects_v2": ({"Prefix": "key"}, 200, b"<ListBucketResult/>"),
    "get_bucket_versioning": ({}, 200, b"<VersioningConfiguration/>"),
}


class _CannedBody:
    """The body of a canned response."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body

    async def aread(self) -> bytes:
        return self._body


async def _warm_up(client: Any) -> None:
    """Make each kind of request once, and answer it before it is sent, so that the SDK loads what it needs."""
    operations = client.meta.method_to_api_mapping
    answers = {operations[method]: (status, body) for method, (_, status, body) in _WARM_UP_CALLS.items()}

    def answer(request: Any, event_name: str, **_: Any) -> AioAWSResponse:
        status, body = answers[event_name.rpartition(".")[2]]
        return AioAWSResponse(request.url, status, {"content-length": str(len(body))}, _CannedBody(body))

    client.meta.events.register("before-send.s3", answer)
    try:
        for method, (params, *_) in _WARM_UP_CALLS.items():
            try:
                await getattr(client, method)(Bucket="warm-up", **params)
            except (NoCredentialsError, PartialCredentialsError):
                raise
            except (BotoCoreError, ClientError):
                continue  # if it is not harmless, the first real request fails too
    finally:
        client.meta.events.unregister("before-send.s3", answer)
