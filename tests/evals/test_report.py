"""A report survives the disk, refuses nonsense, and its page is whole, closed and safe."""

from __future__ import annotations

import io
import json
import re

import pytest
from pydantic import ValidationError
from rich.console import Console

from topa.core.errors import InputError, OutputError
from topa.evals.publish import write_report
from topa.evals.report import DemoReport
from topa.evals.tables import markdown_table, table

from . import reports
from .webpages import Page


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    return write_report(reports.full(), tmp_path_factory.mktemp("report")).read_text()


def test_json_comes_back_as_it_was(tmp_path):
    report = reports.full()
    assert write_report(report, tmp_path / "new") == tmp_path / "new" / "report.html"
    text = (tmp_path / "new" / "report.json").read_text()
    assert DemoReport.model_validate_json(text) == report
    assert json.loads(text)["conditions"][4]["accuracy"]["questions"] == 600
    assert sorted(p.name for p in (tmp_path / "new").glob("[!.]*")) == ["report.html", "report.json"]


def test_the_same_report_is_the_same_bytes(tmp_path, html):
    assert write_report(reports.full(), tmp_path).read_text() == html


def test_the_page_asks_nothing_of_the_network(html):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html, re.IGNORECASE)
    for _, attrs in Page(html).tags:
        for key in ("src", "href", "poster"):
            address = attrs.get(key, "#")
            assert address.startswith(("#", "data:image/png;base64,", "videos/"))


def test_everything_is_on_the_page(html):
    report, page = reports.full(), Page(html)
    text = "".join(page.text)
    sample = report.samples[0]
    expected = [report.title, report.command, *report.notes, sample.description, sample.question, *sample.options]
    expected += [f"{100 * report.conditions[4].accuracy.value:.1f} %", *sample.frames[0].captions, "1,210 MB"]
    expected += ["2 min 05 s", "41,216", "2026", "2.13.0+cpu", "✓ chosen, right", "✗ chosen, wrong", "✓ the right one"]
    expected += [f"{d.estimate.value * 100:+.1f}".replace("-", "−") for d in report.differences]
    expected += [f"{100 * e.value:.1f}" for c in report.conditions for e in c.kinds.values()]
    assert [words for words in expected if words not in text] == []
    assert [tag for tag, _ in page.tags].count("video") == 5
    assert [tag for tag, _ in page.tags].count("img") == 25


def test_the_page_is_well_formed_and_accessible(html):
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    for tag, attrs in page.tags:
        assert tag != "script"
        assert not [key for key in attrs if key.startswith("on")]
        assert tag != "img" or attrs["alt"]
        assert tag != "video" or {"controls", "playsinline", "aria-label"} <= set(attrs)
        assert attrs.get("role") != "img" or attrs["aria-label"]
        assert attrs.get("href", "#") == "#" or attrs["href"].lstrip("#") in [*page.ids, attrs["href"]]


def test_wrong_answers_have_a_section_with_its_rule(tmp_path, html):
    assert "The first 2 of 57 wrong answers" in html
    assert html.index('id="sample-3"') < html.rindex("Where it was wrong") < html.index('id="sample-4"')
    all_of_them = write_report(reports.full(mistake_count=2), tmp_path / "all").read_text()
    assert "All wrong answers, in the order" in all_of_them
    none = write_report(reports.full(mistakes=(), mistake_count=0), tmp_path / "none").read_text()
    assert "Where it was wrong" not in none


def test_hostile_words_stay_words(tmp_path, html):
    report = reports.full(reports.HOSTILE)
    samples = [reports.sample(1, reports.HOSTILE, video="videos/<script>1.mp4"), *report.samples[1:]]
    report = report.model_copy(update={"samples": tuple(samples)})
    hostile = Page(write_report(report, tmp_path).read_text())
    harmless = {tag for tag, _ in Page(html).tags}
    assert {tag for tag, _ in hostile.tags} == harmless
    assert not [key for _, attrs in hostile.tags for key in attrs if key.startswith("on")]
    assert "".join(hostile.text).count(reports.HOSTILE.replace("_", " ")) > 80
    assert any(attrs.get("alt", "").endswith(reports.HOSTILE) for tag, attrs in hostile.tags if tag == "img")


