"""A server on loopback that speaks the hub's API for models: create, commit (with LFS), list and resolve."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

TOKEN = "hf_test"


class Hub:
    """Repositories as lists of commits; a commit is its files.

    Attributes:
        log: what was asked for: method and path.
        token: whose bearer may write.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}  # repository -> commit -> path -> content
        self.objects: dict[str, bytes] = {}
        self.log: list[str] = []
        self.token = TOKEN
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_address[1]}"

    def put(self, repository: str, files: Mapping[str, bytes]) -> str:
        """A commit with exactly these files; its name."""
        known = self.commits.setdefault(repository, {})
        listed = json.dumps([len(known), *((path, hashlib.sha1(c).hexdigest()) for path, c in files.items())])
        commit = hashlib.sha1(listed.encode()).hexdigest()
        known[commit] = dict(files)
        return commit

    def last(self, repository: str) -> dict[str, bytes]:
        return self.at(repository, "main")[1] if self.commits.get(repository) else {}

    def at(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]]:
        known = self.commits[repository]
        commit = list(known)[-1] if revision == "main" else revision
        return commit, known[commit]


@contextmanager
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.httpd.shutdown()
    made.httpd.server_close()


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._resolve()

        def do_GET(self) -> None:
            if self.path.startswith("/api/"):
                return self._info()
            return self._resolve()

        def do_POST(self) -> None:
            hub.log.append(f"POST {self.path}")
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else self._chunks()
            if self.path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._json({"error": "no"}, 401)
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                hub.commits.setdefault(f"{asked['organization']}/{asked['name']}", {})
                return self._json({"url": f"{hub.url}/{asked['organization']}/{asked['name']}"})
            if "/preupload/" in self.path:
                modes = [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
                return self._json({"files": modes})
            if self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    {**one, "actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}", "header": {}}}}
                    for one in json.loads(body)["objects"]
                ]
                return self._json({"transfer": "basic", "objects": objects})
            return self._commit(body)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
            hub.objects[self.path.rpartition("/")[2]] = content
            self._answer(b"")

        def _commit(self, body: bytes) -> None:
            repository = re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main.*", self.path)[1]
            files = dict(hub.last(repository))
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "deletedFile":
                    del files[value["path"]]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            commit = hub.put(repository, files)
            url = f"{hub.url}/{repository}/commit/{commit}"
            self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

        def _info(self) -> None:
            hub.log.append(f"GET {self.path}")
            path = self.path.partition("?")[0]
            found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/.*)?)?", path)
            if not found or found[1] not in hub.commits:
                return self._json({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            if not hub.commits[found[1]] and found[2] == "tree":
                return self._json([])
            try:
                commit, files = hub.at(found[1], found[3] or "main")
            except KeyError:
                return self._json({"error": "not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            if found[2] == "tree":
                oids = {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}
                return self._json(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": oids[name]}
                        for name, content in files.items()
                    ]
                )
            siblings = [{"rfilename": name} for name in files]
            return self._json({"id": found[1], "modelId": found[1], "sha": commit, "siblings": siblings})

        def _resolve(self) -> None:
            hub.log.append(f"{self.command} {self.path}")
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path.partition("?")[0])
            try:
                commit, files = hub.at(found[1], found[2])
                content = files[found[3]]
            except (KeyError, TypeError):
                return self._json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
            return self._answer(content, headers=headers)

        def _chunks(self) -> bytes:
            """A body whose length was not said."""
            whole = b""
            while self.headers.get("Transfer-Encoding") == "chunked":
                size = int(self.rfile.readline(), 16)
                whole += self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    break
            return whole

        def _json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
            said = {"Content-Type": "application/json", **(headers or {})}
            self._answer(json.dumps(value).encode(), status, said)

        def _answer(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
