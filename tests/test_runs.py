"""`topa runs`: what runs tell, in the terminal, as JSON, as plots and as a page in a real browser."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from fake_runs import SETTINGS, write_run
from topa.core.errors import InputError, UsageError
from topa.core.formatting import duration
from topa.runs import plots
from topa.runs.plots import OVERLAID, PLOTS, Look, smoothed
from topa.runs.read import Series, differing, find_runs, layers, read_run
from topa.runs.report import write_report
from topa.runs.table import ordered, table
from topa.runs.wording import decimal, setting

HOSTILE = '<script>alert(1)</script>"&[bold]$x_1$'


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A run that is good, one that is worse, one that was cut off."""
    write_run(tmp_path / "good")
    write_run(tmp_path / "low", lr=0.001, seed=1)
    write_run(tmp_path / "noisy" / "a", noise=0.3, until=230)
    return tmp_path


def change(path: Path, **told: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | told))


def log(folder: Path, *rows: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def lines(runs, width: int = 1000) -> list[str]:
    console = Console(width=width, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(table(runs, width)[0])
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_run_tells_its_best_numbers(tmp_path):
    held = [(0, 3.0, 0.2, 0.1), (50, 2.0, 0.6, 0.3), (100, 1.5, 0.6, 0.2), (150, 1.75, 0.5, 0.2)]
    rows = [{"step": s, "held_out": {"loss": a, "accuracy": b, "rouge_l": c}} for s, a, b, c in held]
    rows += [{"step": s, "loss": float(s), "tokens": 100, "seconds": 2.0 if s % 2 else 6.0} for s in range(1, 41)]
    run = read_run(log(tmp_path / "run", *rows))
    assert [(run.best(m).value, run.best(m).step) for m in ("accuracy", "loss", "rouge_l")] == [
        (0.6, 50),
        (1.5, 100),
        (0.3, 50),
    ]
    assert run.loss == sum(range(21, 41)) / 20
    assert (run.tokens_per_second, run.seconds, run.step, run.name) == (25.0, 160.0, 40, "run")


def test_what_a_run_lacks_is_none(tmp_path):
    run = read_run(
        log(tmp_path, {"step": 1, "loss": 2.0, "tokens_per_second": 10}, {"step": 2, "tokens_per_second": 30})
    )
    assert (run.kind, run.llm, run.started, run.steps, run.seconds, run.best("accuracy")) == (None,) * 6
    assert (run.tokens_per_second, run.loss, run.state, run.notes) == (20.0, 2.0, "running", ())
    empty = read_run(log(tmp_path / "empty"))
    assert (empty.step, empty.loss, empty.tokens_per_second) == (0, None, None)


def test_state_is_from_the_result_or_the_age_of_the_log(three):
    states = {}
    for old in (60, 1000):
        for path in three.rglob("metrics.jsonl"):
            at = path.stat().st_ctime - old
            os.utime(path, (at, at))
        states[old] = {run.name: run.state for run in find_runs([three])}
    assert states[60] == {"good": "finished", "low": "finished", "noisy/a": "running"}
    assert states[1000] == {"good": "finished", "low": "finished", "noisy/a": "stopped"}
    with (three / "noisy" / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 231, "loss": 1.0, "seconds": 150.0}\n')  # steps that take their time
    os.utime(three / "noisy" / "a" / "metrics.jsonl", (at, at))
    assert find_runs([three])[2].state == "running"


def test_steps_that_come_again_replace_what_was_logged_after_them():
    series = Series()
    for step, value in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 9.0), (3, 8.0)):
        series.add(step, value)
    assert (list(series.steps), list(series.values)) == ([1, 2, 3], [1.0, 9.0, 8.0])


