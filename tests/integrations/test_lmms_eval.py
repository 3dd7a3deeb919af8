"""topa in the real lmms-eval, on the example's tasks: `make test-lmms-eval`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import UsageError
from topa.microworld.writer import make_videos

from .harness import broken

pytestmark = pytest.mark.lmms_eval
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the harness keeps its data sets: not in the developer's home."""
    home = tmp_path_factory.mktemp("home")
    os.environ |= {"HF_HOME": str(home), "HF_DATASETS_OFFLINE": "1"}
    return home


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, micro_model: Path, home: Path) -> Path:
    """A working folder as the tutorial has it: the demo's questions and videos, its model, and the example's tasks."""
    folder = tmp_path_factory.mktemp("work")
    make_videos(folder / "topa-demo", 3, 41, show=False)
    (folder / "topa-demo" / "model-0").symlink_to(micro_model)
    for file in (ROOT / "examples" / "lmms-eval").iterdir():
        shutil.copy(file, folder / "topa-demo")
    return folder


@pytest.fixture
def spoilt(folder: Path, tmp_path: Path) -> Path:
    """The same tasks, with one video that can't be read and one that isn't there, whose right options come first."""
    data = shutil.copytree(folder / "topa-demo", tmp_path / "data", symlinks=True)
    questions = [json.loads(line) for line in (data / "questions.jsonl").read_text().splitlines()]
    ruined = sorted({question["video"] for question in questions})[:2]
    (data / ruined[0]).write_bytes(broken(tmp_path).read_bytes())
    (data / ruined[1]).unlink()
    for question in questions:
        if question["video"] in ruined:
            right = question["options"].pop(question["answer"])
            question |= {"options": [right, *question["options"]], "answer": 0}
    (data / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    return data


def asked(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "questions.jsonl").read_text().splitlines()]


def evaluate(model: object, data: Path, tasks: list[str], **options: Any) -> dict[str, Any]:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(data), include_defaults=False)
    return simple_evaluate(model=model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **options)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def results(out: Path) -> dict[str, Any]:
    (file,) = out.glob("**/*results.json")
    return json.loads(file.read_text())


def test_the_command_of_the_tutorial(folder: Path) -> None:
    """As it stands there; the model is found by the entry point."""
    page = ROOT / "docs" / "tutorials" / "lmms-eval.md"
    (command,) = re.findall(r"^python (-m lmms_eval .*)$", page.read_text(), re.MULTILINE)
    printed = run(shlex.split(command), folder)
    found = results(folder / "lmms-results")
    for task, metric in (("topa_choice", "acc"), ("topa_open", "same_words")):
        assert re.search(rf"\|{task} *\|.*\|{metric} *\|", printed), printed
        assert found["n-samples"][task] == {"original": 18, "effective": 18}
    assert found["lmms_eval_version"] is not None
    assert found["config"]["model_backend"] == "topa.integrations.lmms_model.TopaModel (simple)"


def test_the_choice_is_the_engines_own(folder: Path, micro_model: Path) -> None:
    """The harness takes the lowest loss: were it told log-likelihoods, it would choose the least likely option."""
    from topa.integrations.lmms_model import TopaModel

    engine = Topa.from_pretrained(micro_model, resolve=resolve)
    data = folder / "topa-demo"
    found = evaluate(TopaModel(engine, batch_size=4), data, ["topa_choice", "topa_open"])
    questions = asked(data)
    for sample in found["samples"]["topa_choice"]:
        question = questions[sample["doc_id"]]
        own = engine.ask(data / question["video"], question["question"], question["options"])
        assert sample["acc"] == float(own.choice == question["answer"])
        assert [loss for loss, _ in sample["filtered_resps"]] == pytest.approx(list(own.scores), abs=1e-4)
    for sample in found["samples"]["topa_open"]:
        question = questions[sample["doc_id"]]
        assert sample["filtered_resps"] == [engine.ask(data / question["video"], question["question"]).text]
    right = [sample["acc"] for sample in found["samples"]["topa_choice"]]
    assert len(right) == len(questions) == 18
    assert found["results"]["topa_choice"]["acc,none"] == pytest.approx(sum(right) / 18)


