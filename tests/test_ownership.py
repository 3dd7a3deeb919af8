"""What isn't ours stays: every verb in a folder full of somebody else's files, and no module that goes its own way.

The names are those that the verb itself has written a moment ago, so that none can be forgotten.
"""

from __future__ import annotations

import ast
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from tests.features.towers import save_clip
from tests.models import backbones
from tests.tideos.servers import good, serving

from topa.cli import app
from topa.core.artifacts import RECORD
from topa.core.locks import LOCK
from topa.features.encoder import Encoder
from topa.memory.bank import MemoryBank

SOURCE = Path(__file__).parents[1] / "src" / "topa"
NEVER_WRITTEN = {LOCK, "ledger.sqlite.export"}
"""Locks: their content doesn't matter, and stays; see tests/core/test_locks.py."""
SILENT = {
    "ask": "answers on stdout",
    "caption": "answers on stdout",
    "search": "answers on stdout",
    "when": "answers on stdout",
    "config": "answers on stdout",
    "serve": "keeps uploads in a temporary folder of its own",
    "memory inspect": "answers on stdout",
}
"""Verbs that write no file where a user says, and why."""
QUESTION = "what colour is the toy at the end ?"


@dataclass(frozen=True)
class Case:
    """How a verb is called, from a folder of inputs and an output. file: where the output is one."""

    words: Callable[[Path, Path], list[object]]
    file: str | None = None

    def out(self, folder: Path) -> Path:
        return folder if self.file is None else folder / self.file


