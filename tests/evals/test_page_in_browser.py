"""The page in a real browser: no errors, no sideways scrolling, playing videos, light and dark."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from topa.evals.publish import write_report

from . import reports
from .webpages import worst_contrast

LONG = "averyveryverylongwordwithoutanyspaceinit" * 4


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
    folder = tmp_path_factory.mktemp("report")
    write_video(folder / "videos" / "0001.mp4")
    found = {"usual": write_report(reports.full(), folder)}
    for name, text in (("hostile", reports.HOSTILE), ("long", LONG)):
        found[name] = write_report(reports.full(text), folder / name)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["usual", "hostile", "long"])
def test_it_opens_quietly_and_fits(browser, pages, name, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    trouble, requests = [], []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: (trouble.append("a dialog opened"), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 32)")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper[4:].split(",")[0]) > 128) == (scheme == "light")
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_a_video_beside_the_page_plays(browser, pages):
    page = browser.new_page()
    page.goto(pages["usual"].as_uri())
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
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(browser, pages, scheme):
    """Contrast of text on its background is 4.5 or more (WCAG AA), measured where the page sets colours."""
    page = browser.new_page(viewport={"width": 1280, "height": 844}, color_scheme=scheme)
    page.goto(pages["usual"].as_uri())
    worst = worst_contrast(page)
    assert worst[0] >= 4.5, worst
    page.close()