def test_layers_come_by_their_own_numbers(tmp_path):
    rows = [{"step": s, "gates": [0.1 * s, 0.2], "video_bias": [3.5, 3.0], "first_layer": 9} for s in (0, 5)]
    run = read_run(log(tmp_path, *rows))
    assert {k: list(series.values) for k, series in layers(run, "gates").items()} == {9: [0.0, 0.5], 10: [0.2, 0.2]}
    assert list(layers(run, "video_bias")) == [9, 10]


def test_damaged_lines_are_passed_over_and_said(topa, three):
    path = three / "good" / "metrics.jsonl"
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*text[:5], "{broken\n", "[3]\n", *text[5:], '{"step": 7, "lo']))
    done = topa("runs", three)
    assert done.code == 0
    assert "good" in done.out
    assert f"note: {path.resolve()}: 2 lines are no rows of a log and were passed over (line 6, 7)" in done.err
    assert find_runs([three])[0].step == 400


@pytest.mark.parametrize(("text", "words"), [("{", "can't be read"), ("[1]", "found list; expected a JSON object")])
def test_a_run_whose_settings_are_damaged_is_still_shown(topa, three, text, words):
    (three / "good" / "run.json").write_text(text)
    done = topa("runs", three)
    assert done.code == 0
    assert f"run.json: {words}" in done.err
    assert done.out.splitlines()[1].startswith("good")


def test_settings_that_differ_are_columns(three):
    runs = find_runs([three])
    assert differing(runs) == ["noise", "lr", "seed"]
    head, *rows = lines(ordered(runs))
    assert re.split(r"\s{2,}", head)[:4] == ["run", "noise", "lr  seed"[:2], "seed"]
    assert [row.split()[:4] for row in rows] == [
        ["good", "0", "0.005", "0"],
        ["noisy/a", "0.3", "0.005", "0"],
        ["low", "0", "0.001", "1"],
    ]
    assert table(runs, 1000)[1] == ["kind of all: align", "LLM of all: Llama-2-7b-hf"]
    assert "Llama-2-7b-hf" in lines(runs[:1])[1]


def test_a_setting_that_only_one_has_tells_nothing(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", kind="finetune", fraction=0.1)
    assert differing(find_runs([tmp_path])) == []
    assert "finetune" in lines(find_runs([tmp_path]))[2]


def test_models_of_one_name_are_told_apart(tmp_path):
    write_run(tmp_path / "a", llm="one/llama")
    write_run(tmp_path / "b", llm="other/llama")
    assert [line.split()[1] for line in lines(find_runs([tmp_path]))] == ["LLM", "one/llama", "other/llama"]


@pytest.mark.parametrize("width", [200, 110, 80, 60])
def test_the_table_fits_and_says_what_had_no_room(three, width):
    runs = find_runs([three])
    assert max(map(len, lines(runs, width))) <= width
    titles = set(re.split(r"\s{2,}|(?<=lr)\s|(?<=noise)\s+", lines(runs, 1000)[0]))
    shown = " ".join(lines(runs, width)[0].split())
    below = [line for line in table(runs, width)[1] if "no room" in line]
    missing = {title for title in titles if title not in shown}
    assert (
        missing == set(re.sub(r".*no room here for: | \(--json has all.*", "", below[0]).split(", "))
        if below
        else not missing
    )
    assert {"run", "state", "step", "accuracy"} <= set(shown.split())


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("accuracy", ["good", "noisy/a", "low"]),
        ("loss", ["good", "noisy/a", "low"]),
        ("name", ["good", "low", "noisy/a"]),
        ("step", ["good", "low", "noisy/a"]),
        ("lr", ["low", "good", "noisy/a"]),
        ("noise", ["good", "low", "noisy/a"]),
        ("train_loss", ["good", "noisy/a", "low"]),
    ],
)
def test_runs_are_sorted(topa, three, key, names):
    done = topa("runs", three, "--sort", key, "--json")
    assert [run["name"] for run in json.loads(done.out)["runs"]] == names


