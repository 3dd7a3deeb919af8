"""Every endpoint of ours over HTTP, against what the engine and the library say without it."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.library.library import Library
from topa.microworld.writer import MicroVideo
from topa.serving.settings import ServerLimits, ServerSettings

from .running import Running, running

QUESTION = "what is the color ?"
COLORS = ["red", "blue", "green"]


@pytest.fixture(scope="module")
def client(server: Running) -> Any:
    with httpx2.Client(base_url=server.url, timeout=60) as found:
        yield found


@pytest.fixture(scope="module")
def path(micro_videos: list[MicroVideo]) -> Path:
    return micro_videos[1].path


@pytest.fixture(scope="module")
def uploaded(client: httpx2.Client, path: Path) -> dict[str, Any]:
    reply = client.post("/v1/videos", files={"file": ("Käfer (1).mp4", path.read_bytes())})
    assert reply.status_code == 201
    return reply.json()


@pytest.fixture(scope="module")
def listed(client: httpx2.Client) -> list[dict[str, Any]]:
    return client.get("/v1/videos").json()["data"]


def test_an_upload(engine: Topa, client: httpx2.Client, uploaded: dict[str, Any], path: Path) -> None:
    seen = engine.encode_video(path)
    assert uploaded["id"].startswith("vid_")
    assert (uploaded["object"], uploaded["kind"]) == ("video", "upload")
    assert (uploaded["name"], uploaded["bytes"]) == ("Käfer (1).mp4", path.stat().st_size)
    assert (uploaded["width"], uploaded["height"]) == seen.images[0].size
    assert not uploaded["truncated"]
    assert [frame["captions"] for frame in uploaded["frames"]] == [list(f.captions) for f in seen.readings]
    assert [frame["time"] for frame in uploaded["frames"]] == pytest.approx(seen.times)
    assert client.get(f"/v1/videos/{uploaded['id']}").json() == uploaded


def test_equal_content_is_one_upload_under_the_name_given_last(
    client: httpx2.Client, uploaded: dict[str, Any], path: Path
) -> None:
    for name in ("b.mp4", uploaded["name"]):  # nobody learns how others call it
        again = client.post("/v1/videos", files={"file": (name, path.read_bytes())}).json()
        assert (again["id"], again["name"]) == (uploaded["id"], name)
        assert client.get(f"/v1/videos/{again['id']}").json()["name"] == name


def test_pictures(client: httpx2.Client, uploaded: dict[str, Any], listed: list[dict[str, Any]]) -> None:
    for address in (uploaded["frames"][2]["picture"], f"/v1/videos/{listed[0]['id']}/picture?at=0.5"):
        reply = client.get(address)
        assert reply.headers["content-type"] == "image/jpeg"
        assert 0 < max(Image.open(io.BytesIO(reply.content)).size) <= 320


@pytest.mark.parametrize("at", ["nan", "inf", "-1", "x", "1e10", ""])
def test_pictures_at_no_time(client: httpx2.Client, uploaded: dict[str, Any], at: str) -> None:
    reply = client.get(f"/v1/videos/{uploaded['id']}/picture?at={at}")
    assert reply.status_code == 400
    assert (reply.json()["error"]["param"], reply.json()["error"]["code"]) == ("at", "invalid_value")


def test_the_file_itself(client: httpx2.Client, uploaded: dict[str, Any], path: Path) -> None:
    whole = path.read_bytes()
    address = f"/v1/videos/{uploaded['id']}/content"
    reply = client.get(address)
    assert (reply.status_code, reply.content) == (200, whole)
    assert reply.headers["content-type"] == "video/mp4"
    assert "sandbox" in reply.headers["content-security-policy"]
    for told, expected in [
        ("bytes=0-9", whole[:10]),
        ("bytes=10-", whole[10:]),
        ("bytes=-7", whole[-7:]),
        (f"bytes=5-{10**15}", whole[5:]),
        (f"bytes=-{10**15}", whole),
    ]:
        reply = client.get(address, headers={"Range": told})
        assert (reply.status_code, reply.content) == (206, expected), told
        assert reply.headers["content-range"].endswith(f"/{len(whole)}")


@pytest.mark.parametrize(
    "told", ["bytes=x", "bytes=-", "bytes=5-2", "lines=1-2", "bytes=0-1,5-6", "", "bytes=" + "9" * 99 + "-"]
)
def test_ranges_that_are_none(client: httpx2.Client, uploaded: dict[str, Any], path: Path, told: str) -> None:
    reply = client.get(f"/v1/videos/{uploaded['id']}/content", headers={"Range": told})
    assert (reply.status_code, len(reply.content)) == (200, path.stat().st_size)


@pytest.mark.parametrize("told", ["bytes=999999999-", "bytes=-0"])
def test_ranges_behind_the_end(client: httpx2.Client, uploaded: dict[str, Any], path: Path, told: str) -> None:
    reply = client.get(f"/v1/videos/{uploaded['id']}/content", headers={"Range": told})
    assert reply.status_code == 416
    assert reply.json()["error"]["code"] == "range_not_satisfiable"
    assert reply.headers["content-range"] == f"bytes */{path.stat().st_size}"


def test_an_upload_is_removed(client: httpx2.Client, micro_videos: list[MicroVideo], server: Running) -> None:
    content = micro_videos[3].path.read_bytes()
    id = client.post("/v1/videos", files={"file": content}).json()["id"]
    assert client.delete(f"/v1/videos/{id}").json() == {"id": id, "object": "video", "deleted": True}
    for method, address in [
        ("GET", f"/v1/videos/{id}"),
        ("GET", f"/v1/videos/{id}/content"),
        ("GET", f"/v1/videos/{id}/picture"),
        ("DELETE", f"/v1/videos/{id}"),
    ]:
        reply = client.request(method, address)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "video_not_found")
    assert not [file for file in server.folder.rglob("*") if file.is_file() and file.read_bytes() == content]


def test_the_library_is_only_read(client: httpx2.Client, listed: list[dict[str, Any]]) -> None:
    reply = client.delete(f"/v1/videos/{listed[0]['id']}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "read_only")


def test_the_library_is_listed_in_pages(
    client: httpx2.Client, listed: list[dict[str, Any]], contents: Contents
) -> None:
    assert [video["name"] for video in listed] == [video.path for video in contents.videos]
    assert all(video["kind"] == "library" for video in listed)
    first = client.get("/v1/videos?limit=3").json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = client.get(f"/v1/videos?limit=3&after={first['data'][-1]['id']}").json()
    assert (len(rest["data"]), rest["has_more"]) == (len(listed) - 3, False)
    assert first["data"] + rest["data"] == listed
    assert client.get("/v1/videos?limit=0").json()["error"]["param"] == "limit"
    assert client.get("/v1/videos?after=lib_x").status_code == 404


def test_ask_with_options(client: httpx2.Client, engine: Topa, uploaded: dict[str, Any], path: Path) -> None:
    for protocol in (None, "selection", "logits"):
        expected = engine.ask(path, QUESTION, COLORS, protocol=protocol)
        body = {"video": uploaded["id"], "question": QUESTION, "choices": COLORS, "protocol": protocol}
        reply = client.post("/v1/ask", json=body).json()
        assert (reply["text"], reply["choice"]) == (expected.text, expected.choice)
        assert reply["options"] == COLORS
        assert reply["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
        assert reply["scores"] == pytest.approx(expected.scores, abs=1e-4)
        assert [e["captions"] for e in reply["evidence"]] == [list(e.captions) for e in expected.evidence]
        assert reply["times"] == pytest.approx(expected.times)
        assert reply["warnings"] == list(expected.warnings)
        assert (reply["object"], reply["model"], reply["video"]) == ("answer", "topa", uploaded["id"])


def test_ask_in_words(client: httpx2.Client, engine: Topa, uploaded: dict[str, Any], path: Path) -> None:
    reply = client.post("/v1/ask", json={"video": uploaded["id"], "question": QUESTION}).json()
    assert (reply["text"], reply["choice"], reply["options"]) == (engine.ask(path, QUESTION).text, None, [])
    assert reply["usage"]["total_tokens"] > 0


def test_caption(client: httpx2.Client, engine: Topa, uploaded: dict[str, Any], path: Path) -> None:
    reply = client.post("/v1/caption", json={"video": uploaded["id"]}).json()
    assert reply["text"] == engine.caption(path).text
    short = client.post("/v1/caption", json={"video": uploaded["id"], "max_tokens": 2}).json()
    assert short["usage"]["completion_tokens"] == 2


def test_explain(client: httpx2.Client, engine: Topa, uploaded: dict[str, Any], path: Path) -> None:
    expected = engine.explain(path, QUESTION, COLORS)
    reply = client.post("/v1/explain", json={"video": uploaded["id"], "question": QUESTION, "choices": COLORS}).json()
    assert (reply["target"], reply["text"], reply["choice"]) == ("choice", expected.text, expected.choice)
    assert [frame["support"] for frame in reply["frames"]] == pytest.approx(
        [frame.support for frame in expected.frames], abs=1e-4
    )
    assert [frame["attention"] for frame in reply["frames"]] == pytest.approx(
        [frame.attention for frame in expected.frames], abs=1e-4
    )
    assert reply["blind"] == pytest.approx(expected.blind, abs=1e-4)
    assert client.get(reply["frames"][0]["picture"]).status_code == 200
    assert client.post("/v1/explain", json={"video": uploaded["id"]}).json()["target"] == "caption"


def test_search(client: httpx2.Client, contents: Contents, listed: list[dict[str, Any]]) -> None:
    query = "a red circle"
    library = Library(Path("unused"), contents, "microworld/clip")
    expected = library.search(query, 5)
    reply = client.post("/v1/search", json={"query": query, "top": 5}).json()
    assert [(m["video"]["name"], m["start"], m["end"]) for m in reply["data"]] == [
        (m.video.path, m.start, m.end) for m in expected
    ]
    assert [m["score"] for m in reply["data"]] == pytest.approx([m.score for m in expected], abs=1e-5)
    assert client.get(reply["data"][0]["picture"]).status_code == 200
    one = client.post("/v1/search", json={"query": query, "video": listed[1]["id"]}).json()
    assert {m["video"]["id"] for m in one["data"]} == {listed[1]["id"]}


def test_ask_the_library(client: httpx2.Client, engine: Topa, contents: Contents, listed: list[dict[str, Any]]) -> None:
    library = Library(Path("unused"), contents, "microworld/clip")
    expected = library.ask(QUESTION, COLORS, model=engine, top=3)
    reply = client.post("/v1/ask", json={"question": QUESTION, "choices": COLORS, "top": 3}).json()
    assert (reply["text"], reply["video"], reply["usage"]) == (expected.text, None, None)
    assert [(p["name"], p["start"], p["share"]) for p in reply["parts"]] == [
        (p.video, p.start, pytest.approx(p.share, abs=1e-4)) for p in expected.parts
    ]
    ids = {video["name"]: video["id"] for video in listed}
    assert [p["video"] for p in reply["parts"]] == [ids[p["name"]] for p in reply["parts"]]


def test_ask_about_a_video_of_the_library(client: httpx2.Client, listed: list[dict[str, Any]]) -> None:
    reply = client.post("/v1/ask", json={"video": listed[0]["id"], "question": QUESTION, "choices": COLORS})
    assert (reply.status_code, reply.json()["video"]) == (200, listed[0]["id"])
    assert math.isclose(sum(reply.json()["probabilities"]), 1, abs_tol=1e-5)


def test_without_a_library(engine: Topa) -> None:
    with running(engine) as server:
        for path, body in [("/v1/search", {"query": "red"}), ("/v1/ask", {"question": QUESTION})]:
            reply = httpx2.post(server.url + path, json=body)
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_library")
        assert httpx2.get(f"{server.url}/v1/videos").json() == {"object": "list", "data": [], "has_more": False}


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("ask", "{}", "missing_required_parameter", "question"),
        ("ask", "", "invalid_json", None),
        ("ask", "[]", "invalid_value", None),
        ("ask", "{", "invalid_json", None),
        ("ask", "[" * 5000, "invalid_json", None),
        ("ask", '{"question": "\\ud800"}', "invalid_json", None),
        ("ask", b'{"question": "\xff"}', "invalid_json", None),
        ("ask", '{"question": " "}', "invalid_value", "question"),
        ("ask", json.dumps({"question": "x" * 4001}), "invalid_value", "question"),
        ("ask", '{"question": 1}', "invalid_value", "question"),
        ("ask", '{"question": "x", "choices": ["red"]}', "invalid_value", "choices"),
        ("ask", json.dumps({"question": "x", "choices": list("abcdefghijk")}), "invalid_value", "choices"),
        ("ask", '{"question": "x", "choices": ["red", ""]}', "invalid_value", "choices.1"),
        ("ask", '{"question": "x", "choices": ["red", "red "]}', "invalid_input", None),
        ("ask", json.dumps({"question": "x", "choices": ["a", "b" * 1001]}), "invalid_value", "choices.1"),
        ("ask", '{"question": "x", "protocol": "guess"}', "invalid_value", "protocol"),
        ("ask", '{"question": "x", "choice": ["red", "blue"]}', "unknown_parameter", "choice"),
        ("ask", '{"question": "x", "max_tokens": 0}', "invalid_value", "max_tokens"),
        ("ask", '{"question": "x", "max_tokens": %s}' % ("9" * 5000), "invalid_json", None),
        ("ask", '{"question": "x", "top": 1, "video": "lib_x"}', "invalid_value", "top"),
        ("caption", "{}", "missing_required_parameter", "video"),
        ("explain", '{"video": "lib_x", "choices": ["a", "b"]}', "video_not_found", "video"),
        ("search", '{"query": "x", "top": 101}', "invalid_value", "top"),
        ("search", '{"query": "x", "after": NaN}', "invalid_value", "after"),
        ("search", '{"query": "x", "before": 1e999}', "invalid_value", "before"),
        ("search", '{"query": "x", "video": "lib_x"}', "video_not_found", "video"),
        ("chat/completions", '{"model": "topa", "messages": [], "temperature": NaN}', "invalid_value", None),
    ],
    ids=range(27),
)
def test_wrong_bodies(client: httpx2.Client, path: str, body: Any, code: str, param: str | None) -> None:
    reply = client.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == (404 if code == "video_not_found" else 400)
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    if path != "chat/completions":
        assert error["param"] == param
    assert error["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_bodies_of_other_types(client: httpx2.Client, kind: str) -> None:
    """What a page of another site can send without being asked for."""
    reply = client.post("/v1/ask", content="{}", headers={"Content-Type": kind} if kind else {})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/v1/videos/", 404, "not_found"),
        ("GET", "/v1/videos/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/v1/videos/data:video", 404, "not_found"),
        ("GET", "/v1/videos/vid_" + "0" * 24, 404, "video_not_found"),
        ("PUT", "/v1/videos", 405, "method_not_allowed"),
        ("GET", "/v1/ask", 405, "method_not_allowed"),
    ],
)
def test_where_nothing_is(client: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.headers["x-request-id"]


def test_a_path_tells_all_its_methods(client: httpx2.Client) -> None:
    assert client.put("/v1/videos").headers["allow"] == "GET, POST"
    assert client.put("/v1/videos/vid_" + "0" * 24).headers["allow"] == "DELETE, GET"


def test_uploads_that_are_none(client: httpx2.Client) -> None:
    def told(**how: Any) -> tuple[int, str, str | None]:
        reply = client.post("/v1/videos", **how)
        return reply.status_code, reply.json()["error"]["code"], reply.json()["error"]["param"]

    assert told(files={"file": b"no video"})[:2] == (400, "unreadable_video")
    assert told(files={"file": b""})[0] == 400
    assert told(files={"video": b"x"}) == (400, "missing_required_parameter", "file")
    assert told(json={})[:2] == (415, "unsupported_media_type")
    assert told(content=b"x", headers={"Content-Type": "multipart/form-data"})[:2] == (415, "unsupported_media_type")
    assert told(content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"})[:2] == (400, "invalid_form")


def test_an_upload_that_is_too_large(engine: Topa, path: Path) -> None:
    """Told before it is sent, or while it comes; and nothing is left of it."""
    with running(engine, ServerSettings(limits=ServerLimits(upload=100_000, body=1000))) as server:
        content = path.read_bytes() + bytes(300_000)

        def slowly() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            for start in range(0, len(content), 10_000):
                yield content[start : start + 10_000]
            yield b"\r\n--b--\r\n"

        at_once = httpx2.post(f"{server.url}/v1/videos", files={"file": content})
        streamed = httpx2.post(
            f"{server.url}/v1/videos", content=slowly(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        for reply in (at_once, streamed, httpx2.post(f"{server.url}/v1/ask", json={"question": "x" * 2000})):
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
        assert not [file for file in server.folder.rglob("*") if file.is_file()]


def test_a_full_server_takes_no_upload(engine: Topa) -> None:
    """The client is told though it is still sending, and its connection goes on."""
    with (
        running(engine, ServerSettings(limits=ServerLimits(waiting=0))) as full,
        httpx2.Client(base_url=full.url) as client,
    ):
        reply = client.post("/v1/videos", files={"file": bytes(5_000_000)})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "busy")
        assert client.get("/healthz").status_code == 200
        assert not [file for file in full.folder.rglob("*") if file.is_file()]


def test_probes(client: httpx2.Client, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    monkeypatch.setattr(type(server.service), "ready", property(lambda _: False))
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_the_page(client: httpx2.Client) -> None:
    reply = client.get("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'sha256-" in reply.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


def test_pages_that_are_allowed_may_ask(engine: Topa) -> None:
    with running(engine, ServerSettings(origins=("https://good.example",))) as server:
        ask = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
        allowed = httpx2.options(
            f"{server.url}/v1/ask", headers=ask | {"Access-Control-Request-Headers": "authorization,content-type"}
        )
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://good.example"
        evil = httpx2.options(f"{server.url}/v1/ask", headers=ask | {"Origin": "https://evil.example"})
        assert evil.status_code == 400
        assert "access-control-allow-origin" not in evil.headers
        reply = httpx2.get(f"{server.url}/v1/models", headers={"Origin": "https://good.example"})
        assert reply.headers["access-control-allow-origin"] == "https://good.example"
        assert httpx2.get(f"{server.url}/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_pages_of_others_may_not(client: httpx2.Client) -> None:
    reply = client.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403


def test_errors_have_no_paths(
    client: httpx2.Client, server: Running, monkeypatch: pytest.MonkeyPatch, uploaded: dict[str, Any]
) -> None:
    """Neither those that are told nor those that aren't."""
    from topa.core.errors import ArtifactError, InputError

    def fail(error: Exception) -> None:
        async def say(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(server.service, "say", say)

    body = {"video": uploaded["id"], "question": QUESTION}
    fail(InputError("/srv/secret/videos/a.mp4: found nothing; expected a video."))
    reply = client.post("/v1/ask", json=body)
    assert (reply.status_code, reply.json()["error"]["message"][:5]) == (400, "a.mp4")
    for error in (ArtifactError("/srv/secret/model: damaged"), RuntimeError("/srv/secret"), MemoryError("/srv/secret")):
        fail(error)
        reply = client.post("/v1/ask", json=body)
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "server_error")
        assert "secret" not in reply.text
        assert reply.headers["x-request-id"] in reply.json()["error"]["message"]
