"""A small model hub on this machine: the part of the Hugging Face hub's protocol that upload and download need."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0" * 40


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    repositories: set[str]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self, body: object, code: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
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

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            data = self.files.get(self.path.split("/resolve/")[1].split("/", 1)[1])
            if data is None:
                return self._answer({"error": "Entry not found"}, 404)
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)
            return None
        if any(self.path.startswith(f"/api/models/{name}") for name in self.repositories):
            if "/tree/" in self.path:
                sizes = {name: len(data) for name, data in self.files.items()}
                return self._answer([{"type": "file", "path": n, "size": s, "oid": "0"} for n, s in sizes.items()])
            files = [{"rfilename": name} for name in sorted(self.files)]
            return self._answer({"id": "x/y", "sha": COMMIT, "siblings": files, "private": False})
        return self._answer({"error": "Repository not found"}, 404)


@contextmanager
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its address, and the files that were uploaded."""
    files: dict[str, bytes] = {}
    handler = type("Hub", (_Hub,), {"files": files, "repositories": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", files
    finally:
        server.shutdown()
        server.server_close()