def test_pictures_named_by_path_are_taken_in(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.jpg").write_bytes(reports.picture((200, 30, 30), "JPEG"))
    report = reports.full(samples=[reports.sample(1, image="frames/a.jpg")])
    assert write_report(report, tmp_path).read_text().count('<img src="data:image/jpeg;base64,/9j/') == 5


@pytest.mark.parametrize("name", ["frames/none.png", "notes.txt"])
def test_a_missing_picture_is_answered_and_nothing_is_written(tmp_path, name):
    (tmp_path / "notes.txt").write_text("not a picture")
    report = reports.full(samples=[reports.sample(1, image=name)])
    with pytest.raises(InputError, match=name):
        write_report(report, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_video_name_is_quoted(tmp_path):
    report = reports.full(samples=[reports.sample(1, video='videos/50 % "a" #1?.mp4')])
    assert 'src="videos/50%20%25%20%22a%22%20%231%3F.mp4"' in write_report(report, tmp_path).read_text()


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a.mp4", "videos/../../a.mp4", "https://a.b/c.mp4", "javascript:alert(1)", "c:\\a.mp4"],
)
def test_videos_lie_below_the_report(path):
    data = reports.sample(1).model_dump() | {"video": path}
    with pytest.raises(ValidationError, match="relative to the report's folder"):
        type(reports.sample(1)).model_validate(data)


def test_a_picture_is_no_other_kind_of_address():
    for image in ("data:image/svg+xml;base64,AAAA", 'data:image/png;base64,AA"onerror="x', "https://a.b/c.png"):
        with pytest.raises(ValidationError):
            reports.sample(1, image=image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": 5}, "answer is 5"),
        ({"choice": -1}, "choice is -1"),
        ({"probabilities": [0.5, 0.5]}, "5 options but 2 probabilities"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_samples_that_contradict_themselves_are_refused(changes, message):
    sample = reports.sample(1)
    with pytest.raises(ValidationError, match=message):
        type(sample).model_validate(sample.model_dump() | changes)


def test_reports_that_contradict_themselves_are_refused():
    condition = reports.full().conditions[0]
    with pytest.raises(ValidationError, match="same name: chance, chance"):
        reports.full(conditions=[condition, condition])
    with pytest.raises(ValidationError, match="at least 1 item"):
        reports.full(conditions=[])
    frame = reports.sample(1).frames[0]
    with pytest.raises(ValidationError, match="3 captions but 1 weights"):
        type(frame).model_validate(frame.model_dump() | {"weights": [1.0]})


def test_an_almost_empty_report_is_a_page_too(tmp_path):
    condition = reports.full().conditions[4].model_copy(update={"kinds": {}, "name": "<mine>"})
    report = DemoReport(title="t", command="c", created="now", conditions=[condition])
    page = Page(write_report(report, tmp_path).read_text())
    assert [i for i in page.ids if not i.endswith("-h")] == ["results", "reproduce"]
    assert "".join(page.text).count("<mine>") == 2
    assert "<mine>" in markdown_table(report)


def test_a_folder_that_cannot_be_made_is_answered(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_report(reports.full(), tmp_path / "file")


def test_the_terminals_table_fits_120_columns():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(reports.full()))
    text = console.export_text()
    assert "…" not in text
    assert console.measure(table(reports.full())).minimum <= 120
    report = reports.full()
    for condition in report.conditions:
        line = next(line for line in text.splitlines() if line.split()[:1] == [condition.name])
        numbers = [f"{100 * e.value:.1f}" for e in (condition.accuracy, *condition.kinds.values())]
        found = line.split()
        assert [found[1], *found[3:]] == numbers


def test_the_markdown_table_is_square():
    lines = markdown_table(reports.full(reports.HOSTILE + "|")).splitlines()
    assert len(lines) == 2 + len(reports.SKILLS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {14}
    assert "| **projected** | **68.2 (" in lines[6]


def test_a_kind_that_was_not_asked_is_a_dash(tmp_path):
    report = reports.full()
    conditions = [*report.conditions]
    conditions[1] = conditions[1].model_copy(update={"kinds": {}})
    report = report.model_copy(update={"conditions": tuple(conditions)})
    assert markdown_table(report).splitlines()[3].count("–") == 11
    assert write_report(report, tmp_path).read_text().count("<td>–</td>") == 10
