"""A small model hub on this machine: the part of the Hugging Face hub's protocol that upload and download need."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

COMMIT = "0" * 40
Published = dict[str, dict[str, dict[str, bytes]]]
"""Files by repository, revision and name."""


def commit_of(revision: str) -> str:
    """The commit that a revision of a published repository is."""
    return revision if len(revision) == 40 else hashlib.sha1(revision.encode()).hexdigest()


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    repositories: set[str]
    published: Published

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self, body: object, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if length := self.headers.get("Content-Length"):
            return self.rfile.read(int(length))
        data = b""
        while size := int(self.rfile.readline(), 16):  # sent in chunks
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != "Bearer hf_good":
            return self._answer({"error": "Invalid credentials"}, 401)
        if self.path == "/api/repos/create":
            told = json.loads(body)
            name = "/".join(filter(None, (told.get("organization"), told["name"])))
            self.repositories.add(name)
            return self._answer({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        if self.path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            return self._answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
            )
        if "/commit/" in self.path:
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    self.files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            repository = self.path.removeprefix("/api/models/").split("/commit/")[0]
            url = f"http://{self.headers['Host']}/{repository}/commit/{COMMIT}"
            return self._answer({"commitUrl": url, "commitOid": COMMIT, "hookOutput": "", "success": True})
        return self._answer({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _revision(self, repository: str, name: str) -> dict[str, bytes] | None:
        """The files of a revision, by its name or its commit."""
        for revision, files in self.published[repository].items():
            if name in (revision, commit_of(revision)):
                return files
        return None

    def _get_published(self, repository: str) -> None:
        path = unquote(self.path)
        if "/resolve/" in path:
            revision, name = path.split("/resolve/")[1].split("/", 1)
            data = (self._revision(repository, revision) or {}).get(name)
            return self._send(data, commit_of(revision))
        revision = path.split("/revision/")[1].split("?")[0] if "/revision/" in path else "main"
        revision = path.split("/tree/")[1].split("?")[0].split("/")[0] if "/tree/" in path else revision
        files = self._revision(repository, revision)
        if files is None:
            return self._answer({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if "/tree/" in path:
            return self._answer([{"type": "file", "path": n, "size": len(d), "oid": "0"} for n, d in files.items()])
        names = [{"rfilename": name} for name in sorted(files)]
        return self._answer({"id": repository, "sha": commit_of(revision), "siblings": names, "private": False})

    def _send(self, data: bytes | None, commit: str) -> None:
        if data is None:
            return self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
        return None

    def do_GET(self) -> None:
        for repository in self.published:
            if self.path.startswith((f"/{repository}/", f"/api/models/{repository}")):
                return self._get_published(repository)
        if "/resolve/" in self.path:
            return self._send(self.files.get(self.path.split("/resolve/")[1].split("/", 1)[1]), COMMIT)
        if any(self.path.startswith(f"/api/models/{name}") for name in self.repositories):
            if "/tree/" in self.path:
                sizes = {name: len(data) for name, data in self.files.items()}
                return self._answer([{"type": "file", "path": n, "size": s, "oid": "0"} for n, s in sizes.items()])
            files = [{"rfilename": name} for name in sorted(self.files)]
            return self._answer({"id": "x/y", "sha": COMMIT, "siblings": files, "private": False})
        return self._answer({"error": "Repository not found"}, 404)


@contextmanager
def hub(published: Published | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its address, and the files that were uploaded. published: what is there from the beginning."""
    files: dict[str, bytes] = {}
    handler = type("Hub", (_Hub,), {"files": files, "repositories": set(), "published": published or {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", files
    finally:
        server.shutdown()
        server.server_close()
