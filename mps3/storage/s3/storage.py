"""Buckets of any S3-compatible service, through aiobotocore."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError

from ...support.environment import Environment
from ...types import Auth
from ..bypass import BYPASS
from ..byte_ranges import check_byte_range, part_behind_end
from ..etags import strong
from ..failure import MalformedResponseError
from ..pagination import page_size
from ..protocol import (
    ABSENT,
    UNCHANGED,
    Absence,
    Capabilities,
    Head,
    ListedObject,
    ListedVersion,
    Object,
    Page,
    Scan,
    Storage,
    Stored,
    Version,
    VersionPage,
)
from .byte_ranges import range_header, read_part
from .errors import is_absent, is_behind_end, is_unchanged, is_unreadable, is_unsigned, status_of
from .identity import s3_identity
from .listing import listing, newest_first, next_objects, next_scan, next_versions, start_of
from .puts import PutDialect
from .request import S3Request
from .responses import etag_of, head_of, is_listing, is_web_page, read, require, require_object, stamp, version_of
from .session import S3Session
from .vendors import Vendor
from .version_pages import version_page

if TYPE_CHECKING:
    from collections.abc import Mapping


class S3Storage(Storage):
    """Buckets of an S3-compatible service.

    The methods raise the errors of `mps3.storage.Storage`. An ``AccessError`` names the missing permission, such as
    ``s3:GetObjectVersion``. An ``UnavailableError`` means that the store did not answer in time, or that the response
    is not one of the store; after a write, `MPS3Error.maybe_written` says whether it may have taken effect.

    Args:
        s3_config: Keyword arguments of aiobotocore's ``create_client("s3")``, such as ``endpoint_url``,
            ``region_name``, ``aws_access_key_id``, ``aws_secret_access_key`` or ``config``; and
            ``profile_name``, a profile of the AWS configuration. The other settings come from the environment, as in
            other tools of AWS.
        environment: The source of jitter.
        auth: Any ``httpx.Auth``. It authorises the requests instead of the SDK.
        timeout: The most seconds of one call with all its attempts.
        checksums: Whether to send a checksum with every object, for the store to verify. A checksum that the bucket
            requires is always sent.
    """

    def __init__(
        self,
        s3_config: Mapping[str, Any] | None = None,
        *,
        environment: Environment | None = None,
        auth: Auth | None = None,
        timeout: float = 30.0,
        checksums: bool = True,
    ) -> None:
        self._s3_config = dict(s3_config or {})
        self._session = S3Session(self._s3_config, environment or Environment(), auth, timeout)
        self._dialect = PutDialect(checksums=checksums)

    def __repr__(self) -> str:
        # Without s3_config, which may hold credentials.
        return f"<{type(self).__name__} {'closed' if self._session.connection is None else 'open'}>"

    def __del__(self) -> None:
        session: S3Session | None = getattr(self, "_session", None)
        if session is not None and session.connection is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    @property
    def vendor(self) -> Vendor | None:
        """The vendor of the endpoint; ``None`` while the storage is closed."""
        connection = self._session.connection
        return None if connection is None else connection.vendor

    @property
    def server_headers(self) -> Mapping[str, str]:
        """What the server says of itself, safe to print; empty before a response, and while the storage is closed."""
        connection = self._session.connection
        return {} if connection is None else connection.server_headers.described()

    def clock(self) -> float | None:
        """As `mps3.storage.TellsTime.clock`, from the responses so far, whose resolution is one second."""
        return self._session.clock()

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`: the endpoint, without credentials."""
        return s3_identity(self._s3_config)

    async def open(self) -> None:
        """Create the client, unless another user has. It connects with the first request.

        Raises:
            ConfigurationError: ``s3_config`` is invalid.
            AccessError: There are no credentials.
        """
        await self._session.open()

    async def aclose(self) -> None:
        """Close all connections, unless another user is left. Requests under way fail."""
        await self._session.aclose()

    async def capabilities(self, bucket: str) -> Capabilities:
        """As `mps3.storage.Storage.capabilities`. Versioning is also ``off`` where the store does not support it."""

        async def send(client: Any) -> Capabilities:
            exclusive = self.vendor is not None and self.vendor.exclusive
            try:
                response = await client.get_bucket_versioning(Bucket=bucket)
            except ClientError as error:
                if status_of(error) in {405, 501}:
                    return Capabilities("off", versionable=False, exclusive=exclusive)
                raise
            require(response)
            if is_listing(response):
                return Capabilities("off", versionable=False, exclusive=exclusive)
            match response.get("Status"):
                case "Enabled":
                    return Capabilities("enabled", exclusive=exclusive)
                case "Suspended":
                    return Capabilities("suspended", exclusive=exclusive)
            return Capabilities("off", self.vendor is None or self.vendor.versions, exclusive)

        return await self._session.call(S3Request("GetBucketVersioning", "s3:GetBucketVersioning", bucket), send)

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_none_match: str | None = None,
        limit: int | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> Object | Absence:
        """As `mps3.storage.Storage.get`."""
        check_byte_range(byte_range, bucket, key)
        request = _read_request("GetObject", bucket, key, version)
        params = _given(
            Bucket=bucket,
            Key=key,
            VersionId=version,
            IfNoneMatch=strong(if_none_match),
            Range=range_header(byte_range),
        )

        async def send(client: Any) -> Object | Absence | None:
            try:
                response = await client.get_object(**params)
            except ClientError as error:
                if if_none_match is not None and is_unchanged(error):
                    self._session.observe_time(error.response)
                    return UNCHANGED
                if byte_range is not None and is_behind_end(error):
                    return None
                if is_absent(error, request):
                    if not BYPASS.get() and is_unsigned(error):
                        raise MalformedResponseError("it may not be a response of the store") from error
                    self._session.observe_time(error.response)
                    return ABSENT
                raise
            # The context returns or closes the connection, also after a cancellation.
            body = response["Body"]
            async with body:  # older SDKs do not return the stream here
                require_object(response, partial=byte_range is not None)
                seen = replace(request, version=version_of(response) or version)
                if byte_range is None:
                    content = await read(body, response.get("ContentLength"), limit, seen)
                else:
                    content = await read_part(body, response, byte_range, limit, seen)
            if not is_web_page(content):
                self._session.observe_time(response)
            return _object(content, response, partial=byte_range is not None)

        found = await self._session.call(request, send)
        start = 0 if byte_range is None else byte_range[0]
        return await self._behind_end(request, start, if_none_match) if found is None else found

    async def _behind_end(self, request: S3Request, start: int, if_none_match: str | None) -> Object | Absence:
        """Return an empty part of an object that is said to end before it.

        The error does not name the version and the ETag, and an intermediary may have sent it.
        """
        response = await self._ask_head(request.bucket, request.key or "", request.version)
        if isinstance(response, Absence):
            return response
        part = _object(b"", response, partial=True)
        return part_behind_end(part, head_of(response).size, start, if_none_match, request.error)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """As `mps3.storage.Storage.put`.

        It repeats only a request that certainly had no effect: the store was busy and refused it, or there was no
        connection. A write succeeds only if the response has an ETag or a version, because an intermediary can answer
        200 too.
        """
        request = S3Request(
            "PutObject", "s3:PutObject", bucket, key, conditional=if_none_match, repeatable=False, size=len(body)
        )
        params = _given(
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            IfNoneMatch="*" if if_none_match else None,
            Metadata=dict(metadata) if metadata else None,
        )

        async def send(client: Any) -> Stored:
            response = await self._dialect.put(client, params, sha256, self.vendor)
            require_object(response)
            return Stored(version_of(response), etag_of(response), self._session.observe_time(response))

        return await self._session.call(request, send)

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        response = await self._ask_head(bucket, key, version)
        return response if isinstance(response, Absence) else head_of(response)

    async def _ask_head(self, bucket: str, key: str, version: str | None) -> Mapping[str, Any] | Absence:
        """Return a response about an object, without its body."""
        request = _read_request("HeadObject", bucket, key, version)
        params = _given(Bucket=bucket, Key=key, VersionId=version)

        async def send(client: Any) -> Mapping[str, Any] | Absence | None:
            try:
                response: Mapping[str, Any] = await client.head_object(**params)
            except HTTPClientError as error:
                if is_unreadable(error):
                    return None
                raise
            except ClientError as error:
                # Without a body, a 400 about an existing object is about the version.
                if is_absent(error, request) or (version is not None and status_of(error) == 400):
                    return ABSENT
                raise
            require_object(response)
            return response

        found = await self._session.call(request, send)
        # Swift sends a body after a 404 to a HEAD, where HTTP has none. A GET has the same headers.
        return await self._head_by_get(replace(request, operation="GetObject"), params) if found is None else found

    async def _head_by_get(self, request: S3Request, params: Mapping[str, Any]) -> Mapping[str, Any] | Absence:
        async def send(client: Any) -> Mapping[str, Any] | Absence:
            try:
                response: Mapping[str, Any] = await client.get_object(**params)
            except ClientError as error:
                if is_absent(error, request):
                    return ABSENT
                raise
            async with response["Body"]:
                require_object(response)
                return response

        return await self._session.call(request, send)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        action = "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion"
        request = S3Request("DeleteObject", action, bucket, key, version)

        async def send(client: Any) -> None:
            try:
                require(await client.delete_object(**_given(Bucket=bucket, Key=key, VersionId=version)))
            except ClientError as error:
                if not is_absent(error, request):
                    raise

        await self._session.call(request, send)

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        request = S3Request("ListObjectVersions", "s3:ListBucketVersions", bucket, key)

        async def send(client: Any) -> VersionPage:
            page, response = await version_page(client, bucket, key, start, limit)
            versions = tuple(
                Version(item.version, item.modified, item.etag, item.size, item.deleted)
                for item in newest_first(item for item in page.items if item.key == key)
            )
            return VersionPage(versions, next_versions(key, page, start), self._session.observe_time(response))

        return await self._session.call(request, send)

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        request = S3Request("ListObjectsV2", "s3:ListBucket", bucket)
        token, after = start_of(start)
        params = _given(
            Bucket=bucket,
            Prefix=prefix,
            ContinuationToken=token,
            StartAfter=after,
            MaxKeys=page_size(limit),
            EncodingType="url",
        )

        async def send(client: Any) -> Page:
            page = listing(await client.list_objects_v2(**params))
            entries = tuple(
                ListedObject(item.key, item.modified, item.size) for item in page.items if item.key.startswith(prefix)
            )
            return Page(entries, next_objects(page, start))

        return await self._session.call(request, send)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`."""
        request = S3Request("ListObjectVersions", "s3:ListBucketVersions", bucket)

        async def send(client: Any) -> Scan:
            page, _ = await version_page(client, bucket, prefix, start)
            found = tuple(
                ListedVersion(item.key, item.version, item.modified, item.size, item.deleted)
                for item in page.items
                if item.key.startswith(prefix)  # the caller may delete what is listed
            )
            return Scan(found, next_scan(page, start))

        return await self._session.call(request, send)


def _read_request(operation: str, bucket: str, key: str, version: str | None) -> S3Request:
    action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
    return S3Request(operation, action, bucket, key, version)


def _object(body: bytes, response: Mapping[str, Any], *, partial: bool) -> Object:
    modified = stamp(response.get("LastModified"))
    return Object(body, version_of(response), etag_of(response), modified, partial)


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
