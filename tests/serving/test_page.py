"""The page in a real browser, on the real application."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evals.webpages import Page, worst_contrast
from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.library.index import Wanted
from topa.library.library import contents_of, make
from topa.microworld.writer import MicroVideo
from topa.serving.page import page as document
from topa.serving.settings import ServerSettings

from .running import running

QUESTION, OPTIONS = "what colour is the toy at the end ?", ("red", "green", "blue")
HOSTILE = '"><img src=x onerror=alert(1)>.mp4'
PATIENCE = 30  # seconds
LONG = "averyveryverylongwordwithoutanyspaceinit" * 4


@pytest.fixture(scope="module")
def contents(micro_videos: list[MicroVideo], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """A library of real files, one of which has a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "videos").mkdir()
    for number, video in enumerate(micro_videos[:3]):
        name = HOSTILE if number == 2 else video.path.name
        (folder / "videos" / name).write_bytes(video.path.read_bytes())
    make([str(folder / "videos")], folder / "library", Wanted(encoder="microworld/clip"), show=False)
    return contents_of(folder / "library")


@pytest.fixture(scope="module")
def site(engine: Topa, contents: Contents) -> Iterator[str]:
    with running(engine, ServerSettings(name="micro"), contents) as server:
        yield server.url


@pytest.fixture(scope="module")
def mp4(micro_videos: list[MicroVideo]) -> Path:
    """One that the library doesn't have."""
    return micro_videos[3].path