def test_runs_that_lack_a_number_come_last(tmp_path):
    write_run(tmp_path / "a", until=0)
    log(tmp_path / "b", {"step": 1, "loss": 1.0})
    write_run(tmp_path / "c", lr=0.001)
    write_run(tmp_path / "d", adapted_layers=8)
    runs = find_runs([tmp_path])
    assert [run.name for run in ordered(runs)] == ["d", "c", "a", "b"]
    assert [run.name for run in ordered(runs, "train_loss")][-1] == "a"
    assert ordered(runs, "adapted_layers")[0].name == "d"
    assert [run.name for run in ordered(runs, "lr")] == ["c", "d", "a", "b"]


def test_an_unknown_key_is_answered_with_the_nearest(topa, three):
    done = topa("runs", three, "--sort", "rougel")
    assert done.code == 2
    assert "unknown key to sort by 'rougel'; did you mean 'rouge_l'?" in done.err


def test_json_tells_all(topa, three):
    run = json.loads(topa("runs", three / "good", "--json").out)["runs"][0]
    assert run["settings"] == SETTINGS
    assert (run["kind"], run["state"], run["step"], run["steps"], run["seconds"]) == (
        "align",
        "finished",
        400,
        400,
        840,
    )
    assert run["best"]["accuracy"] == {
        "value": run["result"]["best"]["accuracy"],
        "step": run["result"]["best"]["step"],
    }
    assert run["folder"] == str((three / "good").resolve())


def test_names_tell_runs_apart(three, tmp_path):
    assert [run.name for run in find_runs([three / "good"])] == ["good"]
    both = find_runs([three / "noisy", three])
    assert sorted(run.name for run in both) == sorted(
        [str(three / "noisy" / "a"), str(three / "good"), str(three / "low")]
    )
    write_run(tmp_path / "more" / "good")
    names = [run.name for run in find_runs([three / "good", tmp_path / "more" / "good"])]
    assert len(set(names)) == 2
    assert all(name.endswith("good") for name in names)


def test_no_run_there_is_an_error_that_says_what_was_found(topa, tmp_path):
    done = topa("runs", tmp_path / "none")
    assert (done.code, done.out) == (2, "")
    assert "none: found nothing there; expected a folder with runs" in done.err
    (tmp_path / "empty").mkdir()
    assert "found an empty folder; expected at least one run" in topa("runs", tmp_path / "empty").err
    (tmp_path / "other").mkdir()
    for k in range(6):
        (tmp_path / "other" / f"{k}.txt").touch()
    assert "found 0.txt, 1.txt, 2.txt, 3.txt ...; expected at least one run" in topa("runs", tmp_path / "other").err
    assert "0.txt: found a file; expected a folder" in topa("runs", tmp_path / "other" / "0.txt").err
    log(tmp_path / "begun")
    (tmp_path / "begun" / "metrics.jsonl").unlink()
    assert "run.json without metrics.jsonl beside it: a run that hasn't begun" in topa("runs", tmp_path / "begun").err
    with pytest.raises(InputError, match="empty"):
        find_runs([write_run(tmp_path / "run"), tmp_path / "empty"])


def test_a_run_without_a_step_is_listed_and_not_plotted(topa, tmp_path):
    log(tmp_path / "run")
    done = topa("runs", tmp_path)
    assert done.code == 0
    assert done.out.splitlines()[1].split() == ["run", "running", "0", "–"]
    done = topa("runs", tmp_path, "--out", tmp_path / "report")
    assert done.code == 2
    assert "run: no step is logged yet, so there is nothing to plot. Wait" in done.err
    assert not (tmp_path / "report").exists()
    log(tmp_path / "other", {"step": 0, "held_out": {"loss": 2.0}})  # measured before the first step
    assert topa("runs", tmp_path, "--out", tmp_path / "report").code == 0


