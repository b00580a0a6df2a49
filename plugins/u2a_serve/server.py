"""The process: it listens, answers, and on SIGTERM or SIGINT finishes what is inside and ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from u2a.errors import U2AError
from u2a_serve.app import build_app
from u2a_serve.service import Service

#: Seconds in which a connection has to send a request's headers, and may be idle between two requests.
HEADER_SECONDS = 15
#: More connections at once are hung up: each takes a descriptor.
MOST_CONNECTIONS = 512


class Prompt(H11Protocol):
    """HTTP/1.1; a client that says nothing, or never ends a header, loses its connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        """A clock runs while a header is not complete; it begins anew with each request only."""
        incomplete = self.conn.their_state is h11.IDLE
        if incomplete and self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self._hang_up)
        elif not incomplete:
            self._stop()

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Ends with exit code 0 where it was asked to end; uvicorn's own would die of the signal afterwards."""

    def __init__(self, config: uvicorn.Config, draining: Callable[[], None]) -> None:
        super().__init__(config)
        self._draining = draining

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the service; the second of them at once."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._draining()
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that will listen: nobody can connect before the model is there.

    Raises:
        U2AError: the address is no address of this machine, or somebody listens there.
    """
    listening: socket.socket | None = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        if listening is not None:
            listening.close()
        reason = error.strerror or error
        raise U2AError(f"{host}:{port}: cannot listen there: {reason}; --host, --port") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Where it listens, as an address to open."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(service: Service, listening: socket.socket, *, drain: float, log: bool) -> bool:
    """Answer until a signal ends it.

    Args:
        drain: seconds for what is inside when the signal comes.
        log: a line a request, on standard output.

    Returns:
        Whether everything inside was answered.
    """
    # It would print parts of damaged forms, as often as somebody sends one.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    how: dict[str, Any] = {"log_level": "info" if log else "warning", "access_log": log}
    config = uvicorn.Config(
        build_app(service),
        http=Prompt,
        ws="none",
        timeout_keep_alive=HEADER_SECONDS,
        timeout_graceful_shutdown=int(drain),
        server_header=False,
        **how,
    )

    def draining() -> None:
        service.gate.draining = True

    server = Server(config, draining)
    server.run(sockets=[listening])
    return service.gate.inside == 0
