"""Real servers: llama.cpp on a tiny random model, and a proxy in front of any server that does harm on request."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from .replies import good_reply


def write_gguf(path: Path) -> Path:
    """A random Llama of two thousand weights a layer, whose tokens are the printable ASCII characters."""
    import gguf

    width, layers, inner = 32, 1, 64
    tokens = ["<unk>", "<s>", "</s>", "\n", *(chr(code) for code in range(32, 127))]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(32768)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.replace(" ", "\u2581").encode() for token in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    draws = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        weights = draws.standard_normal(shape) * 0.3 if len(shape) == 2 else np.ones(shape)
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    add("token_embd", len(tokens), width)
    add("output", len(tokens), width)
    add("output_norm", width)
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}", width)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}", width, width)
        add(f"blk.{layer}.ffn_gate", inner, width)
        add(f"blk.{layer}.ffn_up", inner, width)
        add(f"blk.{layer}.ffn_down", width, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def llama_server(model: Path, slots: int = 2) -> Iterator[str]:
    """The address of llama.cpp's own server, in this process. It ends when it is no longer referenced, and says so on
    stderr: here, and not in the middle of a later test that reads it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 32768 * slots  # it is divided among the slots
    params.n_parallel = slots
    params.port = 0
    params.cpuparams.n_threads = 1
    params.n_gpu_layers = 0
    params.warmup = False
    server = xllamacpp.Server(params)
    try:
        yield server.listening_address
    finally:
        del server
        gc.collect()


def completion(text: str | None, *, finish: str = "stop", refusal: str | None = None) -> bytes:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        }
    ).encode()


@dataclass
class RequestLog:
    """What a server saw: requests in their order, and the prompts whose replies were handed over whole."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection the hard way."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def prompt_of(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"])


def is_probe(request: dict[str, Any]) -> bool:
    return "ready" in prompt_of(request)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, RequestLog]]:
    """An HTTP server on a free port that answers posts by a function: its base URL, and what it saw."""
    log = RequestLog()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with log.lock:
                log.requests.append(request)
            try:
                answer(self, request)
            except OSError:
                self.close_connection = True  # the client is gone
                return
            with log.lock:
                log.served.append(prompt_of(request))

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
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", log
    finally:
        server.shutdown()
        server.server_close()


def good(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
    """A writer that does what it is asked."""
    body = {"ready": True} if is_probe(request) else good_reply(f"kite {zlib.crc32(prompt_of(request).encode())}")
    send(handler, 200, completion(json.dumps(body)))


def of_kinds(*kinds: str, options: int = 5) -> Answer:
    """A writer whose questions are of these kinds, whatever it is asked."""

    def answer(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        about = f"hall {zlib.crc32(prompt_of(request).encode())}"
        body = {"ready": True} if is_probe(request) else good_reply(about, kinds, options)
        send(handler, 200, completion(json.dumps(body)))

    return answer


def forward(upstream: str) -> Answer:
    """Pass requests on to a real server."""
    parts = urlsplit(upstream)

    def answer(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        link = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        link.request("POST", handler.path, json.dumps(request), {"content-type": "application/json"})
        reply = link.getresponse()
        send(handler, reply.status, reply.read())
        link.close()

    return answer


def faults(plan: list[Answer], behind: Answer = good) -> Answer:
    """Do harm in the order of a plan to requests that aren't probes, then answer as the server behind does."""
    lock = threading.Lock()
    remaining = list(plan)

    def answer(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        with lock:
            harm = remaining.pop(0) if remaining and not is_probe(request) else behind
        harm(handler, request)

    return answer
