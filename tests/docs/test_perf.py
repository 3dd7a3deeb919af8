"""The benchmarks still run: equal results first, then figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from topa.evals.catalogue import BENCHMARKS

PUBLISHED = {name for name in BENCHMARKS if not name.startswith("microworld")}
RUN = Path(__file__).parents[2] / "perf" / "run.py"


@pytest.mark.parametrize("path", sorted(RUN.parent.glob("*.json")), ids=lambda path: path.stem)
def test_kept_figures_are_a_record_a_line(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(RUN.parent)
    from measure import save_figures

    save_figures(tmp_path / "again.json", json.loads(path.read_text()))
    assert (tmp_path / "again.json").read_text() == path.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", ["options", "generation"])
def test_a_group_runs(group: str, tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--only", group, "--rounds", "1", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {group}
    assert all(row["ratio"] > 0 and row["ours"] > 0 for row in rows)
    assert len(done.stdout.splitlines()) == len(rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fine_tuning_runs(tmp_path: Path) -> None:
    script = RUN.with_name("finetuning.py")
    small = ["--videos", "8", "--test-videos", "4", "--seeds", "1", "--fractions", "0.5", "1", "--set", "epochs=1"]
    small += ["--align", "microworld_tideos=60", "--align", "epochs=1", "--align", "validation=5"]
    command = [sys.executable, str(script), str(tmp_path / "out"), *small, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "figures.json").read_text())
    assert len(told["rows"]) == 2 + 2 * 2 + 3 * 2
    assert {row["groups"] for row in told["rows"]} == {4}
    assert len(done.stdout.splitlines()) == 2 + 2 * 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bridges_are_measured_once(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, str(RUN.with_name("bridges.py")), "--out", str(tmp_path / "out"), "--seeds", "1",
        "--only", "Bridges: raw", "--json", str(figures),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = figures.read_bytes()
    rows = {row["name"]: row for row in json.loads(first)["rows"]}
    assert rows.keys() == {"projected", "raw: no bridge"}
    assert rows["raw: no bridge"]["difference"]["high"] < -0.3
    assert rows["raw: no bridge"]["distribution"] > 3 * rows["projected"]["distribution"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "aligning" not in again.stderr + again.stdout
    assert figures.read_bytes() == first


@pytest.mark.slow
def test_stores_are_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("stores.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--quick", "--rounds", "1", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["group"] for row in json.loads(kept.read_text())} == {"reads", "open", "memory", "near"}


def test_the_kept_figures_of_stores_reach_what_they_must() -> None:
    kept = json.loads(RUN.with_name("stores.json").read_text())
    figures = {(row["group"], row["what"]): row["value"] for row in kept}
    assert figures["reads", "ours, 256 at a time"] >= 40_000
    assert figures["open", "store and Tideos, opened"] < 2
    assert figures["open", "memory in use then"] < 500
    assert figures["memory", "opened"] < 1


@pytest.mark.slow
def test_loading_is_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("loading.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--share", "0.003", "--rounds", "1", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(kept.read_text())
    assert {row["benchmark"] for row in rows} == PUBLISHED
    assert all(row["records"] >= 4 for row in rows)


def test_the_kept_figures_of_loading_reach_what_they_must() -> None:
    rows = json.loads(RUN.with_name("loading.json").read_text())
    assert {row["benchmark"] for row in rows} == PUBLISHED
    assert {row["files"]: row["records"] for row in rows}["STAR, val"] == 7098
    assert max(max(row["seconds"], row["processor_seconds"]) for row in rows) < 3


@pytest.mark.slow
def test_scoring_is_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("scoring.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--questions", "60", "--sample", "2", "--rounds", "1", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(kept.read_text())
    assert figures["questions"] == 60
    assert figures["ratio"] > figures["ratio_trimmed"] > 0


def test_the_kept_figures_of_scoring_reach_what_they_must() -> None:
    figures = json.loads(RUN.with_name("scoring.json").read_text())
    assert (figures["questions"], figures["options"]) == (5_000, 5)
    assert figures["ratio"] >= 20
    resident = list(figures["resident_mb"].values())
    assert max(resident) < 1.05 * resident[0]


@pytest.mark.slow
def test_scores_of_captions_are_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("captioning.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--videos", "60", "--references", "5", "--rounds", "1", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(kept.read_text())
    assert {row["what"] for row in told["rows"]} >= {"BLEU-1 to 4, ROUGE-L and CIDEr-D"}
    assert all(row["ours"] > 0 for row in told["rows"])


def test_the_kept_figures_of_captions_reach_what_they_must() -> None:
    told = json.loads(RUN.with_name("captioning.json").read_text())
    assert (told["videos"], told["references"]) == (3000, 20)
    ratios = {row["what"]: row["toolkit"] / row["ours"] for row in told["rows"] if row["toolkit"]}
    assert ratios["BLEU-1 to 4, ROUGE-L and CIDEr-D"] >= 5


@pytest.mark.slow
def test_search_is_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("search.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--frames", "4000", "--rounds", "1", "--no-compressed", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(kept.read_text())
    assert told["frames"] == 4000
    assert {row["threads"] for row in told["rows"]} == {1, 2}


def test_the_kept_figures_of_search_reach_what_they_must() -> None:
    told = json.loads(RUN.with_name("search.json").read_text())
    assert (told["frames"], told["width"]) == (1_000_000, 768)
    figures = {(row["threads"], row["what"]): row["value"] for row in told["rows"] if row["way"] == "exact"}
    # Of one thread: two were measured on two cores that eight other processes wanted.
    assert figures[1, "one query, median"] < 1
    assert figures[2, "resident at most, mapped pages with it"] < 2000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_evidence_is_measured(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [
        sys.executable,
        str(RUN.with_name("evidence.py")),
        "--videos",
        "12",
        "--rounds",
        "1",
        "--json",
        str(kept),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(kept.read_text())
    shares = {row["measure"]: row["share"][0] for row in told["rows"] if row["part"] == "all"}
    assert shares["leave-one-out"] > 2 * shares["chance"]
    assert told["speed"]["ratio"]["a whole run per frame, from the file"] > 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_long_videos_are_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("long.py"), tmp_path / "figures.json"
    command = [sys.executable, str(script), "--videos", "3", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(kept.read_text())
    assert {"uniform", "question", "hierarchical", "the story alone"} <= {row["name"] for row in figures["rows"]}
    assert len(done.stdout.splitlines()) == 2 + len(figures["rows"])
    assert all(row["accuracy"]["questions"] == figures["questions"] for row in figures["rows"])


def test_the_kept_figures_of_long_videos_say_what_the_guide_says() -> None:
    rows = {row["name"]: row for row in json.loads(RUN.with_name("long.json").read_text())["rows"]}
    assert min(row["accuracy"]["groups"] for row in rows.values()) >= 100
    for way in ("question", "hierarchical"):
        assert rows[way]["difference"]["low"] > 0
    assert rows["the story alone"]["accuracy"]["low"] > rows["hierarchical"]["accuracy"]["high"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_asking_is_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("asking.py"), tmp_path / "figures.json"
    command = [
        sys.executable, str(script), "--questions", "10", "--rounds", "1", "--processes", "1", "--json", str(kept),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(kept.read_text())
    assert figures["questions"] == 10
    assert figures["hundred"]["ratio"] > 1
    assert figures["processes"]["ratio"] > 1


def test_the_kept_figures_of_asking_reach_what_they_must() -> None:
    figures = json.loads(RUN.with_name("asking.json").read_text())
    assert figures["questions"] == 100
    assert figures["uniform"]["ratio"] < 1.15
    assert figures["hundred"]["ratio"] >= 10
    assert figures["processes"]["ratio"] >= 10


@pytest.mark.slow
def test_a_library_is_measured(tmp_path: Path) -> None:
    script, kept = RUN.with_name("library.py"), tmp_path / "figures.json"
    for figure in ("indexing", "again"):
        command = [sys.executable, str(script), "--only", figure, "--rounds", "1", "--files", "20", "--json", str(kept)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert [row["figure"] for row in json.loads(kept.read_text())["rows"]] == ["indexing", "indexing", "again"]


def test_the_kept_figures_of_a_library_reach_what_they_must() -> None:
    rows = json.loads(RUN.with_name("library.json").read_text())["rows"]
    again = next(row for row in rows if row["figure"] == "again")
    assert "10,000 files" in again["what"]
    assert again["ours"] < 5
    ratios = {row["what"].rpartition(", ")[2]: row["ratio"] for row in rows if row["figure"] == "indexing"}
    # Of the processor: the wall time was measured on two cores that many other processes shared.
    assert ratios["processor time"] >= 1 / 1.2


@pytest.mark.slow
def test_retrieval_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(RUN.with_name("retrieval.py")), "--out", str(tmp_path / "out"), "--videos", "32"]
    command += ["--tideos", "60", "--cameras", "clean", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(figures.read_text())["rows"]
    assert {row["name"] for row in rows if row["part"] == "search"} == {"raw", "centred", "projected"}
    assert len([row for row in rows if row["part"] == "when"]) == 6 * 3


def test_the_kept_figures_of_retrieval_stand_behind_the_default() -> None:
    from topa.library.similarity import DEFAULT

    rows = [row for row in json.loads(RUN.with_name("retrieval.json").read_text())["rows"] if row["camera"] == "clean"]
    found = {(row["queries"], row["name"]): row["figures"] for row in rows if row["part"] == "search"}
    timed = {row["name"]: row for row in rows if row["part"] == "when" and row["queries"] == "scene"}
    assert found["scene", DEFAULT]["video recall@1"]["value"] == 1
    toys = {name: figures["video recall@5"]["value"] for (kind, name), figures in found.items() if kind == "toy"}
    assert toys[DEFAULT] == max(toys.values())
    assert timed[DEFAULT]["over random"]["low"] > 0.3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_serving_is_measured(tmp_path: Path) -> None:
    small = ["--seconds", "3", "--memory", "100", "--alone", "10", "--rounds", "1", "--round-seconds", "1"]
    kept = tmp_path / "figures.json"
    command = [sys.executable, str(RUN.with_name("serving.py")), *small, "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(kept.read_text()).keys() == {"alone", "load", "memory", "batching", "overload", "machine"}


def test_the_kept_figures_of_serving_reach_what_they_must() -> None:
    kept = json.loads(RUN.with_name("serving.json").read_text())
    load, memory = kept["load"], kept["memory"]
    assert (load["clients"], load["seconds"]) == (64, 60)
    assert set(load["statuses"]) <= {"200", "429"}
    assert load["equal_to_the_engine"] == load["statuses"]["200"]
    assert memory["requests"] == 5000
    resident = memory["megabytes_after_each_fifth"]
    assert max(resident) < 1.05 * min(resident)
    assert kept["batching"]["mixture"]["ratio"] >= 3
    assert kept["overload"]["statuses"].keys() == {"200", "429"}
