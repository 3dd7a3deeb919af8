"""A provider with a batch API, over HTTP, that does harm on request. What it is asked to answer, a function answers."""

from __future__ import annotations

import email
import json
import random
import threading
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .replies import good_reply
from .servers import completion, good, prompt_of, reset, send

Reply = tuple[int, bytes]
Line = Callable[[dict[str, Any]], Reply]


def well(body: dict[str, Any]) -> Reply:
    """A good reply, with a character in it that many take for the end of a line."""
    reply = good_reply(f"kite {zlib.crc32(prompt_of(body).encode())}")
    reply["description"] += "\u2028The end."
    return 200, completion(json.dumps(reply, ensure_ascii=False))


def llama(address: str) -> Line:
    """Replies of a real server."""

    def answer(body: dict[str, Any]) -> Reply:
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read()

    return answer


@dataclass
class SubmittedBatch:
    """A batch at the provider. `answered`: custom id to the number of the reply that is paid for."""

    id: str
    name: str
    file: str
    requests: list[dict[str, Any]]
    fate: str
    status: str = "validating"
    files: dict[str, str] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)

    def keys(self) -> list[str]:
        return [request["custom_id"] for request in self.requests]

    def as_json(self) -> dict[str, Any]:
        counts = {"completed": len(self.answered), "failed": 0, "total": len(self.requests)}
        return {
            "id": self.id,
            "object": "batch",
            "status": self.status,
            "input_file_id": self.file,
            "metadata": {"topa": self.name},
            "request_counts": counts,
            "errors": {"data": self.errors} if self.errors else None,
            **self.files,
        }


