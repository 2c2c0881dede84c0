"""How requests get to the store and answers back: each is sent once, to nobody else, and no answer fills the memory."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from ..bypass import BYPASS
from .listing import MalformedResponseError

CHUNK: Final = 1 << 16
ANSWER: Final = 1 << 23
"""Bytes of an answer that is no object. The longest are pages of a listing: 1,000 keys of 1,024 bytes, encoded."""
ERROR: Final = 1 << 18
"""Bytes of an answer that is an error. Of a longer one only the status and the headers count."""
HEAD: Final = 1 << 10
"""Bytes of such an error that are kept: they tell whether it comes from S3."""
TAGS: Final = 1 << 17
"""Tags of an answer. To parse millions takes many seconds, and a page of a listing has some 40,000."""
ENTITIES: Final = 1 << 19
"""Entities of an answer: keys may be full of them, where a store does not encode keys."""
ERROR_TAGS: Final = 1 << 12
"""Tags of an error, and its entities."""


class _Once(AIOHTTPSession):  # type: ignore[misc, unused-ignore]
    """Sends each request once, and only where it is meant to go."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        # aiohttp repeats GET, PUT and DELETE by itself when a connection breaks, also after the store has
        # carried them out: a conditional PUT would then conflict with itself.
        session._retry_connection = False  # noqa: SLF001
        session._response_class = _Response  # noqa: SLF001
        return _Straight(session)


class Session(_Once):
    """The same, over a connection that nothing else uses if the answer has to be certain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        given = {**(options.get("connector_args") or {}), "force_close": True}
        given.pop("keepalive_timeout", None)
        self._anew = _Once(*args, **{**options, "connector_args": given})

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


class _Straight:
    """An HTTP session that follows no redirect: whoever answers with one would get the request's body and token."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **options: Any) -> Any:
        return self._session.request(method, **{**options, "allow_redirects": False})


class _Response(aiohttp.ClientResponse):
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
        budget = Budget(self.status)
        chunks: list[bytes] = []
        async for chunk in self.content.iter_chunked(CHUNK):
            if not budget.pays(chunk):
                self.close()
                return b"".join([*chunks, chunk])[:HEAD]
            chunks.append(chunk)
        self.release()
        return b"".join(chunks)


class Budget:
    """How long an answer may be that is read whole, and parsed.

    Args:
        status: Of the answer.
    """

    def __init__(self, status: int) -> None:
        self._error = status >= 300
        self._bytes = ERROR if self._error else ANSWER
        self._tags = ERROR_TAGS if self._error else TAGS
        self._entities = ERROR_TAGS if self._error else ENTITIES

    def pays(self, chunk: bytes) -> bool:
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
            f"it has more than {ANSWER} bytes" if self._bytes < 0 else "it has more tags and entities than any listing"
        )