SMALL = ["--set", "microworld_tideos=30", "--set", "epochs=1", "--set", "validation=4"]
TUNE = [
    "--recipe",
    "microworld",
    "--set",
    "held_out=0.25",
    "--set",
    "epochs=1",
    "--set",
    "batch_size=6",
    "--set",
    "validation=4",
]
CASES = {
    "demo": Case(lambda i, o: ["demo", "--quick", "--out", o]),
    "adapt": Case(lambda i, o: ["adapt", *[i / "video.mp4"] * 30, "--model", i / "model", "--out", o]),
    "explain": Case(lambda i, o: ["explain", i / "video.mp4", QUESTION, "--model", i / "model", "--out", o]),
    "index": Case(lambda i, o: ["index", i / "labelled" / "videos", "--encoder", "microworld/clip", "--out", o]),
    "seeds": Case(lambda i, o: ["seeds", "--kind", "text", i / "texts.txt", "--out", o], "seeds.jsonl"),
    "generate": Case(lambda i, o: ["generate", "--limit", 5, "--out", o]),
    "generate, asked": Case(
        lambda i, o: [
            "generate",
            "--seeds",
            i / "seeds.jsonl",
            "--base-url",
            "URL",
            "--model",
            "m",
            "--yes",
            "--out",
            o,
        ]
    ),
    "merge": Case(lambda i, o: ["merge", o]),
    "export": Case(
        lambda i, o: ["export", i / "set" / "tideos.jsonl", "--format", "parquet", "--out", o], "tideos.parquet"
    ),
    "export, jsonl": Case(
        lambda i, o: ["export", i / "set" / "tideos.jsonl", "--format", "jsonl", "--out", o], "t.jsonl"
    ),
    "clean": Case(lambda i, o: ["clean", i / "set" / "tideos.jsonl", "--near", 1, "--out", o]),
    "card": Case(lambda i, o: ["card", i / "set" / "tideos.jsonl", "--out", o]),
    "encode": Case(lambda i, o: ["encode", i / "set", "--encoder", "microworld/clip", "--out", o]),
    "encode, videos": Case(
        lambda i, o: ["encode", i / "labelled" / "videos", "--encoder", "microworld/clip", "--workers", 1, "--out", o]
    ),
    "align": Case(lambda i, o: ["align", "--recipe", "microworld", *SMALL, "--out", o]),
    "finetune": Case(
        lambda i, o: [
            "finetune",
            "--model",
            i / "model",
            "--data",
            i / "labelled" / "questions.jsonl",
            *TUNE,
            "--bridge",
            "projected",
            "--out",
            o,
        ]
    ),
    "runs": Case(lambda i, o: ["runs", i / "model", "--out", o]),
    "evaluate": Case(
        lambda i, o: ["evaluate", "own", "--data", i / "labelled", "--model", i / "model", "--baselines", "--out", o]
    ),
    "compare": Case(lambda i, o: ["compare", i / "evaluated", i / "evaluated-again", "--out", o]),
    "reproduce": Case(lambda i, o: ["reproduce", "paper", "--out", o]),
    "import checkpoint": Case(
        lambda i, o: [
            "import",
            "checkpoint",
            "--backbone",
            i / "llama",
            "--adapter",
            i / "checkpoint.pth",
            "--encoder",
            i / "clip",
            "--memory",
            i / "memory",
            "--out",
            o,
        ]
    ),
    "import textvid": Case(lambda i, o: ["import", "textvid", i / "textvid.json", i / "published", "--out", o]),
    "import memory": Case(lambda i, o: ["import", "memory", i / "memory.pkl", "--out", o]),
    "memory build": Case(lambda i, o: ["memory", "build", i / "store", "--rows", 20, "--out", o]),
}
SLOW = {"demo", "align", "finetune", "adapt", "runs"}
"""Those that train, read many videos or draw many plots when they run to their ends."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, micro_model: Path, micro_video: Path) -> Path:
    """All that verbs read, by other means than the verbs themselves."""
    from topa.evals.evaluate import Evaluation, evaluate
    from topa.features.encode import Plan, encode
    from topa.microworld.writer import make_videos, write_tideos
    from topa.tideos.assemble import assemble

    made = tmp_path_factory.mktemp("inputs")
    shutil.copytree(micro_model, made / "model")
    shutil.copyfile(micro_video, made / "video.mp4")
    (made / "texts.txt").write_text("a man cooks\na dog runs\n")
    (made / "seeds.jsonl").write_text('{"id": "s", "kind": "webvid", "text": "clip"}\n')
    make_videos(made / "labelled", 4, 7, show=False)
    (made / "set").mkdir()
    assemble(write_tideos(8, 0), made / "set", seed=0, show=False)
    encode(Plan((made / "set" / "tideos.jsonl",), made / "store", "microworld/clip"), show=False)
    for name in ("evaluated", "evaluated-again"):
        evaluate(Evaluation("own", made / name, made / "labelled", model=made / "model", workers=1), show=False)
    (made / "published").mkdir()
    (made / "published" / "a.pkl").write_bytes(pickle.dumps(torch.randn(2, 768)))
    asked = {"question": "what ?", "options": ["x", "y"], "answer": "B"}
    record = {"idx": "a", "frames": [{"caption": "a", "object": "x"}], "QAs": [asked], "global_video_caption": "d"}
    (made / "textvid.json").write_text(json.dumps([record]))
    (made / "memory.pkl").write_bytes(pickle.dumps(torch.randn(5, 768)))
    (made / "llama").mkdir()
    backbones.sentencepiece_model(made / "llama")
    from topa.models.meta import meta_tokenizer

    model = backbones.llama(len(meta_tokenizer(made / "llama")))
    backbones.meta_folder(made / "llama", model, rope_theta=None)
    backbones.released_adapter(made / "checkpoint.pth", model, llama2=True, llama3=False)
    encoder = Encoder.from_pretrained(save_clip(made / "clip", width=8))
    MemoryBank(encoder.encode_texts(["a ball"]), encoder.identity, ("a ball",)).save(made / "memory")
    return made


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving(good) as (url, _):
        yield url


@pytest.fixture
def call(topa: Callable[..., Any], inputs: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    from topa.demo import Scale

    small = Scale(videos=2, settings=("microworld_tideos=30", "epochs=1", "validation=0", "memory_rows=60"))
    monkeypatch.setattr(Scale, "quick", lambda: small)

    def run(case: Case, folder: Path) -> Any:
        words = case.words(inputs, case.out(folder))
        return topa(*(endpoint if word == "URL" else word for word in words))

    return run


def prepared(name: str, folder: Path) -> Path:
    """A folder for a verb; for merge with the shards that it is to merge."""
    folder.mkdir()
    if name == "merge":
        from topa.microworld.generate import write_microworld
        from topa.tideos.generate import GenerationPlan
        from topa.tideos.shards import ShardSpec

        for number in range(2):
            write_microworld(GenerationPlan(folder, "microworld", part=ShardSpec(number, 2), limit=6), show=False)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for locks and records."""
    return {name: data for name, data in contents(folder).items() if Path(name).name not in {RECORD, *NEVER_WRITTEN}}


def leaves(command: Any, name: str = "") -> Iterator[str]:
    for own, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:  # the old name of a verb
            yield from leaves(inner, f"{name} {own}".strip())
    if not hasattr(command, "commands"):
        yield name


