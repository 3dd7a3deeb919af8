"""The page of an explanation in a real browser, its files, and videos of which only the features are left."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from evals.webpages import Page, worst_contrast
from topa import Topa
from topa.core.embedded import resolve
from topa.features.encode_video import encode_video
from topa.features.store import FeatureStoreWriter
from topa.inference.explain import MEASURES, ExplainedFrame, Explanation
from topa.library import evidence_plot
from topa.library.contents import Contents, Video
from topa.library.evidence import explain_indexed, write_evidence
from topa.library.evidence_page import evidence_page, places

HOSTILE = """<script>alert("x")</script>'"><img src=x onerror=alert(1)>&amp;</style></title>$x_$"""
LONG = "averyveryverylongwordwithoutanyspaceinit" * 4
OPTIONS = ("red", "blue", "green")


def made(count: int = 5, text: str = "", target: str = "choice") -> Explanation:
    """Support of both signs; the third frame has the most."""
    chosen = target == "choice"
    frames = tuple(
        ExplainedFrame(
            n + 0.5,
            (f"a red ball {text}", "a ring"),
            (0.75, 0.125),
            (2.25 if n == 2 else (-1) ** n * 0.1 * n - 0.01),
            0.02 * (n + 1) / count,
            0.9 - 0.1 * (n % 5) if chosen else None,
            n % 2 if chosen else None,
        )
        for n in range(count)
    )
    return Explanation(
        target, f"what colour ? {text}" if target != "caption" else "", f"red {text}", 0 if chosen else None,
        (f"red {text}", *OPTIONS[1:]) if chosen else (), (0.75, 0.2, 0.05) if chosen else (),
        MEASURES[target], -0.25, -1.5, "masked", frames, ("a file is cut",),
    )  # fmt: skip


def pictures(count: int = 5) -> list[Image.Image]:
    return [Image.new("RGB", (320, 180), (40 * n % 255, 90, 120)) for n in range(count)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("evidence")
    shown = {
        "usual": (made(), pictures()),
        "hostile": (made(5, HOSTILE), pictures()),
        "long": (made(5, LONG), []),
        "many": (made(64, target="caption"), pictures(64)),
        "one": (made(1, target="answer"), pictures(1)),
    }
    return {
        name: write_evidence(*what, folder / name, video="a.mp4", command="topa explain a.mp4")[0]
        for name, what in shown.items()
    }


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("name", ["usual", "hostile", "long", "many", "one"])
def test_it_opens_quietly_fits_and_can_be_read(browser, pages, name, width, scheme):
    trouble, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: (trouble.append("a dialog opened"), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 30)")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper[4:].split(",")[0]) > 128) == (scheme == "light")
    worst = worst_contrast(page)
    assert worst[0] >= 4.5, worst
    # No two times of the axis cover each other.
    boxes = page.evaluate(
        "[...document.querySelectorAll('.axis text')].map(node => node.getBoundingClientRect())"
        ".map(box => [box.left, box.right])"
    )
    assert all(a[1] < b[0] for a, b in pairwise(boxes))
    page.close()
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_bars_are_as_high_as_their_values(browser, pages):
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(pages["usual"].as_uri())
    boxes = page.evaluate(
        "[...document.querySelectorAll('.strip:first-of-type rect')].map(node => node.getBoundingClientRect())"
        ".map(box => [box.top, box.bottom, box.height])"
    )
    page.close()
    support = [frame.support for frame in made().frames]
    zero = boxes[2][1]
    for (top, bottom, height), value in zip(boxes, support, strict=True):
        assert height / boxes[2][2] == pytest.approx(abs(value) / support[2], abs=0.01)
        assert (bottom if value > 0 else top) == pytest.approx(zero, abs=0.5)


def test_every_value_is_there_in_words(pages):
    page = Page(pages["usual"].read_text())
    text = " ".join(page.text)
    assert page.ids == [*dict.fromkeys(page.ids)]
    assert page.headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(page.headings))
    for frame in made().frames:
        assert f"{frame.time:.1f} s" in text
        assert f"{frame.support:+.3f}".replace("-", "−") in text
    assert "Attention isn't an explanation" in text
    assert "masking it" in text
    assert "a file is cut" in text
    assert text.count("the same, ") == 3
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all("aria-label" in a or a.get("aria-hidden") == "true" for tag, a in page.tags if tag == "svg")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]


def test_hostile_words_stay_words(pages):
    source = pages["hostile"].read_text()
    assert "<script" not in source
    assert "<img src=x" not in source
    assert HOSTILE in " ".join(Page(source).text)


