"""How requests get to the store and answers back: each is sent once, to nobody else, and no answer fills the memory."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from ..bypass import BYPASS
from .request import MalformedResponseError

CHUNK: Final = 1 << 16
MAX_RESPONSE_BYTES: Final = 1 << 23
"""Bytes of an answer that is no object. The longest are pages of a listing: 1,000 keys of 1,024 bytes, encoded."""
MAX_ERROR_BYTES: Final = 1 << 18
"""Bytes of an answer that is an error. Of a longer one only the status and the headers count."""
ERROR_HEAD_BYTES: Final = 1 << 10
"""Bytes of such an error that are kept: they tell whether it comes from S3."""
MAX_TAGS: Final = 1 << 17
"""Tags of an answer. To parse millions takes many seconds, and a page of a listing has some 40,000."""
MAX_ENTITIES: Final = 1 << 19
"""Entities of an answer: keys may be full of them, where a store does not encode keys."""
MAX_ERROR_TAGS: Final = 1 << 12
"""Tags of an error, and its entities."""


class _SingleSendSession(AIOHTTPSession):  # type: ignore[misc, unused-ignore]
    """Sends each request once, and only where it is meant to go."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        # aiohttp repeats GET, PUT and DELETE by itself when a connection breaks, also after the store has
        # carried them out: a conditional PUT would then conflict with itself.
        session._retry_connection = False  # noqa: SLF001
        session._response_class = _BoundedResponse  # noqa: SLF001
        return _NoRedirectSession(session)


class HTTPSession(_SingleSendSession):
    """The same, over a connection that nothing else uses if the answer has to be certain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        given = {**(options.get("connector_args") or {}), "force_close": True}
        given.pop("keepalive_timeout", None)
        self._anew = _SingleSendSession(*args, **{**options, "connector_args": given})

    async def __aenter__(self) -> Any:
        await self._anew.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._anew.__aexit__(*error)
        finally:
            await super().__aexit__(*error)

    async def send(self, request: Any) -> Any:
        """Send a request."""
        if BYPASS.get():
            return await self._anew.send(request)
        return await super().send(request)


class _NoRedirectSession:
    """An HTTP session that follows no redirect: whoever answers with one would get the request's body and token."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **options: Any) -> Any:
        return self._session.request(method, **{**options, "allow_redirects": False})


class _BoundedResponse(aiohttp.ClientResponse):
    """An answer whose body is read whole only while it is no longer than answers are."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._read()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _read(self) -> bytes:
        budget = ResponseLimit(self.status)
        chunks: list[bytes] = []
        async for chunk in self.content.iter_chunked(CHUNK):
            if not budget.accepts(chunk):
                self.close()
                return b"".join([*chunks, chunk])[:ERROR_HEAD_BYTES]
            chunks.append(chunk)
        self.release()
        return b"".join(chunks)


class ResponseLimit:
    """How long an answer may be that is read whole, and parsed.

    Args:
        status: Of the answer.
    """

    def __init__(self, status: int) -> None:
        self._error = status >= 300
        self._bytes = MAX_ERROR_BYTES if self._error else MAX_RESPONSE_BYTES
        self._tags = MAX_ERROR_TAGS if self._error else MAX_TAGS
        self._entities = MAX_ERROR_TAGS if self._error else MAX_ENTITIES

    def accepts(self, chunk: bytes) -> bool:
        """Whether some more bytes are within it. An error that is longer counts as one without words.

        Raises:
            MalformedResponseError: They are not, and the answer is no error.
        """
        self._bytes -= len(chunk)
        self._tags -= chunk.count(b"<")
        self._entities -= chunk.count(b"&")
        if min(self._bytes, self._tags, self._entities) >= 0:
            return True
        if self._error:
            return False
        raise MalformedResponseError(
            f"it has more than {MAX_RESPONSE_BYTES} bytes"
            if self._bytes < 0
            else "it has more tags and entities than any listing"
        )
