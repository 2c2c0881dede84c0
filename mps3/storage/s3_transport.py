"""How requests get to the store and answers back: each is sent once, to nobody else, and no answer fills the memory."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from mps3.storage.s3_listing import GarbledError

CHUNK: Final = 1 << 16
ANSWER: Final = 1 << 23
"""Bytes of an answer that is no object. The longest are pages of a listing: 1,000 keys of 1,024 bytes, encoded."""
ERROR: Final = 1 << 18
"""Bytes of an answer that is an error. Of a longer one only the status and the headers count."""


class Session(AIOHTTPSession):  # type: ignore[misc, unused-ignore]
    """Sends each request once, and only where it is meant to go."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        # aiohttp repeats GET, PUT and DELETE by itself when a connection breaks, also after the store has
        # carried them out: a conditional PUT would then conflict with itself.
        session._retry_connection = False  # noqa: SLF001
        session._response_class = _Response  # noqa: SLF001
        return _Straight(session)


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
            most = ERROR if self.status >= 300 else ANSWER
            try:
                body = await bounded(self.content.iter_chunked(CHUNK), most)
                if body is None:
                    self.close()
                else:
                    self.release()
                self._body = whole(body, self.status)
            except BaseException:
                self.close()
                raise
        return self._body


async def bounded(chunks: Any, most: int) -> bytes | None:
    """Read an answer.

    Args:
        chunks: Its bytes.
        most: As many as it may have.

    Returns:
        All of them; ``None`` if there are more.
    """
    read: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            return None
        read.append(chunk)
    return b"".join(read)


def whole(body: bytes | None, status: int) -> bytes:
    """What counts of an answer.

    Args:
        body: Its bytes; ``None`` if there are too many.
        status: An error with too many is one without any.

    Raises:
        GarbledError: It is no error, and has too many.
    """
    if body is None and status < 300:
        raise GarbledError(f"it has more than {ANSWER} bytes")
    return body or b""