class Provider:
    """`line`: answers one request of a batch. `fates`: of the batches in their order, "completed" where none is left;
    "expired" and "cancelled" come half-way, "crowded" and "invalid" at once. `looks`: at a batch before it ends."""

    def __init__(self, line: Line = well) -> None:
        self.line = line
        self.looks = 1
        self.fates: list[str] = []
        self.key: str | None = None
        self.lost = 0  # creations whose reply gets lost
        self.broken = 0  # downloads that break off
        self.file_refusals = 0  # creations at which the file isn't known yet
        self.closed = False  # while it is, no batch is created
        self.is_held = False  # while it is, no batch ends
        self.batches: list[SubmittedBatch] = []
        self.files: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.chats: list[dict[str, Any]] = []
        self.on_retrieve: Callable[[], None] = lambda: None
        self.moment: Callable[[str], None] = lambda _: None
        self.lock = threading.RLock()
        self._remaining: dict[str, int] = {}
        self._draws = random.Random(0)

    def requests(self) -> list[dict[str, Any]]:
        return [request for batch in self.batches for request in batch.requests]

    # What it is asked.

    def post(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        if path == "/v1/chat/completions":
            request = json.loads(body)
            self.chats.append(request)
            good(handler, request)
        elif path == "/v1/files":
            send(handler, 200, json.dumps({"id": self._upload(handler.headers["content-type"], body)}).encode())
        else:
            self._create(handler, json.loads(body))

    def _upload(self, kind: str, body: bytes) -> str:
        message = email.message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        assert parts["purpose"].get_payload(decode=True).strip() == b"batch"
        name = f"file-{uuid.uuid4().hex}"
        self.files[name] = parts["file"].get_payload(decode=True)
        return name

    def _create(self, handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        assert request["endpoint"] == "/v1/chat/completions"
        assert request["completion_window"] == "24h"
        file = request["input_file_id"]
        if self.closed:
            send(handler, 403, b"not for this project")
            return
        if self.file_refusals:
            self.file_refusals -= 1
            send(handler, 400, json.dumps({"error": {"message": f"Cannot find file {file}"}}).encode())
            return
        with self.lock:
            fate = self.fates.pop(0) if self.fates else "completed"
            requests = [json.loads(line) for line in self.files[file].splitlines()]
            batch = SubmittedBatch(f"batch-{uuid.uuid4().hex}", request["metadata"]["topa"], file, requests, fate)
            self.batches.append(batch)
            self._remaining[batch.id] = self.looks
        if self.lost:
            self.lost -= 1
            reset(handler)
            return
        self.moment("created")
        send(handler, 200, json.dumps(batch.as_json()).encode())

    def get(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]]) -> None:
        name = path.split("/")[3] if path.count("/") > 2 else ""
        if path == "/v1/batches":
            newest = [batch.as_json() for batch in reversed(self.batches)]
            start = 1 + [batch["id"] for batch in newest].index(query["after"][0]) if "after" in query else 0
            page = {"data": newest[start : start + 2], "has_more": len(newest) > start + 2}
            send(handler, 200, json.dumps(page).encode())
        elif path.startswith("/v1/batches/"):
            batch = next(batch for batch in self.batches if batch.id == name)
            self._work(batch)
            self.on_retrieve()
            send(handler, 200, json.dumps(batch.as_json()).encode())
        else:
            self.downloads.append(name)
            if self.broken:
                self.broken -= 1
                handler.send_response(200)
                handler.send_header("content-length", str(len(self.files[name])))
                handler.end_headers()
                handler.wfile.write(self.files[name][:-10])
                handler.close_connection = True
            else:
                send(handler, 200, self.files[name])

    # What it does.

    def _work(self, batch: SubmittedBatch) -> None:
        with self.lock:
            if batch.status not in ("validating", "in_progress"):
                return
            batch.status = "in_progress"
            self._remaining[batch.id] -= 1
            if self.is_held or self._remaining[batch.id] >= 0:
                return
            if batch.fate in ("crowded", "invalid"):
                code = "token_limit_exceeded" if batch.fate == "crowded" else "invalid_json_line"
                batch.status, batch.errors = "failed", [{"code": code, "message": f"it is {batch.fate}"}]
                return
            batch.status = batch.fate
            results: dict[str, list[dict[str, Any]]] = {"output_file_id": [], "error_file_id": []}
            finished = len(batch.requests) if batch.fate == "completed" else len(batch.requests) // 2
            for number, request in enumerate(batch.requests):
                line = {"id": uuid.uuid4().hex, "custom_id": request["custom_id"], "response": None, "error": None}
                if number >= finished:
                    line["error"] = {"code": f"batch_{batch.fate}", "message": "It was not asked in time."}
                    results["error_file_id"].append(line)
                    continue
                status, reply = self.line(request["body"])
                body = json.loads(reply) if status == 200 else {"error": {"message": reply.decode()}}
                if status == 200:
                    body["id"] = batch.answered[request["custom_id"]] = uuid.uuid4().hex
                line["response"] = {"status_code": status, "request_id": "r", "body": body}
                results["output_file_id" if status == 200 else "error_file_id"].append(line)
            for kind, lines in results.items():
                self._draws.shuffle(lines)
                if lines:
                    name = batch.files[kind] = f"file-{uuid.uuid4().hex}"
                    encoded = [json.dumps(line, ensure_ascii=False) for line in lines]
                    self.files[name] = "\n".join(encoded).encode()  # the last line ends without a newline


@contextmanager
def providing(provider: Provider) -> Iterator[str]:
    """The provider on a free port: its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body: bytes | None) -> None:
            parts = urlsplit(self.path)
            try:
                if provider.key is not None and self.headers["authorization"] != f"Bearer {provider.key}":
                    send(self, 401, b"wrong key")
                    return
                provider.moment(f"{self.command} {parts.path}")
                if body is None:
                    provider.get(self, parts.path, parse_qs(parts.query))
                else:
                    provider.post(self, parts.path, body)
            except OSError:
                self.close_connection = True  # the client is gone

        def do_POST(self) -> None:
            self.answer(self._body())

        def do_GET(self) -> None:
            self.answer(None)

        def _body(self) -> bytes:
            if "content-length" in self.headers:
                return self.rfile.read(int(self.headers["content-length"]))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
