"""Videos by address: what a server may reach and a stranger may not stays out of reach."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.serving import addresses, fetching
from topa.serving.addresses import is_public
from topa.serving.errors import RequestError
from topa.serving.fetching import fetch, name_of
from topa.serving.settings import ServerLimits, ServerSettings

VIDEO = bytes(range(256)) * 1000
LIMITS = ServerLimits(upload=len(VIDEO))
OPEN = ServerSettings(urls=True, private=True, limits=LIMITS)
PUBLIC = ServerSettings(urls=True, limits=LIMITS)


@dataclass
class Web:
    """A real server on 127.0.0.1 and, at the same port, on 127.0.0.2. came: connections, by the address that they came
    to. asked: paths, and the headers of the last request."""

    port: int = 0
    came: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def at(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            web.came.append(self.request.getsockname()[0])
            super().setup()

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Length": str(len(body)), "Connection": "close", **headers}.items():
                if value:
                    self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.headers.update(self.headers)
            try:
                self.respond(self.path.partition("?")[0])
            except OSError:  # the other side has heard enough
                self.close_connection = True

        def respond(self, path: str) -> None:
            if path == "/video.mp4":
                self.answer(body=VIDEO)
            elif path == "/to":  # /to?ADDRESS
                self.answer(302, Location=self.path.partition("?")[2])
            elif path.startswith("/hops/"):
                left = int(path[len("/hops/") :])
                self.answer(307, Location=f"/hops/{left - 1}" if left else "/video.mp4")
            elif path == "/claims":
                self.answer(Content_Length=str(len(VIDEO) + 1))
            elif path == "/endless":
                self.answer(Content_Length="")
                while True:
                    self.wfile.write(VIDEO)
            elif path == "/drips":
                self.answer(Content_Length="1000")
                while not web.stopped.wait(0.02):
                    self.wfile.write(b"x")
                    self.wfile.flush()
            elif path == "/silent":
                web.stopped.wait(60)
            elif path == "/cut":
                self.answer(body=VIDEO[:-5], Content_Length=str(len(VIDEO)))
            elif path == "/zipped":
                self.answer(body=VIDEO, Content_Encoding="gzip")
            elif path == "/garbage":
                self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
                self.close_connection = True
            elif path == "/vast":
                self.answer(Content_Length="9" * 5000)
            elif path == "/headers":
                self.answer(body=VIDEO, X="x" * 10_000_000)
            else:
                self.answer(404)

    return Handler


@pytest.fixture
def web(monkeypatch) -> Iterator[Web]:
    made = Web()
    kind = handler(made)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind)]
    made.port = servers[0].server_port
    servers.append(ThreadingHTTPServer(("127.0.0.2", made.port), kind))
    # Its port is as good as 80, so that only addresses are in the way.
    monkeypatch.setattr(fetching, "_PORTS", (80, 443, made.port))
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.stopped.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def got(reference: str, settings: ServerSettings = OPEN) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in fetch(reference, settings)])

    return asyncio.run(run())


def refused(reference: str, settings: ServerSettings) -> tuple[int, str]:
    with pytest.raises(RequestError) as error:
        got(reference, settings)
    assert error.value.param == "video"
    assert len(str(error.value)) < 300
    return error.value.status, error.value.code


def resolve_to(monkeypatch, *answers: list[str]) -> list[str]:
    """Have names resolve to the answers, one after the other; the last one stays. Gives the names asked for."""
    asked: list[str] = []

    def resolver(host, port, *_, **__):
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return asked


# --- data URIs


@pytest.mark.parametrize("head", ["data:video/mp4;base64,", "DATA:Video/WebM;codecs=vp9;BASE64,"])
def test_data_uris(head) -> None:
    for size in (0, 1, 2, 3, 65_535, 65_536, 200_000):
        assert got(head + base64.b64encode(VIDEO[:size]).decode(), ServerSettings(limits=LIMITS)) == VIDEO[:size]


def test_a_data_uri_comes_in_chunks() -> None:
    async def run() -> list[int]:
        data = "data:application/octet-stream;base64," + base64.b64encode(VIDEO).decode()
        return [len(chunk) async for chunk in fetch(data, PUBLIC)]

    assert max(asyncio.run(run())) <= 65_536


@pytest.mark.parametrize(
    "reference",
    [
        "data:",
        "data:,",
        "data:;base64,AAAA",
        "data:text/html;base64,AAAA",
        "data:image/png;base64,AAAA",
        "data:video/mp4,AAAA",
        "data:video/mp4;base64",
        "data:video/mp4;base64;x=y,AAAA",
        "data:video/mp4;base64,AAA",
        "data:video/mp4;base64,AA\nAA",
        "data:video/mp4;base64,AA-_",
        "data:video/mp4;base64,QQ==QQ==",
        "data:video/mp4;base64,ÄÄÄÄ",
        "data:video/mp4;base64," + "A" * 65_532 + "QQ==" + "A" * 65_536,
        "data:video/mp4;base64," + "A" * 65_533 + "\udcff" * 4,
    ],
)
def test_broken_data_uris(reference) -> None:
    assert refused(reference, PUBLIC) == (400, "bad_video_url")


def test_a_data_uri_that_is_too_large() -> None:
    fits = base64.b64encode(VIDEO).decode()
    assert got("data:video/mp4;base64," + fits, PUBLIC) == VIDEO
    for size in (1, 2, 3, 4):
        more = base64.b64encode(VIDEO + b"x" * size).decode()
        assert refused("data:video/mp4;base64," + more, PUBLIC) == (413, "too_large")


# --- other references


@pytest.mark.parametrize(
    "reference",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "/etc/passwd",
        "../x.mp4",
        "ftp://127.0.0.1/x.mp4",
        "gopher://127.0.0.1:80/_GET",
        "concat:/etc/passwd|/etc/hosts",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "rtsp://127.0.0.1/x",
        "httpx://127.0.0.1/",
        "javascript:alert(1)",
        "",
        ":",
        "http",
        " http://127.0.0.1/",
        "\0",
    ],
)
def test_other_kinds_of_addresses(reference) -> None:
    assert refused(reference, OPEN) == (400, "bad_video_url")


def test_nothing_is_fetched_unless_allowed(web) -> None:
    assert refused(web.at("/video.mp4"), ServerSettings(private=True)) == (403, "urls_not_allowed")
    assert not web.came


# --- addresses that only the server reaches

HOSTS = [
    "127.0.0.1",
    "127.0.0.2",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
]


@pytest.mark.parametrize("host", HOSTS)
def test_addresses_that_are_not_public(web, host) -> None:
    found = refused(web.at("/video.mp4", host), PUBLIC)
    if found == (400, "video_url_failed"):  # a system without IPv6, or without such forms, knows no such name
        with pytest.raises(OSError):
            socket.getaddrinfo(host.strip("[]"), web.port, type=socket.SOCK_STREAM)
    else:
        assert found == (403, "address_not_allowed")
    assert not web.came


@pytest.mark.parametrize("host", HOSTS)
def test_redirects_to_addresses_that_are_not_public(web, host, monkeypatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2" or is_public(address))
    if host != "127.0.0.2":
        assert refused(web.at("/to?" + web.at("/video.mp4", host), "127.0.0.2"), PUBLIC)[1] in (
            "address_not_allowed",
            "video_url_failed",
        )
    assert set(web.came) <= {"127.0.0.2"}
    assert "/video.mp4" not in web.asked


@pytest.mark.parametrize(
    "reference",
    [
        "http://video.example@127.0.0.1:{port}/video.mp4",
        "http://video.example:pass@127.0.0.1:{port}/video.mp4",
        "http://127.0.0.1:{port}\\@video.example/video.mp4",
        "http://@127.0.0.1:{port}/video.mp4",
        "http:///video.mp4",
        "http://",
        "http:127.0.0.1:{port}/video.mp4",
        "http://127.0.0.1:{port}x/video.mp4",
        "http://127.0.0.1:99999/video.mp4",
        "http://127.0.0.1:-1/video.mp4",
        "http://[::1/video.mp4",
        "http://127.0.0.1:{port}/video.mp4\r\nX-Injected: 1",
        "http://127.0.0.1:{port}/a b",
        "http://127.0.0.1:{port}/\t",
        "http://１２７.0.0.1:{port}/video.mp4",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/video.mp4",
        "http://127。0。0。1:{port}/video.mp4",
        "http://127.0.0.1:{port}/" + "a" * 5000,
    ],
)
def test_addresses_that_two_readers_may_read_differently(web, reference) -> None:
    assert refused(reference.format(port=web.port), OPEN) == (400, "bad_video_url")
    assert not web.came


@pytest.mark.parametrize("port", [22, 25, 6379, 8000])
def test_ports_of_other_services(port) -> None:
    assert refused(f"http://93.184.215.14:{port}/", PUBLIC) == (403, "address_not_allowed")


def test_a_name_that_resolves_to_this_machine(web, monkeypatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    assert refused(web.at("/video.mp4", "video.example"), PUBLIC) == (403, "address_not_allowed")
    assert not web.came


def test_a_name_with_one_private_address_among_public_ones(web, monkeypatch) -> None:
    resolve_to(monkeypatch, ["93.184.215.14", "8.8.8.8", "127.0.0.1"])
    assert refused(web.at("/video.mp4", "video.example"), PUBLIC) == (403, "address_not_allowed")
    assert not web.came


def test_a_name_that_changes_its_address_is_asked_for_once(web, monkeypatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    asked = resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    assert got(web.at("/video.mp4", "video.example"), PUBLIC) == VIDEO
    assert (asked, web.came) == (["video.example"], ["127.0.0.2"])
    assert web.headers["Host"] == f"video.example:{web.port}"


def test_a_name_that_changes_its_address_between_redirects(web, monkeypatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    assert refused(web.at("/hops/0", "video.example"), PUBLIC) == (403, "address_not_allowed")
    assert web.came == ["127.0.0.2"]


def test_an_address_that_does_not_answer_is_not_the_last(web, monkeypatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    assert got(web.at("/video.mp4", "video.example")) == VIDEO


def test_names_that_nobody_knows(monkeypatch) -> None:
    assert refused("http://nowhere.invalid/", PUBLIC) == (400, "video_url_failed")
    assert refused(f"http://{'a' * 70}.example/", PUBLIC) == (400, "video_url_failed")
    resolve_to(monkeypatch, [])
    assert refused("http://empty.example/", PUBLIC) == (400, "video_url_failed")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_public_addresses(address) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address", ["fec0::1", "ff0e::1", "224.0.0.1", "192.0.0.9", "192.88.99.1", "2001::1", "3fff::1"]
)
def test_special_addresses(address) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_not_public(inner) -> None:
    number = int(inner)
    for base in ("::ffff:0:0", "::", "64:ff9b::"):
        assert not is_public(str(IPv6Address(int(IPv6Address(base)) | number)))
    assert not is_public(str(IPv6Address((0x2002 << 112) | (number << 80))))


@given(st.ip_addresses())
def test_no_address_of_this_machine_or_its_network_is_public(address) -> None:
    if is_public(str(address)):
        assert address.is_global
        kinds = ("private", "loopback", "link_local", "multicast", "reserved", "unspecified")
        assert not any(getattr(address, f"is_{kind}") for kind in kinds)


# --- what a server sends


def test_a_video_from_an_address(web) -> None:
    assert got(web.at("/video.mp4?token=a&b=%20#part")) == VIDEO
    assert web.asked == ["/video.mp4?token=a&b=%20"]
    assert web.headers["Accept-Encoding"] == "identity"
    assert set(web.headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


def test_three_redirects_and_no_more(web) -> None:
    assert got(web.at("/hops/2")) == VIDEO
    assert refused(web.at("/hops/3"), OPEN) == (400, "video_url_failed")
    assert web.asked.count("/video.mp4") == 1


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:video/mp4;base64,AAAA",
        "http://a@127.0.0.1/",
        "http://[::1",
    ],
)
def test_redirects_to_what_is_no_address(web, target) -> None:
    assert refused(web.at(f"/to?{target}"), OPEN)[0] == 400
    assert len(web.asked) == 1


@pytest.mark.parametrize("path", ["/missing", "/cut", "/zipped", "/garbage", "/headers"])
def test_answers_that_are_no_video(web, path) -> None:
    assert refused(web.at(path), OPEN) == (400, "video_url_failed")


@pytest.mark.parametrize("path", ["/claims", "/endless"])
def test_too_large_is_refused_while_it_comes(web, path) -> None:
    assert refused(web.at(path), OPEN) == (413, "too_large")


def test_a_length_of_five_thousand_digits(web) -> None:
    assert refused(web.at("/vast"), OPEN)[1] in ("too_large", "video_url_failed")


@pytest.mark.parametrize("path", ["/drips", "/silent"])
def test_all_of_it_has_a_time(web, path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "_SECONDS", 0.3)
    assert refused(web.at(path), OPEN) == (400, "video_url_failed")


def test_a_silent_name_server_has_a_time(monkeypatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) or [])
    monkeypatch.setattr(fetching, "_TIMEOUTS", {"connect": 0.1})
    assert refused("http://video.example/", OPEN) == (400, "video_url_failed")
    answered.set()


def test_time_that_the_taker_spends_does_not_strike_the_taker(web, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "_SECONDS", 0.1)

    async def run() -> str:
        waited = asyncio.Event()
        async for _ in fetch(web.at("/endless"), ServerSettings(urls=True, private=True)):
            asyncio.get_running_loop().call_later(0.3, waited.set)
            try:
                await waited.wait()
            except asyncio.CancelledError:
                return "struck"
        return "came to an end"

    with pytest.raises(RequestError, match="found no end of it after"):
        asyncio.run(run())


def test_no_proxies_of_the_environment(web, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, web.at("", "127.0.0.2"))
    assert got(web.at("/video.mp4")) == VIDEO
    assert web.came == ["127.0.0.1"]


def test_https_is_verified_by_name_though_the_address_is_connected_to(tmp_path, monkeypatch) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(web))
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    named: list[str | None] = []
    own.sni_callback = lambda _, name, __: named.append(name)
    server.socket = own.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    resolve_to(monkeypatch, ["127.0.0.1"])
    at = f":{server.server_port}/video.mp4"
    assert refused(f"https://localhost{at}", OPEN) == (400, "video_url_failed")
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    monkeypatch.setattr(fetching, "_tls", lambda: trusting)
    assert got(f"https://localhost{at}") == VIDEO
    assert refused(f"https://video.example{at}", OPEN) == (400, "video_url_failed")
    assert named == ["localhost", "localhost", "video.example"]
    assert web.asked == ["/video.mp4"]
    server.shutdown()
    server.server_close()


# --- names


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("https://host/a/My%20clip.mp4?token=secret#x", "My clip.mp4"),
        ("http://user:pass@host", "video"),
        ("http://host/..%2f..%2fetc%2fpasswd", "passwd"),
        ("data:video/mp4;base64,AAAA/secret.mp4", "video"),
        ("http://[::1/x.mp4", "video"),
        ("vid_0", "video"),
    ],
)
def test_names(reference, name) -> None:
    assert name_of(reference) == name


def test_a_video_in_a_reference_is_kept_by_no_cache() -> None:
    from urllib.parse import urlsplit

    before = urlsplit.cache_info().currsize
    for number in range(5):
        name_of(f"data:video/mp4;base64,{number}AAA")
        got(f"data:video/mp4;base64,{number}AAA", PUBLIC)
    assert urlsplit.cache_info().currsize == before
