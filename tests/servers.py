"""Servers on loopback for tests: a web server with range requests that can be told to die, and return."""

from __future__ import annotations

import http.server
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class WebServer:
    """Serves a folder; counts requests and bytes; `stop` and `start` keep the port."""

    def __init__(self, folder: Path, *, ranges: bool = True) -> None:
        self.folder, self.ranges, self.port = folder, ranges, 0
        self.log: list[tuple[str, str | None]] = []
        self.sent_by_name: Counter[str] = Counter()
        self.fail_next = 0  # answers with 503
        self.cut_next = 0  # closes the connection in the middle
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.port = self.httpd.server_address[1]
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, body: bool) -> None:
                asked = self.headers.get("Range")
                server.log.append((self.path, asked))
                path = server.folder / self.path.split("?")[0].lstrip("/")
                if server.fail_next > 0:
                    server.fail_next -= 1
                    return self.send_error(503)
                if not path.is_file():
                    return self.send_error(404)
                data, status = path.read_bytes(), 200
                total = len(data)
                if asked and server.ranges:
                    first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
                    stop = int(last) + 1 if last else total
                    data, status = data[int(first) : stop], 206
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Accept-Ranges", "bytes" if server.ranges else "none")
                if status == 206:
                    self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{total}")
                self.end_headers()
                if not body:
                    return None
                if server.cut_next > 0:
                    server.cut_next -= 1
                    data = data[: len(data) // 2]
                    self.close_connection = True
                server.sent_by_name[path.name] += len(data)
                self.wfile.write(data)
                return None

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def object_store(bucket: str) -> Iterator[Any]:
    """moto's S3 server with an empty bucket, where s3fs looks for it; gives boto3's client."""
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=bucket)
        s3fs.S3FileSystem.clear_instance_cache()  # which know the server of another test
        yield client
    server.stop()
