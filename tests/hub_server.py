"""A small Hugging Face Hub on this machine: what `huggingface_hub` asks for, and no more."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_the_test"
REVISION = "main"


class Hub(ThreadingHTTPServer):
    """Repositories in memory: `files[repository][name]` are bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.daemon_threads = True

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repository: str) -> str:
        """The name of the only commit of a repository, which changes with its files."""
        digests = [hashlib.sha1(data).hexdigest() for data in self.files[repository].values()]
        return hashlib.sha1("".join(digests).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Hub

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "Invalid username or password.")
        elif self.path == "/api/repos/create":
            content = json.loads(body)
            name = f"{content['organization']}/{content['name']}"
            self.server.files.setdefault(name, {})
            self._answer({"url": f"{self.server.address}/{name}"})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [file["path"] for file in json.loads(body)["files"]]
            manner = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self._answer({"files": [{"path": path, **manner} for path in files]})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    data = base64.b64decode(line["value"]["content"])
                    self.server.files[match[1]][line["value"]["path"]] = data
            commit = self.server.commit(match[1])
            url = f"{self.server.address}/{match[1]}/commit/{commit}"
            self._answer({"commitUrl": url, "commitOid": commit, "hookOutput": ""})
        else:
            self._refuse(404, f"not needed so far: {self.path}")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _get(self) -> None:
        path = self.path.partition("?")[0]
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = info or file
        if not match or match[1] not in self.server.files:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        files, commit = self.server.files[match[1]], self.server.commit(match[1])
        revision = info[3] if info else match[2]
        if revision not in (None, REVISION, commit):
            return self._refuse(404, "Invalid rev id", "RevisionNotFound")
        if file:
            return self._send_file(files, file[3], commit)
        if match[2] == "tree":
            return self._answer([entry(name, data) for name, data in files.items()])
        names = [{"rfilename": name} for name in files]
        return self._answer({"id": match[1], "sha": commit, "siblings": names})

    def _send_file(self, files: dict[str, bytes], name: str, commit: str) -> None:
        if name not in files:
            return self._refuse(404, "Entry not found", "EntryNotFound")
        data = files[name]
        etag = hashlib.sha1(data).hexdigest()
        return self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def _answer(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code: int, sentence: str, name: str = "") -> None:
        headers = {"X-Error-Message": sentence, **({"X-Error-Code": name} if name else {})}
        self._send(code, json.dumps({"error": sentence}).encode(), headers)

    def _send(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def entry(name: str, data: bytes) -> dict[str, object]:
    """A file in a listing."""
    blob = hashlib.sha1(data).hexdigest()
    return {"type": "file", "path": name, "size": len(data), "oid": blob}


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub that listens until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(10)