def test_every_verb_is_here():
    """A new verb is walked, or says why it needn't be."""
    walked = {name.partition(",")[0] for name in CASES}
    assert not walked & SILENT.keys()
    assert walked | SILENT.keys() == set(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_what_is_somebody_elses_stays(call, name, tmp_path):
    case = CASES[name]
    folder = prepared(name, tmp_path / "made")
    before = visible(folder)
    result = call(case, folder)
    assert result.code == 0, result.err
    names = sorted(visible(folder).keys() - before.keys())
    assert names
    again = call(case, folder)
    assert again.code == 0, again.err
    for number, some in enumerate([names, *([one] for one in names), [str(Path(names[0]).with_name(RECORD))]]):
        refused(call, case, prepared(name, tmp_path / str(number)), some)


def refused(call: Callable[..., Any], case: Case, folder: Path, names: list[str]) -> None:
    """The verb refuses a folder with files of these names, says which and what to do, and changes nothing."""
    for one in names:
        (folder / one).parent.mkdir(parents=True, exist_ok=True)
        (folder / one).write_text(f"somebody else's {one}")
    before = visible(folder)
    records = [folder / one for one in names if Path(one).name == RECORD]
    result = call(case, folder)
    assert result.code in (1, 2), (names, result.out, result.err)
    message = result.err.replace("\n", "")
    assert any(Path(one).parts[0] in message for one in names), (names, result.err)
    assert "another" in message, result.err
    assert visible(folder) == before, names
    assert all(path.read_text().startswith("somebody else's") for path in records)


STATIC = {
    "demo": ("report.html", "demo.json", "tideos.jsonl", "videos/micro-1.mp4", "model-0/config.json"),
    "align": ("tideos.jsonl", "metrics.jsonl", "README.md", "best/adapter.safetensors", "features/index.safetensors"),
    "finetune": ("metrics.jsonl", "run.json", "left-out.json", "features/part-0/run.json", "memory.safetensors"),
    "runs": ("report.html", "loss.png"),
    "adapt": ("shift.safetensors", "config.json", "manifest.json"),
}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_those_that_take_long_refuse_at_once(call, name, tmp_path):
    for number, one in enumerate(STATIC[name]):
        refused(call, CASES[name], prepared(name, tmp_path / str(number)), [one])


def test_a_file_beside_the_users_tideos_is_left_alone(topa, inputs, tmp_path):
    """What lies beside Tideos to find them quickly isn't worth refusing them: without a place for it, all works."""
    tideos = shutil.copyfile(inputs / "set" / "tideos.jsonl", tmp_path / "mine.jsonl")
    beside = tmp_path / "mine.jsonl.index"
    beside.write_text("my own index")
    store = ("memory", "build", inputs / "store", "--rows", 5, "--tideos", tideos, "--out", tmp_path / "memory")
    assert topa(*store).code == 0
    assert beside.read_text() == "my own index"
    assert {path.name for path in tmp_path.iterdir()} == {"mine.jsonl", "mine.jsonl.index", "memory"}


WRITERS = {
    "core/artifacts.py": "the one place",
    "core/record.py": "the record itself",
    "core/resources.py": "/proc",
    "features/decoding.py": "/proc",
    "tideos/ledger.py": "a database, claimed first, and locks of its owners",
    "core/locks.py": "locks",
    "features/captions.py": "a database, claimed first",
    "tideos/duplicates.py": "a database without a name",
    "training/trackers.py": "TensorBoard's and W&B's files, whose names no other file has",
    "serving/uploads.py": "a temporary folder of the server's own",
    "microworld/build.py": "no verb: transformers saves the micro models",
    "microworld/train_clip.py": "no verb: transformers saves the micro models",
    "microworld/train_llm.py": "no verb: transformers saves the micro models",
    "microworld/render.py": "FFmpeg writes into a file that was opened there",
}
"""Modules that write or remove files without `core.artifacts`, and why they may."""
_METHODS = {"write_text", "write_bytes", "unlink", "rmdir", "mkdir", "touch", "symlink_to", "hardlink_to", "rename"}
_METHODS |= {"rmtree", "copyfile", "copytree", "copy2", "makedirs", "removedirs", "save_file", "savez", "tofile"}
_METHODS |= {"mkstemp", "SummaryWriter"}
_OF_OS = {"remove", "replace", "open", "link", "truncate"}


def writes(source: str) -> Iterator[str]:
    """Calls in a module's source that write, replace or remove files, as far as names tell."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _writes(node):
            yield f"{node.lineno}: {ast.unparse(node.func)}"


def _writes(call: ast.Call) -> bool:
    called = call.func
    name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
    owner = ast.unparse(called.value) if isinstance(called, ast.Attribute) else ""
    if name in _METHODS or (owner == "os" and name in _OF_OS):
        return True
    if name == "replace":  # of a path: texts have two arguments, dataclasses' function has keywords
        return bool(owner) and len(call.args) == 1 and not call.keywords
    if name == "savefig":
        return ast.unparse(call.args[0]) != "buffer"
    if name == "connect":
        return owner == "sqlite3"
    modes = [ast.unparse(word.value) for word in call.keywords if word.arg == "mode"]
    modes += [ast.unparse(argument) for argument in call.args]
    return name == "open" and any(re.fullmatch(r"'[rbt]*[wxa+][rwxabt+]*'", mode) for mode in modes)


def test_no_other_module_writes_or_removes_files():
    breaches = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name not in WRITERS and (calls := list(writes(path.read_text(encoding="utf-8")))):
            breaches[name] = calls
    assert not breaches


@pytest.mark.parametrize("name", WRITERS)
def test_the_list_of_those_that_may_is_no_longer_than_it_must_be(name):
    source = (SOURCE / name).read_text(encoding="utf-8")
    assert list(writes(source)) or "save_pretrained(" in source


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('x')",
        "path.unlink()",
        "open(path, 'w')",
        "path.open('ab')",
        "shutil.rmtree(path)",
        "os.replace(a, b)",
        "figure.savefig(path)",
        "sqlite3.connect(path)",
        "beside.rename(final)",
        "path.open(mode='x')",
    ],
)
def test_what_writes_is_recognised(line):
    assert list(writes(line))
