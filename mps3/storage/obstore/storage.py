"""Buckets of Google Cloud Storage and containers of Azure Blob Storage, through obstore."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final, Literal

from ...errors import ConfigurationError, CorruptionError
from ...support.environment import Environment
from ..byte_ranges import MAX_WHOLE_BYTES, RANGE_IGNORED, check_byte_range, part_behind_end, part_of, size_of_part
from ..etags import strong
from ..failure import MalformedResponseError
from ..memory import check_names
from ..protocol import (
    ABSENT,
    NULL_VERSION,
    UNCHANGED,
    Absence,
    Capabilities,
    Head,
    ListedVersion,
    Object,
    Page,
    Scan,
    Storage,
    Stored,
    Version,
    VersionPage,
)
from .failures import ABSENT_CODES, Unread, report_of, unread_part
from .identity import obstore_identity
from .keys import name_of
from .listing import LISTING_RETRIES, Listings, require_bucket
from .provider import PROVIDERS
from .request import Request
from .session import ObstoreSession
from .stores import StoreFactory, translated

MAX_OBJECT_BYTES: Final = 1 << 28
"""The most bytes of an object that is read without a limit. This library always has a limit for what it writes."""
_PLAIN: Final = {"", "identity"}


class ObstoreStorage(Storage):
    """Buckets of Google Cloud Storage, or containers of Azure Blob Storage, by their own interfaces.

    mps3 uses no versions there, so manifests have the log journal. The methods raise the errors of
    `mps3.storage.Storage`. It needs the package obstore: ``pip install "mps3[obstore]"``.

    Args:
        scheme: ``gs`` for Google, ``az`` for Azure.
        storage_options: Settings of obstore, such as ``account_name`` and ``account_key``, or ``service_account``; and
            ``endpoint_url``, the address of another service than the public one. The other settings come from the
            environment, as obstore reads it (``GOOGLE_…``, ``AZURE_…``).
        client_options: Settings of obstore's HTTP client, such as ``proxy_url`` or ``root_certificate``.
        credential_provider: A function that returns credentials, such as those of ``obstore.auth``.
        environment: The source of jitter.
        timeout: The most seconds of one call with all its attempts.

    Attributes:
        scheme: The scheme of its URLs.
    """

    def __init__(
        self,
        scheme: Literal["gs", "az"],
        storage_options: Mapping[str, Any] | None = None,
        *,
        client_options: Mapping[str, Any] | None = None,
        credential_provider: Any = None,
        environment: Environment | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.scheme = scheme
        self._provider = PROVIDERS[scheme]
        self._options = translated(self._provider, storage_options or {})
        factory = StoreFactory(self._provider, self._options, client_options or {}, credential_provider, timeout)
        self._session = ObstoreSession(factory, environment or Environment(), timeout)
        self._listings = Listings()
        self._known: set[str] = set()  # buckets that exist
        self._coded: set[str] = set()  # buckets whose absent objects have been reported with an error code

    def __repr__(self) -> str:
        # Without the settings, which may hold credentials.
        return f"<{type(self).__name__} {self._provider.scheme}:// {'open' if self._session.is_open else 'closed'}>"

    def __del__(self) -> None:
        session: ObstoreSession | None = getattr(self, "_session", None)
        if session is not None and session.is_open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def clock(self) -> float | None:
        """As `mps3.storage.TellsTime.clock`, from the time that the service tells once a minute."""
        return self._session.clock()

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`: the address of the service, without credentials."""
        return obstore_identity(self._provider, self._options)

    async def open(self) -> None:
        """Check the settings, unless another user has. The first request connects.

        Raises:
            ConfigurationError: A setting is wrong, or obstore is not installed.
        """
        await self._session.open()

    async def aclose(self) -> None:
        """Forget all connections, unless another user is left. Requests under way come to their end."""
        await self._session.aclose()
        if not self._session.is_open:
            self._listings.clear()

    async def capabilities(self, bucket: str) -> Capabilities:
        """As `mps3.storage.Storage.capabilities`. Versions of the service are not used."""
        await self._session.call(self._request("ListObjectsV2", bucket), require_bucket)
        self._known.add(bucket)
        return Capabilities("off", versionable=False)

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
        request = self._request("GetObject", bucket, key)
        check_byte_range(byte_range, bucket, key)
        if version not in {None, NULL_VERSION}:
            return ABSENT
        options: dict[str, Any] = {} if if_none_match is None else {"if_none_match": strong(if_none_match)}
        asked = options if byte_range is None else {**options, "range": byte_range}

        async def send(store: Any) -> Object | Absence | Unread:
            return await self._read(request, store, asked, limit, byte_range)

        async def send_without_range(store: Any) -> Object | Absence | Unread:
            return await self._read(request, store, options, limit, byte_range)

        found = await self._session.call(request, send)
        if found is Unread.WHOLE:
            found = await self._session.call(request, send_without_range)
        if isinstance(found, Unread):
            return await self._behind_end(request, 0 if byte_range is None else byte_range[0], if_none_match)
        return found

    async def _read(
        self,
        request: Request,
        store: Any,
        options: Mapping[str, Any],
        limit: int | None,
        byte_range: tuple[int, int] | None,
    ) -> Object | Absence | Unread:
        """Read an object, or a part of it: from the whole object, unless the options of obstore have the range."""
        api = _obstore()
        ranged = "range" in options
        try:
            found = await api.get_async(store, name_of(request.key or ""), options=options)
        except api.exceptions.NotModifiedError:
            if "if_none_match" not in options:
                raise
            return UNCHANGED
        except FileNotFoundError as error:
            return await self._absence(request, store, error)
        except api.exceptions.BaseError as error:
            unread = unread_part(error) if ranged else None
            if unread is None:
                raise
            return unread
        self._require_own(found.meta)
        whole, most = int(found.meta["size"]), MAX_OBJECT_BYTES if limit is None else limit
        size = size_of_part(whole, byte_range)
        if size > most:
            raise request.error(CorruptionError, f"the object has {size} bytes, more than {most}")
        if byte_range is not None and not ranged and whole > MAX_WHOLE_BYTES:
            raise request.error(ConfigurationError, RANGE_IGNORED)
        encoding = str(found.attributes.get("Content-Encoding") or "").strip().lower()
        if encoding not in _PLAIN:
            raise MalformedResponseError(f"what was stored without encoding is encoded ({encoding:.20})")
        body = (await found.bytes_async()).to_bytes()
        expected = size if ranged else whole
        if len(body) != expected:
            raise MalformedResponseError(f"{len(body)} of {expected} bytes came")
        part = body if ranged else part_of(body, byte_range)
        return Object(part, None, found.meta["e_tag"], self._stamp(found.meta), byte_range is not None)

    async def _behind_end(self, request: Request, start: int, if_none_match: str | None) -> Object | Absence:
        """Return an empty part of an object that is said to end before it. The error does not name the ETag."""
        found = await self._describe("HeadObject", request.bucket, request.key or "")
        if isinstance(found, Absence):
            return found
        meta = found.meta
        part = Object(b"", None, meta["e_tag"], self._stamp(meta), partial=True)
        return part_behind_end(part, int(meta["size"]), start, if_none_match, request.error)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,  # noqa: ARG002 - obstore sends no checksum
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """As `mps3.storage.Storage.put`. The service verifies no checksum; clients verify what they read.

        It repeats only a request that certainly had no effect: the store was busy and refused it, or there was no
        connection. A write succeeds only if the answer has the identifiers of the service, because an
        intermediary can answer 200 too.
        """
        request = self._request("PutObject", bucket, key, conditional=if_none_match, repeatable=False)
        attributes = {self._provider.metadata_name(name): value for name, value in (metadata or {}).items()}

        async def send(store: Any) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = await _obstore().put_async(
                store,
                name_of(key),
                body,
                attributes={**attributes, "Content-Type": "application/json"},
                mode="create" if if_none_match else "overwrite",
                use_multipart=False,
            )
            self._require_own(answer)
            return answer

        answer = await self._session.call(request, send)
        stamp = self._session.stamp_of_put(answer["e_tag"], answer["version"])
        if stamp is None and not if_none_match:
            stamp = self._session.time_of_answer()
        # For a commit the journal needs the very stamp that others see, and reads it if it is not known.
        return Stored(None, answer["e_tag"], stamp)

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        found = await self._describe("HeadObject", bucket, key, version)
        if isinstance(found, Absence):
            return found
        given = {name: value for name, value in found.attributes.items() if not name[:1].isupper()}
        metadata = {self._provider.metadata_name(name).lower(): str(value) for name, value in given.items()}
        return Head(metadata, int(found.meta["size"]), self._stamp(found.meta))

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        request = self._request("DeleteObject", bucket, key)
        if version not in {None, NULL_VERSION}:
            return

        async def send(store: Any) -> None:
            try:
                await _obstore().delete_async(store, name_of(key))
            except FileNotFoundError as error:
                await self._absence(request, store, error)

        await self._session.call(request, send)

    async def versions(
        self,
        bucket: str,
        key: str,
        *,
        start: str | None = None,
        limit: int | None = None,  # noqa: ARG002 - there is one at the most
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`: the current object, if there is one."""
        found = None if start is not None else await self._describe("ListObjectVersions", bucket, key)
        answered = self._session.time_of_answer()
        if found is None or isinstance(found, Absence):
            return VersionPage((), None, answered)
        meta = found.meta
        modified = meta["last_modified"].timestamp()
        current = Version(NULL_VERSION, modified, meta["e_tag"], int(meta["size"]), deleted=False)
        return VersionPage((current,), None, None if answered is None else max(answered, modified))

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        request = self._request("ListObjectsV2", bucket)

        async def send(store: Any) -> Page:
            return await self._listings.page(store, bucket, prefix, start, limit)

        return await self._session.call(request, send, retries=LISTING_RETRIES)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`: the current objects."""
        page = await self.list(bucket, prefix, start=start)
        found = (ListedVersion(one.key, NULL_VERSION, one.modified, one.size, deleted=False) for one in page.entries)
        return Scan(tuple(found), page.next)

    def _request(
        self,
        operation: str,
        bucket: str,
        key: str | None = None,
        *,
        conditional: bool = False,
        repeatable: bool = True,
    ) -> Request:
        check_names(bucket, "any" if key is None else key, operation)
        return Request(self._provider, operation, bucket, key, conditional=conditional, repeatable=repeatable)

    async def _describe(self, operation: str, bucket: str, key: str, version: str | None = None) -> Any:
        """Return what obstore tells of an object without its body, or an `Absence`."""
        request = self._request(operation, bucket, key)
        if version not in {None, NULL_VERSION}:
            return ABSENT

        async def send(store: Any) -> Any:
            try:
                found = await _obstore().get_async(store, name_of(key), options={"head": True})
            except FileNotFoundError as error:
                return await self._absence(request, store, error)
            self._require_own(found.meta)
            return found

        return await self._session.call(request, send)

    def _require_own(self, told: Mapping[str, Any]) -> None:
        if not self._provider.has_answered(told["e_tag"], told["version"]):
            raise MalformedResponseError("it lacks what the service says of each object")

    async def _absence(self, request: Request, store: Any, error: FileNotFoundError) -> Absence:
        """Return ``ABSENT`` if an error says that an object does not exist, and the bucket does; else raise it.

        An answer to HEAD has no body, and some servers have no error code.
        """
        report = report_of(error)
        if report.is_page or report.code not in {"", *ABSENT_CODES}:
            raise error
        if report.code:
            self._coded.add(request.bucket)
        elif request.operation == "GetObject" and request.bucket in self._coded:
            raise MalformedResponseError("it has status 404, but no error code of the service") from error
        elif request.bucket not in self._known:
            await require_bucket(store)
        self._known.add(request.bucket)
        return ABSENT

    def _stamp(self, meta: Mapping[str, Any]) -> float:
        modified: float = meta["last_modified"].timestamp()
        self._session.observe_time(modified)
        return modified


def _obstore() -> Any:
    import obstore  # noqa: PLC0415 - it is an extra, and slow to import; `open` has imported it in a thread

    return obstore