def test_protocols_by_name(folder: Path, micro_model: Path) -> None:
    from topa.integrations.lmms_model import TopaModel

    data = folder / "topa-demo"
    by = {}
    for protocol in ("logits", "selection"):
        model = TopaModel(str(micro_model), protocol=protocol, batch_size="auto", device="cpu")
        (by[protocol],) = evaluate(model, data, ["topa_choice"], limit=1)["samples"]["topa_choice"]
        (question,) = asked(data)[:1]
        answer = model.engine.ask(
            data / question["video"], question["question"], question["options"], protocol=protocol
        )
        losses = [loss for loss, _ in by[protocol]["filtered_resps"]]
        assert losses == pytest.approx(list(answer.scores), abs=1e-4)
    assert by["logits"]["filtered_resps"] != by["selection"]["filtered_resps"]


def test_a_video_that_cannot_be_read_is_wrong_and_nothing_stops(
    spoilt: Path, micro_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from loguru import logger

    from topa.integrations.lmms_model import TopaModel

    told: list[str] = []
    sink = logger.add(told.append, level="WARNING", format="{message}")
    found = evaluate(TopaModel(str(micro_model), batch_size=5), spoilt, ["topa_choice", "topa_open"])
    logger.remove(sink)
    questions = asked(spoilt)
    whole = questions[-1]["video"]
    for task, metric in (("topa_choice", "acc"), ("topa_open", "same_words")):
        samples = found["samples"][task]
        assert len(samples) == len(questions)
        assert [s[metric] for s in samples if questions[s["doc_id"]]["video"] != whole] == [0.0] * 12
        assert any(s[metric] == 1 for s in samples)
        named = [line for line in told if line.startswith(f"no answer, counted wrong: {task}, document")]
        assert len(named) == 2
    assert sum(line.startswith("12 of 18 have no answer") for line in told) == 2


def test_two_processes_ask_each_question_once(folder: Path, micro_model: Path, tmp_path: Path) -> None:
    """17 questions, so that the harness pads the share of one of them."""
    from topa.integrations.lmms_model import TopaModel

    launched = "-m torch.distributed.run --standalone --nproc-per-node 2 -m lmms_eval --model topa"
    told = "--model_args pretrained=topa-demo/model-0 --include_path topa-demo --tasks topa_choice --limit 17"
    run([*shlex.split(launched), *shlex.split(told), "--log_samples", "--output_path", str(tmp_path)], folder)
    (file,) = tmp_path.glob("**/*samples*.jsonl")
    numbers = [json.loads(line)["doc_id"] for line in file.read_text().splitlines()]
    assert sorted(numbers) == list(range(17))
    alone = evaluate(TopaModel(str(micro_model)), folder / "topa-demo", ["topa_choice"], limit=17)
    two, one = (found["results"]["topa_choice"]["acc,none"] for found in (results(tmp_path), alone))
    assert two == pytest.approx(one)


def test_rounds_are_refused(micro_model: Path) -> None:
    from topa.integrations.lmms_model import TopaModel

    with pytest.raises(NotImplementedError, match="one question at a time"):
        TopaModel(str(micro_model)).generate_until_multi_round([object()])


@pytest.mark.parametrize("size", ["0", "many", -1])
def test_a_batch_size_that_is_none_is_refused(size: object) -> None:
    from topa.integrations.lmms_model import TopaModel

    with pytest.raises(UsageError, match="batch_size: found"):
        TopaModel(batch_size=size)


def test_the_manifest_loads_nothing_of_topas_models() -> None:
    """The harness calls it at every start, whatever model is meant."""
    code = "import sys, lmms_eval.models as m; print(m.get_model_manifest('topa').simple_class_path, *sys.modules)"
    path, *modules = run(["-c", code], ROOT).split()
    own = {module for module in modules if module.split(".")[0] == "topa"}
    assert path == "topa.integrations.lmms_model.TopaModel"
    assert own == {"topa", "topa.integrations", "topa.integrations.lmms_manifest"}