def test_numbers_are_put_for_people():
    assert [duration(s) for s in (3.21, 59.96, 192, 1810, 7500, 360_000)] == [
        "3.2 s",
        "1 min 00 s",
        "3 min 12 s",
        "30 min",
        "2 h 05 min",
        "100 h 00 min",
    ]
    assert [decimal(v) for v in (2.3456, 0.00023456, 0.1)] == ["2.346", "0.0002346", "0.100"]
    assert [setting(v) for v in (5e-5, None, True, "a", [1, 2], 3)] == ["5e-05", "–", "true", "a", "[1, 2]", "3"]


def test_smoothing_keeps_length_mean_and_lines():
    assert smoothed([1, 2, 3, 4, 5], 1) == [1, 2, 3, 4, 5]
    assert smoothed([0, 3, 0, 3, 0, 3], 3) == [1.5, 1, 2, 1, 2, 1.5]
    assert smoothed([2.0] * 7, 5) == [2.0] * 7
    assert smoothed([], 5) == []


def drawn(figure) -> list[list[tuple[list[float], list[float]]]]:
    """The curves of each panel."""
    return [[(list(c.get_xdata()), list(c.get_ydata())) for c in axes.get_lines()] for axes in figure.axes]


def test_plots_draw_what_was_logged(tmp_path):
    run = read_run(write_run(tmp_path / "a", 1000))
    (rates, _) = drawn(plots.draw("schedule", [run], Look()))
    steps, values = rates[0]
    logged = dict(zip(run.get("lr").steps, run.get("lr").values, strict=True))
    assert len(steps) <= plots.POINTS + 1
    assert (steps[0], steps[-1]) == (1, 1000)
    assert values == [logged[step] for step in steps]
    (right, rouge) = drawn(plots.draw("held-out", [run], Look()))
    assert right[0][1] == [100 * value for value in run.get("held_out/accuracy").values]
    assert rouge[0][0] == list(range(0, 1001, 50))
    (curves,) = drawn(plots.draw("loss", [run], Look()))
    assert curves[-1] == (list(run.get("held_out/loss").steps), list(run.get("held_out/loss").values))
    heat = plots.draw("gates", [run], Look()).axes[0]
    assert heat.collections[0].get_array().shape == (32, 21)
    assert heat.get_ylim() == (-0.5, 31.5)
    assert heat.get_xlim() == (0, 1000)


