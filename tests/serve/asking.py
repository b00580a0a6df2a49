"""A service in a process of its own, and plain HTTP to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import Python


class Asked:
    """A service on loopback.

    Args:
        run: the run folder.
        options: of ``u2a serve``.
    """

    def __init__(self, run: Path, *options: object, env: Mapping[str, str] | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = ("-m", "u2a", "serve", run, "--port", self.port, "--set", "training.device=cpu", *options)
        self.process = Python(*words, env=env)
        last = time.monotonic() + 120
        while not self._listens():
            assert self.process.poll() is None, self.process.wait()
            assert time.monotonic() < last
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_ready(self) -> None:
        """Until all of its readers have begun."""
        last = time.monotonic() + 120
        while self.ask("/ready")[0] != 200:
            assert time.monotonic() < last
            time.sleep(0.05)

    def ask(
        self, path: str, body: bytes | None = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, the answer (of JSON, its value) and its headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, names)
        return answer_of(connection)

    def predict(self, document: Any, query: str = "", **headers: str) -> tuple[int, Any]:
        """What JSON is answered with."""
        body = json.dumps(document).encode()
        return self.ask(f"/predict{query}", body, content_type="application/json", **headers)[:2]

    def upload(self, parts: Mapping[str, str | bytes], query: str = "") -> tuple[int, Any]:
        """What a form is answered with; bytes go as files."""
        body, kind = form(parts)
        return self.ask(f"/predict{query}", body, content_type=kind)[:2]

    def begin(self, body: bytes, length: int, **headers: str) -> http.client.HTTPConnection:
        """A request whose body has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("POST", "/predict")
        headers = {"content_type": "application/json", "content_length": str(length), **headers}
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        return connection

    def stop(self) -> Any:
        """SIGTERM, and its end."""
        import os

        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(60)


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, Any, dict[str, str]]:
    answer = connection.getresponse()
    content, kind = answer.read(), answer.headers.get("content-type", "")
    connection.close()
    value = json.loads(content) if kind.startswith("application/json") else content
    return answer.status, value, {name.lower(): text for name, text in answer.headers.items()}


def form(parts: Mapping[str, str | bytes]) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary, body = uuid.uuid4().hex, b""
    for name, value in parts.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        head += '; filename="a b.bin"' if isinstance(value, bytes) else ""
        body += head.encode() + b"\r\n\r\n"
        body += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@contextmanager
def serving(run: Path, *options: object, env: Mapping[str, str] | None = None) -> Iterator[Asked]:
    """A service that ends with the block, in order."""
    service = Asked(run, *options, env=env)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            done = service.stop()
            assert done.returncode == 0, done
