"""The page of an evaluation in a real browser: quiet, fitting, readable, with examples to leaf through."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from topa.evals.publish import write_report

from . import evaluations, pictures
from .webpages import worst_contrast

LONG = "averyveryverylongwordwithoutanyspaceinit" * 4
OPENED = "() => [...document.querySelectorAll('#browser > details')].flatMap((node, k) => node.open ? [k] : [])"
SHOWN = "() => [...document.querySelectorAll('#browser > details')].filter(node => node.offsetHeight).length"


def write_video(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for k in range(8):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 64), (30 * k, 80, 120)))))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("evaluation")
    texts = {"usual": "", "hostile": pictures.HOSTILE, "long": LONG}
    found = {name: write_report(evaluations.full(text), folder / name) for name, text in texts.items()}
    found["video"] = write_report(evaluations.with_video(evaluations.full()), folder / "video")
    write_video(folder / "video" / "videos" / "0001.mp4")
    return found


@pytest.fixture
def opened(browser, pages):
    """Opens a page, and fails at the end where it said or fetched anything."""
    trouble, requests, found = [], [], []

    def look(name: str = "usual", width: int = 1280, scheme: str = "light", **more):
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, **more)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append("a dialog opened"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(pages[name].as_uri())
        found.append(page)
        return page

    yield look
    for page in found:
        page.close()
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("name", ["usual", "hostile", "long", "video"])
def test_it_opens_quietly_and_fits(opened, name, width, scheme):
    page = opened(name, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 32)")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper[4:].split(",")[0]) > 128) == (scheme == "light")
    assert page.is_visible(".toolbar")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(opened, scheme):
    page = opened(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    worst = worst_contrast(page)
    assert worst[0] >= 4.5, worst


def test_examples_are_filtered_by_keyboard_alone(opened):
    page = opened()
    report = evaluations.full()
    verdicts = [sample.verdict for sample in report.samples]
    assert page.evaluate(SHOWN) == len(verdicts)
    page.focus("input[name=verdict]:checked")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SHOWN) == verdicts.count("wrong")
    assert page.inner_text("#count") == f"{verdicts.count('wrong')} of {len(verdicts)} examples"
    page.keyboard.press("Tab")
    page.keyboard.type("caus")
    kind = "causal_why"
    assert page.input_value("#kind") == kind
    wrong = [s for s in report.samples if s.verdict == "wrong" and s.kind == kind]
    assert page.evaluate(SHOWN) == len(wrong) > 0
    page.keyboard.press("Tab")
    page.keyboard.type(f"{wrong[0].question.split()[-2]} WHY")
    assert page.evaluate(SHOWN) == 1
    page.keyboard.type(" nothinghasthisword")
    assert page.evaluate(SHOWN) == 0


def test_examples_are_leafed_through_by_keyboard(opened):
    page = opened()
    first = page.evaluate(OPENED)
    assert len(first) == 1
    page.focus("details[open] > summary")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    assert page.evaluate(OPENED) == [first[0] + 2]
    assert page.evaluate("document.activeElement.closest('details').open")
    page.keyboard.press("k")
    assert page.evaluate(OPENED) == [first[0] + 1]
    page.keyboard.press("Enter")
    assert page.evaluate(OPENED) == []


def test_leafing_keeps_to_what_is_shown(opened):
    page = opened()
    verdicts = [sample.verdict for sample in evaluations.full().samples]
    start = page.evaluate(OPENED)[0]
    other = "right" if verdicts[start] == "wrong" else "wrong"
    left = [place for place, verdict in enumerate(verdicts) if verdict == other]
    page.check(f"input[value={other}]")
    page.click("#after")
    following = next(place for place in left if place > start)
    assert page.evaluate(OPENED) == [following]
    assert page.inner_text("#at") == f"{left.index(following) + 1} of {len(left)}"
    for _ in range(2 * len(left)):
        page.click("#after")
    assert page.evaluate(OPENED) == [left[-1]]
    page.click("#before")
    assert page.evaluate(OPENED) == [left[-2]]


def test_without_scripts_every_example_is_there(opened):
    page = opened(java_script_enabled=False)
    assert not page.is_visible(".toolbar")
    assert not page.is_visible(".leaf")
    assert page.locator("#browser > details:visible").count() == len(evaluations.full().samples)
    last = page.locator("#browser > details").last
    last.locator("summary").click()
    assert last.locator("img").first.is_visible()


def test_a_video_beside_the_page_plays(opened):
    page = opened("video")
    state = page.evaluate(
        """() => new Promise(resolve => {
            const video = document.querySelector("video");
            video.onloadeddata = () => resolve([video.videoWidth, video.duration]);
            video.onerror = () => resolve(video.error.message);
            video.muted = true;
            video.play();
        })"""
    )
    assert state == [64, 1]
