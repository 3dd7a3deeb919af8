"""The loop: it learns, it goes on to the bit, and what isn't a number stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.tiny import model as tiny_model
from topa.core.errors import ArtifactError, OutputError, UsageError
from topa.core.locks import exclusive
from topa.core.processes import Processes
from topa.models.inputs import ModelInputs
from topa.training import checkpoint, loop
from topa.training.data import Mix, collate, epoch_batches
from topa.training.loop import NotFinite, Watch, train
from topa.training.optimiser import parameter_groups, schedule
from topa.training.prepare import prepare
from topa.training.reading import compute_loss
from topa.training.validation import HeldOut, validate

from .small import config, model, prompter, samples

QUIET = Watch(show=False)


def run(out: Path, **changes):
    made = model()
    held = samples(8)
    return made, train(made, prompter(), samples(), config(**changes), out, held_out=held, watch=QUIET)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def steps(out: Path) -> list[dict]:
    """The rows of training, without those of validation and gates."""
    return [row for row in rows(out) if "loss" in row]


def state(made) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.adapter_state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def batch_of(made, size: int = 4):
    return next(epoch_batches(samples(), prompter(), Mix(1, 1, 1), batch_size=size, seed=0, epoch=0))


def test_the_loss_falls_and_the_frames_are_read(tmp_path):
    made, result = run(tmp_path, epochs=40, lr=0.1, choose=0.0, answer=1.0, describe=0.0)
    losses = [row["loss"] for row in steps(tmp_path)]
    assert len(losses) == result.steps == 120
    assert losses[-1] < losses[0] / 2
    (seen,) = epoch_batches(samples(), prompter(), Mix(0, 1, 0), batch_size=12, seed=0, epoch=0)
    blind = replace(seen, frames=torch.zeros_like(seen.frames))
    assert compute_loss(made, seen) < compute_loss(made, blind) - 0.3


def test_the_loss_is_that_of_the_targets_alone():
    made, batch = model(), batch_of(model())
    logits = made(
        ModelInputs(
            batch.ids,
            frames=batch.frames,
            frame_valid=batch.frame_valid,
            is_slot=batch.is_slot,
            attention_mask=batch.visible,
        )
    )
    logs = logits.log_softmax(-1)
    picked = [-logs[r, c, t] for r, c, t in zip(batch.rows, batch.columns, batch.targets, strict=True)]
    assert compute_loss(made, batch).item() == pytest.approx(torch.stack(picked).mean().item(), rel=1e-5)


def test_metrics_tell_every_step(tmp_path):
    _, result = run(tmp_path)
    found = steps(tmp_path)
    assert [row["step"] for row in found] == list(range(1, 10))
    assert [row["epoch"] for row in found] == [0] * 3 + [1] * 3 + [2] * 3
    for row in found:
        assert row["lr"] > 0
        assert row["gradient_norm"] > 0
        assert row["tokens"] > row["samples"] == 4
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"], rel=0.1)
        assert 0 <= row["wait"] <= row["seconds"]
    held = [row for row in rows(tmp_path) if "held_out" in row]
    assert [row["step"] for row in held] == [3, 6, 9]
    assert held[-1]["held_out"] == result.held_out.as_json()
    gates = [row for row in rows(tmp_path) if "gates" in row]
    assert [row["step"] for row in gates] == [0, 3, 6, 9]
    assert gates[0]["gates"] == [0.0] * 3
    assert min(gates[-1]["gates"]) > 0
    assert json.loads((tmp_path / "result.json").read_text()) == result.as_json()


def test_the_same_run_gives_the_same_weights(tmp_path):
    first, _ = run(tmp_path / "a", noise=0.3)
    second, _ = run(tmp_path / "b", noise=0.3)
    other, _ = run(tmp_path / "c", noise=0.3, seed=1)
    assert equal(state(first), state(second))
    assert not equal(state(first), state(other))


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 10, 200])
def test_the_schedule_rises_then_falls_to_zero(steps, warmup):
    shares = [schedule(step, steps, warmup) for step in range(steps)]
    warm = max(1, round(warmup * steps))
    assert shares[:warm] == pytest.approx([(i + 1) / warm for i in range(warm)])
    assert max(shares) == shares[warm - 1] == 1
    assert all(a >= b for a, b in zip(shares[warm - 1 :], shares[warm:], strict=False))
    assert min(shares) > 0
    assert schedule(steps, steps, warmup) == pytest.approx(0, abs=1e-9) or steps == warm
    if steps == 200 and warmup == 0.5:
        assert shares[150] == pytest.approx(0.5)


def test_every_trainable_parameter_is_in_one_group_and_no_other():
    made = model()
    groups = parameter_groups(made, config(weight_decay=0.1, projector_lr=0.5))
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in made.parameters() if p.requires_grad)
    assert len(set(grouped)) == len(grouped)
    decayed = [p for group in groups if group["weight_decay"] for p in group["params"]]
    assert len(decayed) == 1
    assert decayed[0] is made.projector.linear.weight
    fast = {id(p) for group in groups if group["peak"] == 0.5 for p in group["params"]}
    assert fast == {id(p) for p in made.projector.parameters()}


def test_the_papers_recipe_decays_everything():
    groups = parameter_groups(model(), config(weight_decay=0.1, decay="all"))
    assert [group["weight_decay"] for group in groups] == [0.1] * len(groups)


def test_loras_matrices_decay():
    made = tiny_model(lora_rank=2)
    decayed = [p for g in parameter_groups(made, config(weight_decay=0.1)) if g["weight_decay"] for p in g["params"]]
    lora = [p for name, p in made.named_trainable().items() if name.startswith("lora.")]
    assert {id(p) for p in decayed} == {id(p) for p in (*lora, made.projector.linear.weight)}


def test_without_a_limit_gradients_stay_as_they_are(tmp_path):
    run(tmp_path / "free", clip=0.0)
    run(tmp_path / "tight", clip=1e-3)
    free, tight = (steps(tmp_path / name) for name in ("free", "tight"))
    assert free[0]["gradient_norm"] == tight[0]["gradient_norm"] > 1e-3
    moved = [
        state(run(tmp_path / n, clip=c)[0])["projector.linear.weight"] for n, c in (("free", 0.0), ("tight", 1e-3))
    ]
    assert not torch.equal(*moved)


def test_learning_rates_follow_the_schedule(tmp_path, monkeypatch):
    seen = []
    original = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        seen.append([group["lr"] for group in self.param_groups])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(tmp_path, warmup=0.3, lr=0.01, projector_lr=0.04)
    shares = [schedule(i, 9, 0.3) for i in range(9)]
    assert seen == [pytest.approx([0.04 * s, 0.04 * s, 0.01 * s]) for s in shares]


def test_after_validation_everything_trainable_still_learns():
    made = model()
    with torch.no_grad():
        for layer in made.prompts:
            layer.gate.fill_(0.3)  # a closed gate keeps gradients from its prompts by design
    found = validate(made, prompter(), samples(8), config())
    assert 0 <= found.accuracy <= 1
    assert found.loss > 0
    before = state(made)
    optimizer = torch.optim.SGD(parameter_groups(made, config()), lr=1e-2)
    compute_loss(made, batch_of(made, 12)).backward()
    still = [n for n, p in made.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not still
    assert all(p.grad is None for p in made.llm.parameters())
    optimizer.step()
    assert not any(torch.equal(before[name], value) for name, value in made.adapter_state_dict().items())


def test_closed_gates_open_first(tmp_path):
    made, _ = run(tmp_path)
    fresh = state(model())
    assert not any(torch.equal(fresh[name], value) for name, value in made.adapter_state_dict().items())


def test_without_held_out_samples_nothing_is_claimed(tmp_path):
    result = train(model(), prompter(), samples(), config(), tmp_path, watch=QUIET)
    assert (result.held_out, result.best, result.accuracy) == (None, None, None)
    assert not [row for row in rows(tmp_path) if "held_out" in row]
    assert not (tmp_path / "best.safetensors").exists()


def test_the_best_adapter_is_kept(tmp_path, monkeypatch):
    """The second of three validations finds the best one."""
    seen = []

    def told(made, *_):
        seen.append(state(made))
        return HeldOut(1.0, [0.2, 0.9, 0.5][len(seen) - 1], None, 8, 0)

    monkeypatch.setattr(loop, "validate", told)
    _, result = run(tmp_path)
    assert (result.best_step, result.best.accuracy, result.held_out.accuracy) == (6, 0.9, 0.5)
    assert equal(load_file(tmp_path / "best.safetensors"), seen[1])
    assert json.loads((tmp_path / "result.json").read_text())["best"]["step"] == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [((0.5, 2.0), (0.4, 1.0)), ((0.5, 1.0), (0.5, 1.1)), ((None, 1.0), (None, 1.1)), ((0.0, 3.0), (None, 1.0))],
)
def test_better_is_more_answers_right_then_less_loss(one, other):
    assert HeldOut(one[1], one[0], None, 1, 0).rank > HeldOut(other[1], other[0], None, 1, 0).rank


def test_validations_come_as_often_as_asked(tmp_path):
    run(tmp_path, validate_every=4)
    assert [row["step"] for row in rows(tmp_path) if "held_out" in row] == [4, 8, 9]


class Stop(Exception):
    pass


def stopped_after(out: Path, monkeypatch, number: int, **changes) -> None:
    """A run that dies behind a step, its last metrics not yet in a checkpoint."""
    original, count = loop.compute_loss, [0]

    def counted(*args):
        if count[0] == number:
            raise Stop
        count[0] += 1
        return original(*args)

    monkeypatch.setattr(loop, "compute_loss", counted)
    with pytest.raises(Stop):
        run(out, **changes)
    monkeypatch.undo()


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_stopped_run_goes_on_to_the_bit(tmp_path, monkeypatch, capsys, stop):
    whole, expected = run(tmp_path / "whole", noise=0.3, weight_decay=0.1)
    stopped_after(tmp_path / "cut", monkeypatch, stop, noise=0.3, weight_decay=0.1, checkpoint_minutes=0.0)
    made, result = run(tmp_path / "cut", noise=0.3, weight_decay=0.1, checkpoint_minutes=0.0)
    assert f"resuming at step {stop} of 9" in capsys.readouterr().err
    assert equal(state(made), state(whole))
    assert (result.loss, result.accuracy) == (expected.loss, expected.accuracy)
    drop = ("tokens_per_second", "seconds", "wait")
    told = [[{k: v for k, v in row.items() if k not in drop} for row in rows(tmp_path / n)] for n in ("whole", "cut")]
    assert told[0] == told[1]


def test_two_runs_in_one_folder(tmp_path):
    with exclusive(tmp_path), pytest.raises(OutputError, match="another process is at work in it"):
        run(tmp_path)
    run(tmp_path)


def test_what_was_logged_behind_the_checkpoint_is_logged_once(tmp_path, monkeypatch):
    stopped_after(tmp_path, monkeypatch, 5, checkpoint_minutes=0.0)
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000005")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # a line cut off by a kill
    run(tmp_path, checkpoint_minutes=0.0)
    assert [row["step"] for row in steps(tmp_path)] == [*range(1, 10)]
    assert len(rows(tmp_path)) == 9 + 3 + 4


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(tmp_path, monkeypatch, capsys):
    whole, _ = run(tmp_path / "whole")
    stopped_after(tmp_path / "cut", monkeypatch, 5, checkpoint_minutes=0.0)
    file = tmp_path / "cut" / "checkpoints" / "step-00000005" / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    made, _ = run(tmp_path / "cut", checkpoint_minutes=0.0)
    said = capsys.readouterr().err.replace("\n", " ")
    assert "checkpoint left aside" in said
    assert "resuming at step 4 of 9" in said
    assert equal(state(made), state(whole))


def test_a_finished_run_is_left_as_it_is(tmp_path):
    made, result = run(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again, second = run(tmp_path)
    assert second == result
    assert equal(state(made), state(again))
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 4}, "epochs: 3 then, 4 now"),
        ({"seed": 1, "lr": 0.5}, "lr: 0.02 then, 0.5 now; seed: 0 then, 1 now"),
    ],
)
def test_a_folder_holds_one_run(tmp_path, changes, words):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=f"{words}.*--out"):
        run(tmp_path, **changes)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_data_is_another_run(tmp_path):
    run(tmp_path)
    with pytest.raises(UsageError, match="samples: 12 then, 13 now"):
        train(model(), prompter(), samples(13), config(), tmp_path, watch=QUIET)


def test_a_run_goes_on_with_other_settings_when_told_to(tmp_path, monkeypatch, capsys):
    stopped_after(tmp_path, monkeypatch, 4, checkpoint_minutes=0.0)
    made = model()
    changed = config(lr=0.5, checkpoint_minutes=0.0)
    with pytest.raises(UsageError, match=r"lr: 0.02 then, 0.5 now.*--accept-changes"):
        train(made, prompter(), samples(), changed, tmp_path, held_out=samples(8), watch=QUIET)
    train(made, prompter(), samples(), changed, tmp_path, held_out=samples(8), watch=QUIET, accept_changes=True)
    assert "going on with other settings: lr: 0.02 then, 0.5 now" in capsys.readouterr().err
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["settings"]["lr"] == 0.5
    assert told["changes"] == [["lr: 0.02 then, 0.5 now"]]
    rates = [row["lr"] for row in steps(tmp_path)]
    assert max(rates[:4]) < 0.03 < rates[4]


def test_what_changes_rounding_only_is_said_and_not_refused(tmp_path, monkeypatch, capsys):
    stopped_after(tmp_path, monkeypatch, 4, checkpoint_minutes=0.0)
    run(tmp_path, pass_tokens=60, checkpoint_minutes=3.0)
    assert "pass_tokens: 16384 then, 60 now: results are the same but for rounding" in flat(capsys.readouterr().err)
    assert [row["step"] for row in steps(tmp_path)] == list(range(1, 10))


def flat(said: str) -> str:
    """Without the line breaks of a narrow console."""
    return " ".join(said.split())


def test_parts_of_a_step_give_the_step(tmp_path):
    whole, _ = run(tmp_path / "whole", noise=0.2)
    parts, _ = run(tmp_path / "parts", noise=0.2, pass_tokens=40)
    for name, value in state(whole).items():
        torch.testing.assert_close(value, state(parts)[name], atol=1e-5, rtol=1e-4)
    losses = [[row["loss"] for row in steps(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("text", ["{", "3", "[1]"])
def test_settings_that_cannot_be_read_are_answered(tmp_path, text):
    run(tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ArtifactError, match="found no settings of a run"):
        run(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_named(tmp_path, value):
    data = samples()
    data.values[7, 2, 3] = value
    made = model()
    before = state(made)
    with pytest.raises(NotFinite, match=r"step \d+: loss .*samples \[.*\b7\b.*\].*lower lr"):
        train(made, prompter(), data, config(epochs=1, lr=1e-9), tmp_path, watch=QUIET)
    assert all(value.isfinite().all() for value in made.adapter_state_dict().values())
    assert all(torch.allclose(before[name], value, atol=1e-6) for name, value in made.adapter_state_dict().items())
    assert checkpoint.load(tmp_path / "checkpoints", {}, torch.optim.SGD([torch.zeros(1)])) is None


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "compute_loss", lambda made, _: made.projector.linear.weight.sum() * torch.nan)
    with pytest.raises(NotFinite, match="step 0: loss nan"):
        run(tmp_path)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_run_told_to_stop_leaves_a_checkpoint(tmp_path, monkeypatch, name):
    """Ctrl-C, and what clusters send: the step is finished, and the next run goes on behind it."""
    whole, _ = run(tmp_path / "whole")
    original, count, before = loop.compute_loss, [0], signal.getsignal(name)

    def counted(*args):
        count[0] += 1
        if count[0] == 4:
            signal.raise_signal(name)
        return original(*args)

    monkeypatch.setattr(loop, "compute_loss", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-00000004"]
    assert signal.getsignal(name) == before
    made, _ = run(tmp_path / "cut")
    assert equal(state(made), state(whole))


@pytest.mark.timeout(200)
def test_a_killed_process_goes_on_to_the_bit(tmp_path):
    settings = ["microworld_tideos=40", "batch_size=2", "epochs=3", "validation=4", "checkpoint_minutes=0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "topa.cli", "align", "--recipe", "microworld", "--out", str(out)]
        for setting in settings:
            command += ["--set", setting]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    deadline = time.monotonic() + 100
    while not list(killed.glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            pytest.fail(f"ended before its first checkpoint: {process.communicate()[1]}")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "adapter.safetensors").exists()
    for out in (killed, whole):
        process = start(out)
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 0, said
        assert ("resuming at step" in said) == (out == killed)
    assert (killed / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()
    assert (killed / "memory.safetensors").read_bytes() == (whole / "memory.safetensors").read_bytes()
    assert [row["step"] for row in steps(killed)] == [*range(1, 61)]


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
def test_what_a_batch_begins_with_is_read_once_and_changes_nothing(family):
    """The loss and all gradients are those of whole prompts; a batch of several tasks shares nothing."""
    data = samples(6)
    for mix, shared in ((Mix(1, 0, 0), 8), (Mix(0, 1, 0), 7)):
        batch = next(epoch_batches(data, prompter(), mix, batch_size=6, seed=0, epoch=0))
        assert batch.shared == shared == int(batch.is_slot[0].int().argmax())
        found = []
        for parts in (batch, replace(batch, shared=0)):
            made = tiny_model(family)
            loss = compute_loss(made, parts)
            loss.backward()
            found.append((loss.detach(), {name: p.grad for name, p in made.named_trainable().items()}))
        torch.testing.assert_close(found[0][0], found[1][0])
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(gradient, found[1][1][name], atol=2e-6, rtol=1e-4)
    told = [prompter().describe(5, "red"), prompter().answer("what", 5, "red")]
    assert collate(told, data.values[:2], data.valid[:2]).shared == 0


def test_checkpointed_layers_share_nothing_and_give_the_same_loss():
    batch = next(epoch_batches(samples(6), prompter(), Mix(1, 0, 0), batch_size=6, seed=0, epoch=0))
    made = tiny_model()
    expected = compute_loss(made, batch)
    prepare(made, config(checkpointing=True), Processes())
    found = compute_loss(made, batch)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(p.grad is not None for p in made.trainable_parameters())
