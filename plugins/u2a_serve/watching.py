"""Around every request: it is counted, and a client that still sends is let come to its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from u2a_serve.measures import Measures

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: An answer that comes before the body's end is lost with the connection where the rest is not read: so much
#: of it is, for so long.
REST_BYTES, REST_SECONDS = 2**20, 2.0


class Watched:
    """ASGI middleware.

    Args:
        app: what answers.
        measures: what counts.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app, self.measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, body = time.monotonic(), _Body(receive, _length(scope))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.read_rest()
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
                path = getattr(scope.get("route"), "path", "other")
                self.measures.request(path, message["status"])
                if path == "/predict":
                    self.measures.seconds(time.monotonic() - begun)
            await send(message)

        try:
            return await self.app(scope, body.receive, answer)
        except Exception:
            self.measures.request(getattr(scope.get("route"), "path", "other"), 500)
            raise


class _Body:
    def __init__(self, receive: Receive, length: int | None) -> None:
        self._receive, self._length, self._ended = receive, length, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def read_rest(self) -> None:
        if self._length == 0 or (self._length or 0) > REST_BYTES:
            return
        rest = 0
        try:
            async with asyncio.timeout(REST_SECONDS):
                while not self._ended and rest <= REST_BYTES:
                    rest += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _length(scope: Scope) -> int | None:
    """What the headers say of the body: 0 = there is none, None = it comes in chunks."""
    headers: dict[bytes, Any] = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        return int(length[:20])
    return None if b"transfer-encoding" in headers else 0