class Visit:
    """A page that is open, and what it did that it should not do."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 860}, **options})
        self.trouble: list[str] = []
        self.refused: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.trouble.append("a dialog opened"), dialog.dismiss()))
        self.page.on("request", self._asked)
        self.page.goto(address)
        self.until("document.title !== 'topa' || !document.getElementById('token').hidden")

    def _heard(self, message: Any) -> None:
        """The browser itself tells of every response that isn't good."""
        (self.refused if message.text.startswith("Failed to load resource") else self.trouble).append(message.text)

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.address:
            self.elsewhere.append(request.url)

    def upload(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose a file").click()
        chooser.value.set_files(path)
        self.page.wait_for_selector("#frames button")

    def ask(self, question: str, *options: str) -> None:
        self.page.get_by_label("Question").fill(question)
        for number, option in enumerate(options, 1):
            self.page.get_by_label(f"Option {number}", exact=True).fill(option)
        self.page.get_by_role("button", name="Ask", exact=True).click()

    def answered(self) -> str:
        self.page.wait_for_selector("#answer:not([aria-busy]) #text:not(:empty)")
        return self.page.inner_text("#text")

    def until(self, script: str, value: Any = None) -> None:
        """Wait until it is true. Playwright's own way to do so is one that the page's policy forbids."""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(script, value):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(20)

    def at(self, seconds: float) -> None:
        """Wait until the player stands there."""
        self.until("at => Math.abs(document.querySelector('video').currentTime - at) < 0.01", seconds)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Opens pages; at the end, none of them has complained or gone elsewhere."""
    visits: list[Visit] = []

    def open_page(address: str, **options: Any) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield open_page
    for each in visits:
        assert (each.trouble, each.elsewhere) == ([], [])
        each.page.close()


def loaded(visit: Visit, where: str) -> int:
    """Waits for the pictures there; returns their number."""
    visit.until(
        "where => [...document.querySelectorAll(where)].every(image => image.complete && image.naturalWidth)", where
    )
    return visit.page.locator(where).count()


# The document


def test_it_is_one_document_that_names_what_it_uses():
    html, policy = document()
    seen = Page(re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL))
    assert len(seen.ids) == len(set(seen.ids))
    script = files("topa.serving").joinpath("page.js").read_text("utf-8")
    used = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert used <= set(seen.ids)
    assert "innerHTML" not in script
    outside = [value for _, attributes in seen.tags for key, value in attributes.items() if key in ("src", "href")]
    assert [value for value in outside if not value.startswith("data:")] == []
    assert "unsafe" not in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read_in_every_state(visit, site, mp4, width, scheme):
    v = visit(site, viewport={"width": width, "height": 844}, color_scheme=scheme)

    def looks_well() -> None:
        assert v.page.evaluate("document.documentElement.scrollWidth") == width
        ratio, where = worst_contrast(v.page)
        assert ratio >= 4.5, where

    v.page.get_by_role("button", name="Ask", exact=True).click()
    v.page.wait_for_selector("#ask-error:not(:empty)")
    looks_well()
    paper = v.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper[4:].split(",")[0]) > 128) == (scheme == "light")
    v.upload(mp4)
    v.ask(LONG, LONG, *OPTIONS)
    v.answered()
    v.page.get_by_role("button", name="Why?").click()
    v.page.wait_for_selector("#support-bar:visible")
    v.page.get_by_role("button", name="Weights").click()
    v.page.get_by_label("Search the library").fill(LONG)
    v.page.get_by_role("button", name="Search").click()
    v.page.wait_for_selector("#moments button")
    looks_well()


# A video


def test_an_uploaded_video_shows_what_each_frame_was_read_as(visit, site, engine, mp4):
    v = visit(site)
    v.upload(mp4)
    read = engine.encode_video(mp4).readings
    assert loaded(v, "#frames img") == len(read)
    assert v.page.locator("#frames time").all_inner_texts() == [f"{frame.time:.1f} s" for frame in read]
    assert v.page.locator("#rows ul li:first-child:visible").all_inner_texts() == [frame.captions[0] for frame in read]
    assert v.page.locator("#rows b:visible").count() == 0
    v.page.get_by_role("button", name="Weights").click()
    shown = v.page.locator("#rows > li").first.locator("ul li").all_inner_texts()
    assert shown == [
        f"{100 * weight:.0f} % {caption}" for caption, weight in zip(read[0].captions, read[0].weights, strict=True)
    ]
    v.until("document.querySelector('video').readyState >= 2")
    assert v.page.evaluate("document.querySelector('video').duration") == pytest.approx(5, abs=0.2)
    assert v.page.title() == f"{mp4.name} · micro"


def drop(v: Visit, name: str, data: bytes) -> None:
    transfer = v.page.evaluate_handle(
        """([name, data]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    v.page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def test_a_video_is_dropped_and_another_over_it(visit, site, mp4, micro_videos):
    v = visit(site)
    drop(v, "first.mp4", mp4.read_bytes())
    v.page.wait_for_selector("#name:text-is('first.mp4')")
    v.page.wait_for_selector("#frames button")
    drop(v, "second.mp4", micro_videos[0].path.read_bytes())
    v.page.wait_for_selector("#name:text-is('second.mp4')")
    assert loaded(v, "#frames img") == 5


def test_an_upload_says_how_far_it_is_and_can_be_cancelled(visit, site, mp4):
    v = visit(site)
    held: list[Any] = []
    v.page.route("**/v1/videos", lambda route: held.append(route))
    with v.page.expect_event("requestfailed", lambda request: request.method == "POST"):
        v.page.set_input_files("#file", mp4)
        v.page.wait_for_selector(f"#loading-text:has-text('{mp4.name}')")
        assert v.page.locator("#loading-bar:visible").count() == 1
        v.page.get_by_role("button", name="Cancel").click()
    assert [v.page.locator("#loading:visible").count(), v.page.inner_text("#stage-error")] == [0, ""]
    held[0].abort()
    v.page.unroute("**/v1/videos")
    v.upload(mp4)


def test_a_file_that_is_no_video_is_told_and_the_page_goes_on(visit, site, mp4, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    v = visit(site)
    v.page.set_input_files("#file", text)
    v.page.wait_for_selector("#stage-error:not(:empty)")
    message = v.page.inner_text("#stage-error")
    assert v.page.get_attribute("#stage-error", "role") == "alert"
    assert "notes.mp4" in message
    assert str(tmp_path) not in message
    assert v.page.locator("#loading:visible").count() == 0
    v.upload(mp4)
    assert v.page.inner_text("#stage-error") == ""


def test_hostile_names_and_captions_stay_text(visit, site, mp4):
    v = visit(site)

    def soil(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        for frame in body["frames"]:
            frame["captions"] = [HOSTILE] * len(frame["captions"])
        route.fulfill(response=response, body=json.dumps(body))

    v.page.route("**/v1/videos", lambda route: soil(route) if route.request.method == "POST" else route.continue_())
    v.page.wait_for_selector("#videos button")
    assert HOSTILE in v.page.inner_text("#videos")
    v.page.set_input_files("#file", {"name": HOSTILE, "mimeType": "video/mp4", "buffer": mp4.read_bytes()})
    v.page.wait_for_selector("#frames button")
    assert v.page.inner_text("#name") == HOSTILE
    assert v.page.inner_text("#rows li ul li") == HOSTILE
    v.ask(HOSTILE, HOSTILE, "red")
    v.answered()
    assert v.page.inner_text("#asked") == HOSTILE
    assert v.page.locator("#bars span").first.inner_text() == HOSTILE
    assert v.page.locator("[onerror]").count() == 0


# Answers


def test_a_free_answer_streams_in_and_is_announced_once(visit, site, engine, mp4):
    v = visit(site)
    v.upload(mp4)
    v.page.evaluate(
        """() => {
            window.shown = [];
            window.said = [];
            const watch = (id, into) => new MutationObserver(() => into.push(document.getElementById(id).textContent))
                .observe(document.getElementById(id), { childList: true, characterData: true, subtree: true });
            watch("text", window.shown);
            watch("said", window.said);
        }"""
    )
    v.page.get_by_role("button", name="Describe the video").click()
    text = v.answered()
    assert text == engine.caption(mp4).text
    v.until("window.said.at(-1)?.startsWith('Answer: ')")
    shown = [step for step in v.page.evaluate("window.shown") if step]
    assert len(set(shown)) > 2
    assert all(late.startswith(early) for early, late in pairwise(shown))
    assert {step for step in v.page.evaluate("window.said") if step} == {f"Answer: {text}"}
    v.ask("what does the toy do ?")
    v.page.wait_for_selector("#asked:text-is('what does the toy do ?')")
    assert v.answered() == engine.ask(mp4, "what does the toy do ?").text


def test_options_have_bars_that_sum_to_the_whole(visit, site, engine, mp4):
    v = visit(site)
    v.upload(mp4)
    v.ask(QUESTION, *OPTIONS)
    answer = engine.ask(mp4, QUESTION, OPTIONS)
    assert v.answered() == answer.text
    assert v.page.locator("#bars span").all_inner_texts() == list(OPTIONS)
    assert v.page.inner_text("#bars .chosen span") == answer.text
    shares = [int(text.removesuffix(" %")) for text in v.page.locator("#bars b").all_inner_texts()]
    assert shares == pytest.approx([100 * p for p in answer.probabilities], abs=0.51)
    assert sum(shares) == pytest.approx(100, abs=1)
    drawn = v.page.evaluate(
        "[...document.querySelectorAll('#bars i')].map(bar => +bar.style.getPropertyValue('--share'))"
    )
    assert drawn == pytest.approx(answer.probabilities, abs=0.001)


def test_the_last_empty_option_makes_room_for_another(visit, site):
    v = visit(site)
    options = v.page.locator("#options input")
    assert options.count() == 1
    options.last.press_sequentially("red")
    assert options.count() == 2
    options.last.press_sequentially("blue")
    assert options.count() == 3
    v.page.get_by_role("button", name="Clear").click()
    assert [options.count(), options.input_value()] == [1, ""]
    assert v.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Option 1"


def test_evidence_leads_the_player_to_its_frame(visit, site, engine, mp4):
    v = visit(site)
    v.upload(mp4)
    v.ask(QUESTION, *OPTIONS)
    v.answered()
    frame = engine.encode_video(mp4).readings[3]
    v.page.locator("#rests-list button").nth(3).click()
    v.at(frame.time)
    assert v.page.evaluate("document.activeElement.id") == "player"
    assert v.page.inner_text("#frames [aria-current=true] time") == f"{frame.time:.1f} s"
    v.page.locator("#rows > li").nth(1).click()
    v.at(engine.encode_video(mp4).readings[1].time)


def test_why_shows_the_support_of_each_frame(visit, site, engine, mp4):
    v = visit(site)
    v.upload(mp4)
    v.ask(QUESTION, *OPTIONS)
    v.answered()
    assert v.page.locator(".bar-box:visible").count() == 0
    v.page.get_by_role("button", name="Why?").click()
    v.page.wait_for_selector("#support-bar:visible")
    found = engine.explain(mp4, QUESTION, OPTIONS)
    support = [frame.support for frame in found.frames]
    shown = [float(text.replace("−", "-")) for text in v.page.locator("#frames em").all_inner_texts()]
    assert shown == pytest.approx(support, abs=0.006)
    heights = [box["height"] for box in v.page.evaluate(
        "[...document.querySelectorAll('.bar-box i')].map(bar => bar.getBoundingClientRect().toJSON())"
    )]  # fmt: skip
    assert heights.index(max(heights)) == max(range(5), key=lambda n: abs(support[n]))
    best = v.page.locator("#frames .best time")
    assert best.all_inner_texts() == (
        [] if found.strongest is None else [f"{found.frames[found.strongest].time:.1f} s"]
    )
    assert found.measure in v.page.inner_text("#because")
    v.page.get_by_role("button", name="Hide").click()
    assert v.page.locator(".bar-box:visible").count() == 0


def test_what_was_asked_before_comes_back(visit, site, mp4):
    v = visit(site)
    v.upload(mp4)
    v.ask(QUESTION, *OPTIONS)
    first = v.answered()
    v.page.get_by_role("button", name="Clear").click()
    v.ask("how many different toys appear ?")
    v.page.wait_for_selector("#asked:text-is('how many different toys appear ?')")
    v.answered()
    v.page.locator("#earlier-list button").click()
    assert [v.page.inner_text("#asked"), v.page.inner_text("#text")] == [QUESTION, first]
    assert v.page.locator("#bars li").count() == len(OPTIONS)
    assert v.page.get_by_label("Question").input_value() == QUESTION
    assert v.page.inner_text("#earlier-list button span") == "how many different toys appear ?"


def test_an_example_fills_the_form(visit, site, mp4):
    v = visit(site)
    v.upload(mp4)
    examples = v.page.locator("#examples button")
    assert examples.count() == 3
    question = examples.first.inner_text()
    examples.first.click()
    assert v.page.get_by_label("Question").input_value() == question
    assert v.page.locator("#options input").count() == 7
    v.page.keyboard.press("Enter")
    v.answered()
    assert v.page.locator("#examples:visible").count() == 0


# The library


def test_a_video_of_the_library_is_kept_in_the_address(visit, site, contents):
    v = visit(site)
    cards = v.page.locator("#videos button")
    assert cards.count() == len(contents)
    loaded(v, "#videos img")
    cards.first.click()
    v.page.wait_for_selector("#frames button")
    assert re.fullmatch(r"#lib_[0-9a-f]{24}", urlsplit(v.page.url)._replace(scheme="", netloc="", path="").geturl())
    assert v.page.locator("#videos [aria-current=true]").count() == 1
    name = v.page.inner_text("#name")
    v.until("document.querySelector('video').readyState >= 2")
    v.page.reload()
    v.page.wait_for_selector("#frames button")
    assert v.page.inner_text("#name") == name
    v.page.get_by_role("button", name="Close", exact=True).click()
    assert "#" not in v.page.url
    v.page.go_back()
    v.page.wait_for_selector("#frames button")
    v.page.go_forward()
    v.page.wait_for_selector("#empty:visible")


def test_on_a_phone_what_opens_comes_into_view(visit, site):
    v = visit(site, viewport={"width": 390, "height": 844})
    inside = """id => {
        const { top } = document.getElementById(id).getBoundingClientRect();
        return top >= 0 && top < innerHeight - 40;
    }"""
    v.page.locator("#videos button").last.click()
    v.page.wait_for_selector("#frames button")
    v.until(inside, "name")
    v.ask(QUESTION, *OPTIONS)
    v.answered()
    v.until(inside, "asked")
    v.page.locator("#rests-list button").last.click()
    v.until(inside, "player")


def test_a_moment_that_was_found_opens_its_video_there(visit, site):
    v = visit(site)
    v.page.keyboard.press("/")
    assert v.page.evaluate("document.activeElement.id") == "query"
    v.page.keyboard.type("a red ball")
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("#moments button")
    assert loaded(v, "#moments img") == v.page.locator("#moments button").count() > 0
    with v.page.expect_request("**/v1/search") as asked:
        v.page.get_by_role("button", name="Search").click()
    best = asked.value.response().json()["data"][0]
    v.page.locator("#moments button").first.click()
    v.page.wait_for_selector("#frames button")
    assert v.page.inner_text("#name") == best["video"]["name"].split("/")[-1]
    v.at(best["frames"][0])
    assert v.page.evaluate("document.activeElement.id") == "player"
    # Now in this one alone.
    v.page.get_by_label("in this video only").check()
    with v.page.expect_request("**/v1/search") as asked:
        v.page.get_by_role("button", name="Search").click()
    assert asked.value.post_data_json["video"] == best["video"]["id"]
    v.page.locator("#query").focus()
    v.page.keyboard.press("Escape")
    assert v.page.locator("#found:visible").count() == 0


def test_the_whole_library_answers_and_cites_its_parts(visit, site):
    v = visit(site)
    assert v.page.inner_text("#talk-h") == "Ask the whole library"
    with v.page.expect_request("**/v1/ask") as asked:
        v.ask(QUESTION, *OPTIONS)
    body = asked.value.response().json()
    assert "video" not in asked.value.post_data_json
    assert v.answered() == body["text"]
    parts = v.page.locator("#rests-list button")
    assert parts.count() == len(body["parts"]) > 0
    parts.first.click()
    v.page.wait_for_selector("#frames button")
    v.at(body["parts"][0]["start"])
    assert body["parts"][0]["video"] in v.page.url


def test_without_a_library_there_is_nothing_to_search(visit, engine):
    with running(engine, ServerSettings(name="other")) as server:
        v = visit(server.url)
        v.until("document.title === 'other'")
        for gone in ("#search", "#search-key", "#library", "#examples", "#or-pick"):
            assert v.page.locator(f"{gone}:visible").count() == 0, gone
        v.ask(QUESTION)
        assert "Choose a file" in v.page.inner_text("#ask-error")


def test_a_file_that_has_gone_is_still_asked_about(visit, engine, micro_videos, tmp_path):
    gone = tmp_path / "gone.mp4"
    gone.write_bytes(micro_videos[0].path.read_bytes())
    make([str(gone)], tmp_path / "library", Wanted(encoder="microworld/clip"), show=False)
    gone.unlink()
    with running(engine, ServerSettings(name="micro"), contents_of(tmp_path / "library")) as server:
        v = visit(server.url)
        v.page.locator("#videos button").click()
        v.page.wait_for_selector("#unplayable:visible")
        assert v.page.locator("#player:visible").count() == 0
        v.until("() => [...document.querySelectorAll('#frames button')].every(cell => cell.querySelector('.none'))")
        v.ask(QUESTION, *OPTIONS)
        v.answered()
        v.page.locator("#rests-list button").last.click()
        last = v.page.locator("#rests-list button").last.inner_text()
        assert v.page.inner_text("#frames [aria-current=true] time") == last
        assert v.page.evaluate("document.activeElement.querySelector('time').textContent") == last


# Keyboard


def test_everything_is_reached_by_keyboard(visit, site, engine, mp4):
    v = visit(site)
    v.page.set_input_files("#file", mp4)
    v.page.wait_for_selector("#frames button")
    times = [frame.time for frame in engine.encode_video(mp4).readings]
    v.page.focus("#player")
    for _ in range(12):  # the player has buttons of its own
        v.page.keyboard.press("Tab")
        if v.page.evaluate("document.activeElement.closest('#frames') !== null"):
            break
    assert v.page.locator("#frames button[tabindex='0']").count() == 1
    outline = v.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for key, number in (("ArrowRight", 1), ("End", 4), ("ArrowRight", 4), ("ArrowLeft", 3), ("Home", 0)):
        v.page.keyboard.press(key)
        v.at(times[number])
        assert v.page.evaluate("document.activeElement.querySelector('time').textContent") == f"{times[number]:.1f} s"
    v.page.keyboard.press("Tab")
    assert v.page.evaluate("document.activeElement.id") == "question"
    v.page.keyboard.type("what does the toy / star do ?")  # a slash is a letter here
    v.page.keyboard.press("Enter")
    v.answered()
    assert v.page.inner_text("#asked") == "what does the toy / star do ?"
    reached = set()
    for _ in range(30):
        v.page.keyboard.press("Tab")
        reached.add(v.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"Why?", "why"} & reached
    assert "weights" in reached


def test_everything_to_press_or_to_fill_has_a_name(visit, site, mp4):
    v = visit(site)
    v.upload(mp4)
    v.ask(QUESTION, *OPTIONS)
    v.answered()
    nameless = v.page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, video")].filter(node =>
            node.checkVisibility() &&
            !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length)
        ).map(node => node.outerHTML)"""
    )
    assert nameless == []


# Trouble


def test_a_token_is_asked_for_where_one_is_needed(visit, engine, contents):
    with running(engine, ServerSettings(name="micro", tokens=("let-me-in",)), contents) as server:
        v = visit(server.url)
        field = v.page.get_by_label("This server asks for a token")
        field.fill("wrong")
        field.press("Enter")
        v.page.wait_for_selector("#token-error:not(:empty)")
        field.fill("let-me-in")
        field.press("Enter")
        v.page.wait_for_selector("#videos button")
        assert v.page.locator("#token:visible").count() == 0
        assert loaded(v, "#videos img") == len(contents)
        v.page.locator("#videos button").first.click()
        v.page.wait_for_selector("#frames button")
        v.until("document.querySelector('video').readyState >= 2")
        assert loaded(v, "#frames img") == 5
        assert v.page.evaluate(
            "[...document.querySelectorAll('img, video')].every(node => node.src.startsWith('blob:'))"
        )
        v.ask(QUESTION, *OPTIONS)
        v.answered()
        v.page.reload()  # the tab remembers it
        v.page.wait_for_selector("#frames button")
        assert v.page.locator("#token:visible").count() == 0


def test_a_busy_server_is_asked_once_more(visit, site, mp4):
    v = visit(site)
    v.upload(mp4)
    times, again = [], []
    busy = {"error": {"message": "too much to do", "type": "rate_limit_error", "param": None, "code": "busy"}}

    def answer(route: Any) -> None:
        times.append(route)
        if len(times) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=busy)
        else:
            again.append(v.page.inner_text("#progress") or "nothing")
            route.continue_()

    v.page.route("**/v1/ask", answer)
    v.ask(QUESTION, *OPTIONS)
    v.page.wait_for_selector("#progress:has-text('The server is busy. Trying again in 1 s.')")
    v.answered()
    assert len(times) == 2
    v.page.unroute("**/v1/ask")
    v.page.route("**/v1/ask", lambda route: route.fulfill(status=429, headers={"Retry-After": "0"}, json=busy))
    v.ask(QUESTION, *OPTIONS)
    v.page.wait_for_selector("#ask-error:has-text('too much to do')")
    assert "Try again in a moment" in v.page.inner_text("#ask-error")


def test_a_server_that_has_gone_is_told(visit, site, mp4):
    v = visit(site)
    v.upload(mp4)
    v.page.route("**/v1/ask", lambda route: route.abort())
    v.ask(QUESTION, *OPTIONS)
    v.page.wait_for_selector("#ask-error:has-text('can’t be reached')")
    assert v.page.locator("#answer:visible").count() == 0
    v.page.unroute("**/v1/ask")
    v.ask(QUESTION, *OPTIONS)
    v.answered()
    v.page.route("**/v1/explain", lambda route: route.abort())
    v.page.get_by_role("button", name="Why?").click()
    v.page.wait_for_selector("#why-error:has-text('can’t be reached')")
    assert v.page.evaluate("document.activeElement.id") == "why"
    v.page.route("**/v1/search", lambda route: route.fulfill(
        status=500, headers={"X-Request-Id": "req_7"}, json={"error": {"message": "It failed."}}
    ))  # fmt: skip
    v.page.get_by_label("Search the library").fill("a ball")
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector("#found-error:has-text('req_7')")


@pytest.mark.parametrize("end", ["cut", "error"])
def test_an_answer_that_breaks_off_is_told_and_what_came_stays(visit, site, mp4, end):
    v = visit(site)
    v.upload(mp4)
    events = [{"choices": [{"index": 0, "delta": {"content": "it gr"}, "finish_reason": None}]}]
    if end == "error":
        events.append({"error": {"message": "The answer took too long."}})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    v.page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=200, headers={"Content-Type": "text/event-stream"}, body=body
    ))  # fmt: skip
    v.ask("what does the toy do ?")
    told = "broke off" if end == "cut" else "took too long"
    v.page.wait_for_selector(f"#ask-error:has-text('{told}')")
    assert v.page.inner_text("#text") == "it gr"


@pytest.mark.parametrize("how", ["button", "key"])
def test_a_running_answer_can_be_stopped(visit, site, mp4, how):
    v = visit(site)
    v.upload(mp4)
    held: list[Any] = []
    v.page.route("**/v1/chat/completions", lambda route: held.append(route))
    with v.page.expect_event("requestfailed", lambda request: "chat" in request.url):
        v.ask("what does the toy do ?")
        v.page.wait_for_selector("#stop:visible")
        if how == "button":
            v.page.get_by_role("button", name="Stop").click()
        else:
            v.page.keyboard.press("Escape")
    v.page.wait_for_selector("#progress:text-is('Stopped.')")
    assert v.page.locator("#stop:visible, #rests:visible").count() == 0
    assert v.page.inner_text("#ask-error") == ""
    held[0].abort()


def test_motion_is_reduced_where_it_is_asked_for(visit, site, mp4):
    def moves(v: Visit) -> str:
        v.upload(mp4)
        held: list[Any] = []
        v.page.route("**/v1/chat/completions", lambda route: held.append(route))
        with v.page.expect_request("**/v1/chat/completions"):
            v.ask("what does the toy do ?")
        v.page.wait_for_selector("#answer[aria-busy]")
        name = v.page.evaluate("getComputedStyle(document.getElementById('text'), '::after').animationName")
        held[0].abort()
        return name

    assert [moves(visit(site, reduced_motion=how)) for how in ("no-preference", "reduce")] == ["blink", "none"]
