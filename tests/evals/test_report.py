"""The report of an evaluation survives the disk; its page is whole, closed and safe; its tables are square."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys

import pytest
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from topa.core.errors import InputError, OutputError
from topa.core.thumbnails import thumbnail
from topa.evals.__main__ import main
from topa.evals.plots import letters_plot, reliability_plot
from topa.evals.publish import write_report
from topa.evals.report import Bin, Calibration, EvaluationReport, Letters, Score
from topa.evals.tables import report_markdown, report_table

from . import evaluations, pictures
from .webpages import Page


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return evaluations.full()


@pytest.fixture(scope="module")
def html(report, tmp_path_factory) -> str:
    return write_report(report, tmp_path_factory.mktemp("report")).read_text()


def test_json_comes_back_as_it_was(report, html, tmp_path):
    assert write_report(report, tmp_path / "new") == tmp_path / "new" / "report.html"
    assert EvaluationReport.model_validate_json((tmp_path / "new" / "report.json").read_text()) == report
    assert sorted(p.name for p in (tmp_path / "new").glob("[!.]*")) == ["report.html", "report.json"]
    assert (tmp_path / "new" / "report.html").read_text() == html


def test_everything_is_on_the_page(report, html):
    page = Page(html)
    text = "".join(page.text)
    sample = next(s for s in report.samples if s.verdict == "wrong")
    expected = [report.title, report.command, *report.notes, sample.question, *sample.options, f"record {sample.id}"]
    expected += ["All 120 published records are in every number; 4 of them have no answer and count as wrong."]
    expected += [f"{100 * c.accuracy.value:.1f}" for c in report.conditions]
    expected += [f"{100 * e.value:.1f} %" for parts in report.breakdowns.values() for e in parts.values()]
    expected += [f"{d.estimate.value * 100:+.1f}".replace("-", "−") for d in report.differences]
    expected += [*sample.frames[0].captions, "58 %", "2.5 s", "✗ chosen, wrong", "✓ the right one", "3 min 12 s"]
    expected += ["accuracy, mean over types", *report.missing, *report.missing.values(), "2.13.0+cpu", "3f" * 32]
    expected += [f"Expected calibration error: {100 * report.calibration.error:.1f} points"]
    expected += [f"chosen {n}×" for n in report.letters.chosen]
    expected += [report.about, "1 min 36 s", "2 min 05 s", "1,210 MB", "41,216"]
    assert [words for words in expected if words not in text] == []
    assert [tag for tag, _ in page.tags].count("img") == 10 * len(report.samples)


def test_only_its_own_script_may_run(html):
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = dict(Page(html).tags[3][1])["content"]
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline'; img" in policy  # of styles alone
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval|fetch", script)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html, re.IGNORECASE)


def test_the_page_is_well_formed_and_accessible(html):
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert page.headings.count(1) == 1
    for tag, attrs in page.tags:
        assert not [key for key in attrs if key.startswith("on")]
        assert tag != "img" or attrs["alt"]
        assert attrs.get("role") not in ("img", "region", "search") or attrs["aria-label"]
        assert tag not in ("a",) or attrs["href"].lstrip("#") in page.ids
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_hostile_words_stay_words(html, tmp_path):
    hostile = Page(write_report(evaluations.full(pictures.HOSTILE), tmp_path).read_text())
    harmless = {tag for tag, _ in Page(html).tags}
    assert {tag for tag, _ in hostile.tags} == harmless
    assert [tag for tag, _ in hostile.tags].count("script") == 1
    assert not [key for _, attrs in hostile.tags for key in attrs if key.startswith("on")]
    assert "".join(hostile.text).count(pictures.HOSTILE) > 300
    assert any(attrs.get("data-kind", "").endswith(pictures.HOSTILE) for tag, attrs in hostile.tags if tag == "details")
    assert any(attrs.get("value", "").endswith(pictures.HOSTILE) for tag, attrs in hostile.tags if tag == "option")


def test_thousands_of_records_stay_a_page(tmp_path):
    records = evaluations.examples(4000, 800)
    summary = evaluations.summary(records)
    gone = {e.id: f"{e.path}: no such file" for e in records}
    big = evaluations.full(records=records, missing=gone, counts=summary.counts)
    page = write_report(big, tmp_path).read_text()
    assert len(page) < 1_500_000
    assert "The first 1,000 are listed here" in page
    assert page.count("no such file</td>") == 1000
    assert len(json.loads((tmp_path / "report.json").read_text())["missing"]) == 4000


@pytest.mark.parametrize(
    "records",
    [
        evaluations.examples(12, answer=None),
        evaluations.examples(3, kind="all", groups=()),
        evaluations.examples(9, videos=1),
        evaluations.examples(4, question="", options=("", "", "", "", "")),
        evaluations.examples(1),
    ],
    ids=["hidden", "one type, all errors", "one video", "empty texts", "one record, an error"],
)
def test_odd_benchmarks_are_pages_too(records, tmp_path):
    report = evaluations.full(records=records, frame_count=0)
    text = "".join(Page(write_report(report, tmp_path).read_text()).text)
    assert f"{len(records):,}" in text
    report_markdown(report)
    Console(file=io.StringIO()).print(report_table(report))
    if records[0].hidden:
        assert "No right answer of this split is public" in text
        assert "not marked" in text
        assert "right 0.0 %" not in text
    if not records[0].question:
        assert "no text" in text
        assert "a description of the video" in text


def test_an_almost_empty_report_is_a_page_too(report, tmp_path):
    bare = {name: getattr(report, name) for name in ("title", "benchmark", "split", "task", "protocol", "command")}
    small = EvaluationReport(
        **bare, created="now", counts=report.counts, scores=[Score(name="CIDEr-D", estimate=None, note="no Java")]
    )
    page = Page(write_report(small, tmp_path).read_text())
    assert [i for i in page.ids if not i.endswith("-h")] == ["results", "reproduce"]
    assert "no Java" in "".join(page.text)
    assert "script" not in {tag for tag, _ in page.tags}
    with pytest.raises(ValidationError, match="at least 1 item"):
        EvaluationReport(**bare, created="now", counts=report.counts, scores=[])


def test_frames_without_pictures_or_times_are_told(report, tmp_path):
    sample = report.samples[-1]
    views = tuple(f.model_copy(update={"image": None, "time": None}) for f in sample.frames)
    changed = report.model_copy(update={"samples": (sample.model_copy(update={"frames": views}),)})
    page = Page(write_report(changed, tmp_path).read_text())
    assert "img" not in {tag for tag, _ in page.tags}
    assert "frame 10" in page.text
    assert "".join(page.text).count(views[0].captions[0]) == 10


def test_a_video_below_the_report_is_played_from_there(report, tmp_path):
    assert "video" not in {tag for tag, _ in Page(write_report(report, tmp_path).read_text()).tags}
    shown = evaluations.with_video(report, 'videos/50 % "a" #1?.mp4', pictures.HOSTILE)
    page = Page(html := write_report(shown, tmp_path).read_text())
    (video,) = [attrs for tag, attrs in page.tags if tag == "video"]
    assert {"controls", "playsinline", "aria-label", "poster"} <= set(video)
    assert video["src"] == "videos/50%20%25%20%22a%22%20%231%3F.mp4"
    assert "media-src 'self' file:" in html
    assert f"What happens: a dog is fed .{pictures.HOSTILE}" in "".join(page.text)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a.mp4", "videos/../../a.mp4", "https://a.b/c.mp4", "javascript:alert(1)", "c:\\a.mp4"],
)
def test_videos_lie_below_the_report(report, path):
    with pytest.raises(ValidationError, match="relative to the report's folder"):
        evaluations.with_video(report, path)


def test_pictures_named_by_path_are_taken_in(report, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.jpg").write_bytes(pictures.picture((200, 30, 30), "JPEG"))
    views = evaluations.frames(5, image="frames/a.jpg")
    changed = report.model_copy(update={"samples": (report.samples[0].model_copy(update={"frames": views}),)})
    assert write_report(changed, tmp_path).read_text().count('<img src="data:image/jpeg;base64,/9j/') == 5


def test_a_picture_is_no_other_kind_of_address():
    for image in ("data:image/svg+xml;base64,AAAA", 'data:image/png;base64,AA"onerror="x', "https://a.b/c.png"):
        with pytest.raises(ValidationError):
            evaluations.frames(1, image=image)
    with pytest.raises(ValidationError, match="3 captions but 1 weights"):
        type(frame := evaluations.frames(1)[0]).model_validate(frame.model_dump() | {"weights": [1.0]})


def test_two_conditions_of_one_name_are_refused():
    condition = evaluations.full().conditions[1]
    with pytest.raises(ValidationError, match="same name: chance, chance"):
        evaluations.full(conditions=[condition, condition])


def test_a_picture_that_is_missing_is_answered_and_nothing_is_written(report, tmp_path):
    views = evaluations.frames(1, image="frames/none.png")
    changed = report.model_copy(update={"samples": (report.samples[0].model_copy(update={"frames": views}),)})
    with pytest.raises(InputError, match=r"frames/none\.png"):
        write_report(changed, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_report(report, tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": 5}, "answer is 5"),
        ({"choice": -1}, "choice is -1"),
        ({"probabilities": [0.5, 0.5]}, "5 options but 2 probabilities"),
        ({"credit": 1.5}, "less than or equal to 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_examples_that_contradict_themselves_are_refused(report, changes, message):
    sample = report.samples[-1]
    with pytest.raises(ValidationError, match=message):
        type(sample).model_validate(sample.model_dump() | changes)


def test_partial_credit_and_captions_are_shown(report, tmp_path):
    sample = report.samples[-1].model_copy(
        update={"options": (), "probabilities": (), "answer": None, "choice": None, "text": "a hound"}
    )
    told = (
        sample.model_copy(update={"credit": 0.4, "references": ("a dog", "a poodle")}),
        sample.model_copy(update={"credit": None, "text": "", "question": ""}),
    )
    text = "".join(Page(write_report(report.model_copy(update={"samples": told}), tmp_path).read_text()).text)
    assert "✗ wrong, 40 % of the credit" in text
    assert "a hound" in text
    assert "a poodle" in text
    assert "not marked" in text
    assert "nothing" in text


def test_the_letters_plot_knows_what_is_hidden():
    hidden = letters_plot(Letters(chosen=(3, 1), right=(0, 0)))
    assert 'aria-label="A: chosen in 75.0 %"' in hidden
    assert "truth" not in hidden
    drawn = letters_plot(Letters(chosen=(9, 1), right=(5, 5)))
    assert 'aria-label="A: chosen in 90.0 %, right in 50.0 %"' in drawn
    assert "100 %" in drawn
    assert '<rect class="truth" x="0" y="50%" width="50.00%"' in drawn
    with pytest.raises(ValidationError, match="2 options were chosen but 1"):
        Letters(chosen=(1, 2), right=(1,))


def test_the_reliability_plot_draws_each_bin():
    bins = [
        Bin(low=0.2, high=0.3, questions=4, confidence=0.25, accuracy=0.5),
        Bin(low=0.9, high=1, questions=1, confidence=1, accuracy=1),
    ]
    drawn = reliability_plot(Calibration(error=0.2, bins=bins))
    assert '<rect class="bar" x="20.5%" width="9.0%" y="50.00%" height="50.00%"/>' in drawn
    assert '<circle cx="100.00%" cy="0.00%" r="5"/>' in drawn


def test_the_terminals_tables_fit_80_columns(report):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report_table(report))
    lines = console.export_text().splitlines()
    assert "…" not in "".join(lines)
    for condition in report.conditions:
        words = condition.name.replace("_", " ")
        line = next(line for line in lines if line.strip().startswith(f"{words} "))
        assert line.replace(words, "").split()[0] == f"{100 * condition.accuracy.value:.1f}"
    for kind, found in report.breakdowns["type"].items():
        words = kind.replace("_", " ")
        line = next(line for line in lines if line.strip().startswith(words))
        assert line.replace(words, "").split()[::2] == [f"{100 * found.value:.1f}", str(found.questions)]


def test_the_markdown_tables_are_square():
    blocks = report_markdown(evaluations.full(pictures.HOSTILE + "|")).strip().split("\n\n")
    assert len(blocks) == 5
    for block in blocks[1:]:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert blocks[2].splitlines()[2].startswith("| **model** | **")


def test_types_are_told_of_all_conditions_in_markdown(report):
    conditions = list(report.conditions)
    conditions[1] = conditions[1].model_copy(update={"kinds": dict(list(conditions[1].kinds.items())[1:])})
    blocks = report_markdown(report.model_copy(update={"conditions": tuple(conditions)})).strip().split("\n\n")
    heading, _, first, *_ = blocks[3].splitlines()
    assert heading.endswith("questions | chance | longest | blind | shuffled frames | no projection |")
    assert next(cell.strip() for cell in first.split("|")[5:-1]) == "–"
    kind = next(iter(report.breakdowns["type"]))
    assert first.endswith(f"{100 * conditions[-1].kinds[kind].value:.1f} |")


def test_the_module_prints_a_report(report, tmp_path, capsys):
    path = write_report(report, tmp_path).with_name("report.json")
    done = subprocess.run(
        [sys.executable, "-m", "topa.evals", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == report_markdown(report) + "\n"
    (tmp_path / "list.json").write_text("[]")
    for wrong in (["none.json"], [str(tmp_path / "list.json")], []):
        assert main(wrong) == 2
        assert "expected" in capsys.readouterr().err.lower()


def test_thumbnails_are_small():
    wide = thumbnail(Image.effect_noise((1920, 1080), 50))
    assert Image.open(io.BytesIO(base64.b64decode(wide.partition(",")[2]))).size == (192, 108)
    small = thumbnail(Image.new("RGBA", (64, 48)))
    assert Image.open(io.BytesIO(base64.b64decode(small.partition(",")[2]))).size == (64, 48)
    assert evaluations.frames(1, image=wide)[0].image == wide