def test_several_runs_are_drawn_over_each_other(three):
    runs = find_runs([three])
    figure = plots.draw("loss", runs, Look())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["good", "low", "noisy/a"]
    looks = {
        (line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"
    }
    assert len(looks) == 3
    assert len({str(Look().style(k)) for k in range(OVERLAID)}) == OVERLAID
    (ends,) = drawn(plots.draw("gates", runs, Look()))
    assert [curve[1][-1] for curve in ends] == [layers(run, "gates")[31].values[-1] for run in runs]


def test_any_name_stands_in_the_legend(tmp_path):
    names = ["$\\bad{$", "_private", "long" * 20]
    runs = [read_run(log(tmp_path / str(k), {"step": 1, "loss": 1.0}), name) for k, name in enumerate(names)]
    figure = plots.draw("loss", runs, Look())
    figure.savefig(io.BytesIO(), format="svg")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [
        "\\$\\bad{\\$",
        "_private",
        "..." + ("long" * 20)[-37:],
    ]


def test_a_loss_over_orders_of_magnitude_gets_a_logarithmic_axis(tmp_path):
    wide = read_run(log(tmp_path / "wide", *({"step": k, "loss": 10.0 * 0.9**k} for k in range(1, 60))))
    flat = read_run(log(tmp_path / "flat", *({"step": k, "loss": 1.0 + 0.9**k} for k in range(1, 60))))
    assert [plots.draw("loss", [run], Look()).axes[0].get_yscale() for run in (wide, flat)] == ["log", "linear"]


def test_the_report_is_asked_for_by_out(topa, tmp_path):
    for name in ("a", "b"):
        log(tmp_path / name, *({"step": k, "loss": 2.0 / k} for k in range(1, 4)))
    done = topa("runs", tmp_path, "--out", tmp_path / "report")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"report: {tmp_path / 'report' / 'report.html'}"
    assert {path.name for path in (tmp_path / "report").glob("[!.]*")} == {"report.html", "loss.png"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"topa runs {tmp_path} --out {tmp_path / 'report'}</code>" in page
    told = json.loads(topa("runs", tmp_path, "--out", tmp_path / "report", "--json").out)
    assert told["report"] == str(tmp_path / "report" / "report.html")


def test_the_report_is_plots_and_a_page(pages):
    folder = pages["several"].parent
    assert {path.name for path in folder.glob("[!.]*")} == {"report.html", *(f"{name}.png" for name in PLOTS)}
    for name in PLOTS:
        with Image.open(folder / f"{name}.png") as image:
            assert image.width == 2000
    page = pages["several"].read_text()
    assert "3 runs compared" in page
    assert "topa align --recipe llama2-7b --out one --set lr=0.005" in page
    assert all(f"<dt>{key}</dt>" in page for key in SETTINGS.keys() - {"llm", "lr", "seed"})
    assert all(f"<dt>{key}</dt>" in pages["one"].read_text() for key in SETTINGS)
    assert not re.search(r"https?://", page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_was_not_logged_is_not_drawn(tmp_path):
    run = read_run(log(tmp_path / "run", *({"step": k, "loss": 2.0 / k, "lr": 0.1} for k in range(1, 4))))
    page = write_report([run], tmp_path / "out", "topa runs run").read_text()
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == {"loss", "schedule"}
    assert "layer" not in page


def test_of_many_runs_the_first_are_drawn(tmp_path):
    for k in range(OVERLAID + 2):
        log(tmp_path / f"{k:02}", *({"step": s, "loss": 1.0} for s in (1, 2)))
    page = write_report(find_runs([tmp_path]), tmp_path / "out", "topa runs").read_text()
    assert f"Drawn are {OVERLAID} of {OVERLAID + 2} runs" in page


def test_without_matplotlib_the_extra_is_named(three, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install .*\[report\]'"):
        write_report(find_runs([three]), tmp_path / "out", "")


def test_names_are_words_and_nothing_else(topa, tmp_path):
    write_run(tmp_path / "[bold]x", 40, llm="[red]y")
    done = topa("runs", tmp_path)
    assert "[bold]x" in done.out
    assert "[red]y" in done.out


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "one")
    write_run(folder / ("averyverylongname" * 8), lr=0.001, seed=1, llm="averyverylongmodel" * 8)
    hostile = write_run(folder / "$\\x{$ [&]", 40)
    change(hostile / "run.json", kind=HOSTILE, command=HOSTILE, settings=SETTINGS | {"llm": HOSTILE, HOSTILE: HOSTILE})
    runs = find_runs([folder])
    return {
        "one": write_report([run for run in runs if run.name == "one"], folder / "a", "topa runs one"),
        "several": write_report(runs, folder / "b", "topa runs " + "long" * 60),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["one", "several"])
def test_the_page_opens_quietly_and_fits(browser, pages, name, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    trouble, requests = [], []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages[name].as_uri())
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shapes = page.evaluate("[...document.images].map(image => image.naturalWidth / image.naturalHeight)")
    assert len(shapes) == len(PLOTS)
    assert all((shape < 1.6) == (width < 700) for shape in shapes)  # phones get a drawing of their own
    image, paper = Image.open(_shot(page)), page.evaluate("getComputedStyle(document.body).backgroundColor")
    corner = image.convert("RGB").getpixel((2, 2))
    assert f"rgb{corner}" == paper  # the drawing's paper is the page's
    assert (corner[0] > 128) == (scheme == "light")
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def _shot(page):
    return io.BytesIO(page.locator("picture img").first.screenshot())