def test_a_released_adapter_and_an_answer_that_nothing_supports_are_told_so():
    told = made(5)
    weak = replace(told, masking="padding", frames=tuple(replace(f, support=-0.1) for f in told.frames))
    text = " ".join(Page(evidence_page(weak, [None] * 5, "a.mp4", None)).text)
    assert "putting padding in its place" in text
    assert "supports it alone" in text
    assert "Run it again" not in text
    assert text.count("no picture") == 5


def test_frames_stand_at_their_times():
    frames = made(5).frames
    moved = [replace(frame, time=time) for frame, time in zip(frames, (0.0, 1.0, 2.0, 3.0, 8.0), strict=True)]
    assert places(moved) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.9])
    even = [0.1, 0.3, 0.5, 0.7, 0.9]
    assert places(frames) == pytest.approx(even)
    assert places([replace(frame, time=None) for frame in frames]) == pytest.approx(even)
    assert places([replace(frame, time=1.0) for frame in frames]) == pytest.approx(even)


@pytest.mark.parametrize("name", ["usual", "hostile", "long", "many", "one"])
def test_the_timeline_is_a_picture(pages, name):
    picture = Image.open(pages[name].with_name("timeline.png"))
    picture.load()
    assert picture.width == 1500
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    support = [f["support"] for f in json.loads(pages[name].with_name("explain.json").read_text())["frames"]]
    assert ((15, 118, 110) in colours) == any(value > 0 for value in support)
    assert ((179, 55, 43) in colours) == any(value < 0 for value in support)


def test_without_matplotlib_there_is_a_page_and_a_word(tmp_path, monkeypatch):
    def missing(*_):
        raise evidence_plot.UsageError("the timeline needs matplotlib")

    monkeypatch.setattr(evidence_plot, "timeline", missing)
    page, told = write_evidence(made(), [], tmp_path, video="a.mp4", command=None)
    assert page.is_file()
    assert told == "the timeline needs matplotlib"
    assert not (tmp_path / "timeline.png").exists()


def test_a_video_of_a_library_is_explained_with_its_file_and_without(micro_model, micro_video, tmp_path):
    engine = Topa.from_pretrained(micro_model, resolve=resolve)
    features = encode_video(micro_video, engine.encoder, 9).features
    (tmp_path / "a.mp4").write_bytes(micro_video.read_bytes())
    writer = FeatureStoreWriter(tmp_path / "store", engine.encoder.identity, features.width, "image")
    writer.add(features, "id")
    contents = Contents([writer.close()], [Video("id", "a.mp4", 5.0, 9)], tmp_path)
    found, images = explain_indexed(contents, contents.videos[0], engine, "what colour ?", OPTIONS)
    looked = engine.encode_video(micro_video, frame_selection="scenes", candidate_frames=9)
    assert len(found.frames) == len(images) == 5
    for frame, image in zip(found.frames, images, strict=True):
        assert frame.time in features.times.tolist()
        assert image.size == looked.images[0].size
    (tmp_path / "a.mp4").unlink()
    again, none = explain_indexed(contents, contents.videos[0], engine, "what colour ?", OPTIONS)
    assert (again, none) == (found, ())
    page, _ = write_evidence(again, none, tmp_path / "out", video="a.mp4", command=None)
    assert "no picture" in page.read_text()


def test_the_verb(topa, micro_model, micro_video, tmp_path):
    words = ["explain", micro_video, "what colour is the toy ?", "--choice", "red", "--choice", "blue"]
    done = topa(*words, "--model", micro_model, "--out", tmp_path / "why")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] in ("red", "blue")
    assert sum(" s  " in line for line in lines) == 5
    assert lines[-1] == f"page: {tmp_path / 'why' / 'explain.html'}"
    assert {path.name for path in (tmp_path / "why").glob("[!.]*")} == {"explain.html", "explain.json", "timeline.png"}
    printed = topa(*words, "--model", micro_model, "--json")
    assert json.loads(printed.out) == json.loads((tmp_path / "why" / "explain.json").read_text())
    caption = topa("explain", micro_video, "--model", micro_model, "--among", "9")
    assert caption.code == 0
    assert (
        caption.out.splitlines()[0]
        == topa("caption", micro_video, "--model", micro_model, "--among", "9").out.splitlines()[0]
    )
    wrong = topa(*words, "--protocol", "letters")
    assert (wrong.code, "unknown protocol 'letters'" in wrong.err) == (2, True)
    bare = topa("explain", micro_video, "--choice", "red", "--choice", "blue", "--model", micro_model)
    assert "choices: found some without a question" in bare.err
