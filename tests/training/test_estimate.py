"""What a run will take: exact where it can be counted, near where it can be measured."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from topa.core.errors import InputError, UsageError
from topa.core.processes import Processes
from topa.microworld.writer import write_tideos
from topa.models.topa_model import VideoLanguageModel
from topa.tideos.jsonl import write_jsonl
from topa.training.align import align, plan
from topa.training.config import read_recipe
from topa.training.data import collate
from topa.training.estimate import activation_bytes
from topa.training.loop import Watch
from topa.training.prepare import prepare
from topa.training.reading import compute_loss

from .small import config, prompter, tokenizer


@pytest.fixture
def llama(tmp_path):
    """Llama-2 7B without its weights: a configuration, and some tokenizer."""
    LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        vocab_size=32000,
        tie_word_embeddings=False,
    ).save_pretrained(tmp_path / "llama")
    tokenizer().save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.fixture
def tideos(tmp_path):
    write_jsonl(write_tideos(300, 1), tmp_path / "tideos.jsonl")
    return tmp_path / "tideos.jsonl"


def test_the_papers_model_is_counted_without_its_weights(topa, llama, tideos):
    done = topa(
        *("align", "--recipe", "llama2-7b", "--llm", llama, "--tideos", tideos, "--out", tideos.parent / "out"),
        *("--set", "encoder=microworld/clip", "--set", "max_tokens=400", "--dry-run", "--json"),
    )
    assert done.code == 0, done.err
    told = json.loads(done.out)
    # The micro encoder is 64 wide, CLIP's is 768.
    assert told["trainable_total"] == 9_742_336 - 4096 * (768 - 64)
    assert told["frozen"] == 6_738_415_616
    assert told["frozen_bytes"] == 4 * told["frozen"]  # float32 on a CPU
    assert told["steps"] == 20 * 1
    assert told["samples"] == 270  # a tenth is held out
    assert told["flop"] == pytest.approx(4 * told["frozen"] * told["tokens"])
    assert told["device"] in ("cpu", "cuda")
    assert told["operations_per_second"] > 1e6
    assert not (tideos.parent / "out").exists()


def test_a_person_reads_it(topa, tmp_path):
    done = topa("align", "--recipe", "microworld", "--out", tmp_path / "out", "--dry-run")
    assert done.code == 0
    assert "trains:  16,560 numbers" in done.out
    assert "h at 100 TFLOP/s\nhere:    about " in done.out
    assert "steps:   376 over 3,000 samples, 1.0 passes each" in done.out
    assert not (tmp_path / "out").exists()


def test_passes_and_shares_of_several_processes(tideos, llama):
    def planned(*settings: str, processes: int = 1):
        options = [f"llm={llama}", "encoder=microworld/clip", "max_tokens=400", "pass_tokens=2000", *settings]
        return plan(read_recipe("llama2-7b", options), tideos=tideos, processes=processes)

    one, four = planned(), planned(processes=4)
    assert one.passes > 4
    assert four.passes == pytest.approx(one.passes / 4)
    assert one.tokens == four.tokens
    assert planned("sharded=true", processes=4).frozen_bytes == one.frozen_bytes // 4
    assert planned("bits=4").frozen_bytes == one.frozen // 2
    checkpointed = planned("checkpointing=true")
    assert checkpointed.activation_bytes < one.activation_bytes / 5
    assert checkpointed.flop == pytest.approx(1.5 * one.flop)


def test_tokens_are_near_those_of_the_run(tmp_path):
    settings = read_recipe("microworld", ["microworld_tideos=100", "epochs=2", "validation=10"])
    align(settings, tmp_path / "out", watch=Watch(show=False))
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    tokens = sum(row["tokens"] for row in rows if "tokens" in row)
    found = plan(settings)
    assert found.tokens == pytest.approx(tokens, rel=0.05)
    assert found.steps == max(row["step"] for row in rows)


def test_samples_that_are_too_long_are_foreseen(tideos, llama):
    def planned(tokens: int):
        return plan(
            read_recipe("llama2-7b", [f"llm={llama}", "encoder=microworld/clip", f"max_tokens={tokens}"]), tideos=tideos
        )

    assert planned(400).left_out == 0
    with pytest.raises(InputError, match="found no sample with a prompt of 12 tokens at most"):
        planned(12)


def test_a_language_model_that_cannot_be_read(tideos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no configuration that can be read.*weights aren't needed"):
        plan(read_recipe("llama2-7b", [f"llm={tmp_path / 'empty'}", "encoder=microworld/clip"]), tideos=tideos)
    with pytest.raises(UsageError, match="found no Tideos"):
        plan(read_recipe("llama2-7b"))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ((LlamaConfig, LlamaForCausalLM), {"num_key_value_heads": 8}),
        ((Qwen3Config, Qwen3ForCausalLM), {"num_key_value_heads": 2, "head_dim": 16}),
    ],
    ids=["llama", "qwen3"],
)
def test_activations_are_near_those_that_are_kept(kind, shape, checkpointing):
    """What autograd keeps of a pass, counted tensor by tensor, beside the estimate."""
    described = kind[0](
        vocab_size=100, hidden_size=128, intermediate_size=344, num_attention_heads=8, num_hidden_layers=6, **shape
    )
    made = VideoLanguageModel(kind[1](described), 12, frames=5, prompt_length=50)
    settings = config(checkpointing=checkpointing)
    prepare(made, settings, Processes())
    ask = prompter()
    prompts = [ask.answer(" ".join(["the ball is small"] * 12), 5, "red")] * 8
    batch = collate(prompts, torch.randn(8, 5, 12), torch.ones(8, 5, dtype=torch.bool))
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in (*made.llm.parameters(), *made.parameters())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = compute_loss(made, batch)
    expected = activation_bytes(made, settings, 4) * batch.ids.numel()
    if checkpointing:  # the estimate holds a layer besides, which is computed again in the backward pass
        expected -= activation_bytes(made, config(), 4) * batch.ids.numel() // 6
    assert loss.isfinite()
    assert 0.8 < expected / sum(kept.values()) < 1.25
