"""What must hold for any language model the adapter is put into."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from topa.core.errors import ArtifactMismatch, UsageError
from topa.models import VideoLanguageModel, trainable_count
from topa.models.attention import AdapterCall, attend, refusal
from topa.models.compat import checkpoint_layers
from topa.models.inputs import ModelInputs

from . import tiny

CLOSE = {"atol": 3e-5, "rtol": 1e-5}
every_family = pytest.mark.parametrize("family", tiny.FAMILIES)
some_families = pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "mistral", "opt"])


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def at(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits of visible tokens, row by row, so that paddings on different sides compare."""
    return logits[mask.bool()]


@every_family
def test_closed_gates_are_the_frozen_llm(family: str) -> None:
    model, inputs = tiny.model(family, opened=False), tiny.batch()
    frozen = tiny.llm(family)
    embeds = frozen.get_input_embeddings()(inputs["input_ids"]).clone()
    with torch.no_grad():
        embeds[inputs["is_slot"]] = model.projector(inputs["frames"]).flatten(0, 1)
        expected = frozen(inputs_embeds=embeds).logits
        torch.testing.assert_close(model(ModelInputs(**inputs)), expected, atol=5e-6, rtol=0)
        # Nothing is rounded differently without a video, or outside the adapter.
        text = inputs["input_ids"]
        assert torch.equal(model(ModelInputs(text)), frozen(text).logits)
        assert torch.equal(model.llm(text).logits, frozen(text).logits)
        assert not torch.allclose(tiny.model(family)(ModelInputs(**inputs)), expected, atol=1e-2)


@pytest.mark.parametrize("name", ["GPT2", "GPTNeoX", "Falcon", "Mamba", "GptOss", "Llama4Text", "Qwen3Next"])
def test_families_that_cannot_are_refused_by_name(name: str) -> None:
    config = getattr(transformers, f"{name}Config")(
        vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        **{"n_layer": 2, "n_embd": 32, "n_head": 4} if name == "GPT2" else {},
        **{"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}
        if name in {"GptOss", "Llama4Text", "Qwen3Next"} else {},
    )  # fmt: skip
    family = {"GPT2": "GPT2LMHeadModel", "Llama4Text": "Llama4ForCausalLM"}.get(name, f"{name}ForCausalLM")
    llm = getattr(transformers, family)(config)
    assert refusal(llm)
    with pytest.raises(UsageError, match=rf"{family} can't take the adapter: .+"):
        VideoLanguageModel(llm, tiny.FEATURES)


def test_a_family_that_drops_the_adapter_is_noticed() -> None:
    config = transformers.StableLmConfig(
        vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = VideoLanguageModel(transformers.StableLmForCausalLM(config), tiny.FEATURES)
    with pytest.raises(ArtifactMismatch, match=r"StableLm.*layers \[0, 1\]"):
        model(ModelInputs(tiny.batch()["input_ids"]))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_stock_attention_set_back_is_an_error(implementation: str) -> None:
    model, inputs = tiny.model(), tiny.batch()
    before = model(ModelInputs(**inputs))
    model.llm.set_attn_implementation(implementation)
    with pytest.raises(UsageError, match=f"found attention implementation '{implementation}'"):
        model(ModelInputs(**inputs))
    with pytest.raises(UsageError, match="found attention implementation"):
        model.prefill(ModelInputs(**inputs))
    model.llm.set_attn_implementation("topa")
    assert torch.equal(model(ModelInputs(**inputs)), before)


@pytest.mark.parametrize("mask", ["none", "bool", "additive", "per head"])
@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("queries", [1, 7])
def test_attention_is_the_naive_one(mask: str, softcap: float | None, queries: int) -> None:
    model = tiny.model().double()
    module, prompts = model.llm.model.layers[1].self_attn, model.prompts[1]
    torch.manual_seed(1)
    keys_count, width = (7 if queries > 1 else 9), module.head_dim
    query = torch.randn(2, 4, queries, width, dtype=torch.float64)
    key, value = torch.randn(2, 2, 2, keys_count, width, dtype=torch.float64)
    is_video = torch.rand(2, keys_count) < 0.5
    after = torch.rand(2, queries) < 0.7
    allowed = torch.ones(queries, keys_count, dtype=torch.bool).tril(keys_count - queries)
    bias = torch.zeros(2, 4, queries, keys_count, dtype=torch.float64)
    given = None
    if mask != "none":
        allowed = torch.rand(2, 1, queries, keys_count) < 0.6
        allowed[..., 0] = True
        given = allowed
    if mask in ("additive", "per head"):
        heads = 4 if mask == "per head" else 1
        bias = torch.randn(2, heads, queries, keys_count, dtype=torch.float64).masked_fill(~allowed, -math.inf)
        given = bias
        bias = bias.expand(2, 4, queries, keys_count)
    allowed = allowed.expand(2, 4, queries, keys_count)
    call = AdapterCall({1: prompts}, after, is_video)
    found, _ = attend(module, query, key, value, given, 0.0, 0.3, softcap, call, is_causal=True)

    def cap(score: Tensor) -> Tensor:
        return score if softcap is None else softcap * torch.tanh(score / softcap)

    prompt_keys = module.k_proj(prompts.prompt).view(-1, 2, width)
    prompt_values = module.v_proj(prompts.prompt).view(-1, 2, width)
    for row, head, at_query in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(queries)).tolist():
        group, q = head // 2, query[row, head, at_query]
        seen = [k for k in range(keys_count) if allowed[row, head, at_query, k]]
        scores = [
            cap(q @ key[row, group, k] * 0.3)
            + bias[row, head, at_query, k]
            + (prompts.video_bias[head] if after[row, at_query] and is_video[row, k] else 0)
            for k in seen
        ]
        text = torch.stack(scores).softmax(0) @ value[row, group, seen]
        weights = cap(prompt_keys[:, group] @ q * 0.3).softmax(0)
        expected = text + torch.tanh(prompts.gate[head]) * (weights @ prompt_values[:, group])
        torch.testing.assert_close(found[row, at_query, head], expected, atol=1e-6, rtol=0)


@every_family
def test_everything_trainable_learns_after_a_validation(family: str) -> None:
    model, inputs = tiny.model(family, tokens_per_frame=2), tiny.batch(tokens_per_frame=2)
    with torch.no_grad():
        model(ModelInputs(**inputs))
    model.greedy(model.prefill(ModelInputs(**inputs)), 2)
    model.train()
    model(ModelInputs(**inputs))[:, -4:].log_softmax(-1)[..., 5].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # One temporal vector or prompt row without a gradient would be one that never learns.
        assert parameter.grad.view(len(parameter), -1).abs().amax(-1).gt(0).all(), name
    assert all(p.grad is None and not p.requires_grad for p in model.llm.parameters())
    assert not model.llm.training


def states(model: VideoLanguageModel, ids: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """The prompts' keys and values as a reading pass leaves them."""
    with torch.no_grad():
        model(ModelInputs(ids))
        return dict(model.prompt_states())


def test_prompts_are_projected_once_until_they_change() -> None:
    model, inputs = tiny.model(), tiny.batch()
    calls: list[int] = []
    model.llm.model.layers[0].self_attn.v_proj.register_forward_hook(lambda _, args, out: calls.append(args[0].ndim))
    for _ in range(2):
        model.prefill(ModelInputs(**inputs))
    assert calls == [3, 2, 3]  # the text, the prompt, and the text again
    torch.optim.SGD(model.trainable_parameters(), lr=0.1).step()  # nothing has a gradient: nothing changes
    model.prefill(ModelInputs(**inputs))
    assert calls.count(2) == 1
    model(ModelInputs(**inputs)).square().mean().backward()
    assert calls.count(2) == 2  # gradients go through the prompts
    torch.optim.SGD(model.trainable_parameters(), lr=0.1).step()
    model.prefill(ModelInputs(**inputs))
    assert calls.count(2) == 3
    model.double()
    model.prefill(ModelInputs(**inputs | {"frames": inputs["frames"].double()}))
    assert calls.count(2) == 4


def test_a_step_changes_what_a_later_pass_reads() -> None:
    model, inputs = tiny.model(), tiny.batch()
    before = model.prefill(ModelInputs(**inputs)).next_logits
    with torch.no_grad():
        for layer in model.prompts:
            layer.prompt.mul_(-1)
    assert not torch.allclose(model.prefill(ModelInputs(**inputs)).next_logits, before, atol=1e-3)


def test_prompts_learn_after_a_shared_prefix_too() -> None:
    model, inputs = tiny.model(), tiny.batch()
    context = model.prefill(ModelInputs(inputs["input_ids"][:, :3]))
    rest = {name: inputs[name][:, 3:] for name in ("input_ids", "is_slot")}
    model(ModelInputs(**rest, frames=inputs["frames"]), cache=context).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.trainable_parameters())


@pytest.mark.parametrize(("family", "normed"), [("llama", False), ("qwen3", True), ("olmo2", True), ("gemma3", True)])
def test_prompt_keys_pass_the_layers_key_norm(family: str, normed: bool) -> None:
    model, ids = tiny.model(family), tiny.batch()["input_ids"]
    before = states(model, ids)
    with torch.no_grad():
        for layer in model.prompts:
            layer.prompt.mul_(3)
    after = states(model, ids)
    for layer in before:
        torch.testing.assert_close(after[layer][0], before[layer][0] * (1 if normed else 3), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(after[layer][1], before[layer][1] * 3, atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        model, inputs = tiny.model(), tiny.batch()
        if checkpointing:
            checkpoint_layers(model.llm)
            model.llm.train()
        model(ModelInputs(**inputs)).square().mean().backward()
        gradients.append([p.grad for p in model.trainable_parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


@every_family
def test_left_padding_equals_right_padding_equals_none(family: str) -> None:
    model, inputs = tiny.model(family), tiny.batch()
    widths = [0, 3, 6]
    with torch.no_grad():
        sides = {side: tiny.padded(inputs, widths, side) for side in ("left", "right")}
        logits = {side: at(model(ModelInputs(**sides[side])), sides[side]["attention_mask"]) for side in sides}
        torch.testing.assert_close(logits["left"], logits["right"], **CLOSE)
        alone = {name: value[2:3] for name, value in inputs.items()}
        alone |= {"input_ids": alone["input_ids"][:, :-6], "is_slot": alone["is_slot"][:, :-6]}
        torch.testing.assert_close(
            logits["left"][-(len(alone["input_ids"][0])) :], model(ModelInputs(**alone))[0], **CLOSE
        )
        assert not logits["left"].isnan().any()
    model(ModelInputs(**sides["left"]))[sides["left"]["attention_mask"]].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trainable_parameters())


@pytest.mark.parametrize("side", ["left", "right"])
@every_family
def test_cached_greedy_equals_uncached(family: str, side: str) -> None:
    model, widths = tiny.model(family), [0, 2, 5]
    inputs = tiny.padded(tiny.batch(), widths, side)
    found = model.greedy(model.prefill(ModelInputs(**inputs)), 6, banned=(7, 8))
    for row, width in enumerate(widths):
        one = {name: value[row : row + 1] for name, value in tiny.batch().items()}
        ids, is_slot = (one[name][:, : one[name].shape[1] - width] for name in ("input_ids", "is_slot"))
        for _ in range(6):
            with torch.no_grad():
                logits = model(ModelInputs(ids, frames=one["frames"], is_slot=is_slot))[0, -1]
            logits[[7, 8]] = -torch.inf
            ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
            is_slot = functional.pad(is_slot, (0, 1))
        assert found[row] == ids[0, -6:].tolist()


def test_greedy_stops_at_the_end_and_leaves_the_context() -> None:
    model, inputs = tiny.model(), tiny.batch()
    context = model.prefill(ModelInputs(**inputs))
    rows = model.greedy(context, 8)
    end = rows[0][2]
    assert all(len(row) == 8 for row in rows)
    cut = [row[: row.index(end)] if end in row else row for row in rows]
    assert model.greedy(context, 8, eos=end) == cut != rows
    assert model.greedy(context, 8, eos=[end, rows[0][0]])[0] == []
    assert model.greedy(context, 8) == rows
    assert context.states.get_seq_length() == inputs["input_ids"].shape[1]  # no adapter keys among them
    assert model.greedy(context, 0) == [[], [], []]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@every_family
def test_branches_equal_full_forwards(family: str, side: str, begun: bool) -> None:
    """Continuations of different lengths and numbers, behind rows of different lengths, some frames not valid."""
    model, widths = tiny.model(family), [1, 0, 4]
    whole = tiny.batch()
    valid = torch.ones(3, tiny.FRAMES, dtype=torch.bool)
    valid[1, -1] = False
    whole["frames"][1, -1] = 0
    inputs = tiny.padded(whole, widths, side) | {"frame_valid": valid}
    context = None
    if begun:  # the same, going on from a beginning that was read before
        beginning = torch.tensor([[1, 9, 4]])
        context = model.prefill(ModelInputs(beginning)).repeat(3)
    generator = torch.Generator().manual_seed(2)
    branches = torch.randint(3, tiny.VOCABULARY, (3, 4, 5), generator=generator)
    mask = torch.arange(5) < torch.tensor([5, 1, 3, 4])[:, None]
    mask = mask.repeat(3, 1, 1)
    mask[2, 3] = False  # a branch that isn't there
    labelled = inputs["attention_mask"].bool() & ~inputs["is_slot"]
    labelled &= labelled.cumsum(1) > 6
    shared, found = model.score_continuations(ModelInputs(**inputs), branches, mask, labelled=labelled, cache=context)
    assert found[~mask].eq(0).all()
    assert shared[~labelled].eq(0).all()
    assert labelled.sum() > 6
    for row, width in enumerate(widths):
        length = whole["input_ids"].shape[1] - width
        text, slots = whole["input_ids"][row, :length], whole["is_slot"][row, :length]
        if begun:
            text, slots = torch.cat([beginning[0], text]), functional.pad(slots, (3, 0))
        for option in range(4):
            suffix = branches[row, option, : int(mask[row, option].sum())]
            ids, is_slot = torch.cat([text, suffix])[None], functional.pad(slots, (0, len(suffix)))[None]
            with torch.no_grad():
                logits = model(
                    ModelInputs(
                        ids, frames=whole["frames"][row : row + 1], frame_valid=valid[row : row + 1], is_slot=is_slot
                    )
                )[0]
            nll = functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
            torch.testing.assert_close(found[row, option, : len(suffix)], nll[len(text) - 1 :], **CLOSE)
            at = labelled[row].sum()
            torch.testing.assert_close(shared[row][labelled[row]], nll[: len(text) - 1][-at:], **CLOSE)


@some_families
def test_reading_in_pieces_equals_reading_at_once(family: str) -> None:
    model, inputs = tiny.model(family), tiny.batch()
    ids, is_slot = inputs["input_ids"], inputs["is_slot"]
    with torch.no_grad():
        whole = model(ModelInputs(**inputs))
        first = model.prefill(ModelInputs(ids[:1, :3])).repeat(3)  # an instruction that all rows share
        ids = torch.cat([ids[:1, :3].expand(3, 3), ids[:, 3:]], dim=1)
        whole = model(ModelInputs(ids, frames=inputs["frames"], is_slot=is_slot))
        rest = model(ModelInputs(ids[:, 3:], frames=inputs["frames"], is_slot=is_slot[:, 3:]), cache=first)
    torch.testing.assert_close(rest, whole[:, 3:], **CLOSE)


@every_family
def test_logits_at_positions_are_those_of_the_whole(family: str) -> None:
    model, inputs = tiny.model(family), tiny.batch()
    positions = torch.tensor([2, 0, 0, 1]), torch.tensor([3, 17, 0, 9])
    with torch.no_grad():
        torch.testing.assert_close(
            model(ModelInputs(**inputs), positions=positions), model(ModelInputs(**inputs))[positions], **CLOSE
        )


def test_batch_order_changes_nothing() -> None:
    model, inputs = tiny.model(), tiny.batch(rows=4)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        shuffled = model(ModelInputs(**{name: value[order] for name, value in inputs.items()}))
        torch.testing.assert_close(shuffled, model(ModelInputs(**inputs))[order], **CLOSE)


@pytest.mark.parametrize("tokens_per_frame", [1, 3])
@some_families
def test_padding_frames_change_nothing(family: str, tokens_per_frame: int) -> None:
    model = tiny.model(family, tokens_per_frame=tokens_per_frame)
    inputs = tiny.batch(tokens_per_frame=tokens_per_frame)
    valid = torch.ones(3, tiny.FRAMES, dtype=torch.bool)
    valid[:, 3:] = False
    with torch.no_grad():
        found = model(ModelInputs(**inputs, frame_valid=valid))
        noisy = inputs["frames"].clone()
        noisy[:, 3:] = 100
        outside = ~inputs["is_slot"]
        changed = model(ModelInputs(**inputs | {"frames": noisy}, frame_valid=valid))
        assert torch.equal(changed[outside], found[outside])
        # The same prompt with no slots for them at all.
        kept = outside | (inputs["is_slot"].cumsum(1) <= 3 * tokens_per_frame)
        ids, is_slot = (inputs[name][kept].view(3, -1) for name in ("input_ids", "is_slot"))
        short = model(ModelInputs(ids, frames=inputs["frames"][:, :3], is_slot=is_slot))
        torch.testing.assert_close(found[kept].view_as(short), short, **CLOSE)
        padded_frames = model(ModelInputs(ids, frames=inputs["frames"], frame_valid=valid, is_slot=is_slot))
        torch.testing.assert_close(padded_frames, short, **CLOSE)
        assert not torch.allclose(model(ModelInputs(**inputs))[outside], found[outside], atol=1e-2)


@some_families
def test_packed_rows_equal_separate_ones(family: str) -> None:
    model, inputs = tiny.model(family), tiny.batch(rows=2)
    length = inputs["input_ids"].shape[1]
    ids, is_slot = inputs["input_ids"].view(1, -1), inputs["is_slot"].view(1, -1)
    owner = torch.arange(2 * length) // length
    mask = (owner[:, None] == owner) & torch.ones(2 * length, 2 * length, dtype=torch.bool).tril()
    projector = model.projector
    temporal = projector.temporal.data
    with torch.no_grad():
        separate = model(ModelInputs(**inputs))
        projector.temporal = torch.nn.Parameter(temporal.repeat(2, 1))
        packed = {
            "frames": inputs["frames"].view(1, 2 * tiny.FRAMES, -1),
            "is_slot": is_slot,
            "position_ids": (torch.arange(2 * length) % length)[None],
        }
        found = model(ModelInputs(ids, attention_mask=mask[None, None], **packed))
        torch.testing.assert_close(found.view_as(separate), separate, **CLOSE)
        with pytest.raises(UsageError, match="a mask of pairs needs position_ids"):
            model(ModelInputs(ids, attention_mask=mask[None, None]))


def test_frames_that_do_not_fit_are_refused() -> None:
    model, inputs = tiny.model(), tiny.batch()
    fewer = inputs["is_slot"] & (inputs["is_slot"].cumsum(1) < tiny.FRAMES)
    with pytest.raises(UsageError, match="Every valid frame needs 1 slots"):
        model(ModelInputs(**inputs | {"is_slot": fewer}))
    with pytest.raises(UsageError, match=r"found .* frame slots per row"):
        model(ModelInputs(**inputs | {"is_slot": inputs["is_slot"].roll(1, 1) | inputs["is_slot"]}))
    with pytest.raises(UsageError, match="come together"):
        model(ModelInputs(inputs["input_ids"], frames=inputs["frames"]))
    with pytest.raises(UsageError, match=f"found {tiny.FRAMES + 1} frames"):
        model(ModelInputs(**inputs | {"frames": torch.randn(3, tiny.FRAMES + 1, tiny.FEATURES)}))
    with pytest.raises(UsageError, match="adapted_layers: found 9"):
        VideoLanguageModel(tiny.llm(), tiny.FEATURES, adapted_layers=9)


def test_only_the_last_layers_are_adapted_but_all_run() -> None:
    llm, inputs = tiny.llm(), tiny.batch()
    model = VideoLanguageModel(llm, tiny.FEATURES, frames=tiny.FRAMES, prompt_length=6, adapted_layers=1)
    calls: list[int] = []
    for index, layer in enumerate(llm.model.layers):
        layer.register_forward_hook(lambda *_, index=index: calls.append(index))
    assert len(model.prompts) == 1
    before = model(ModelInputs(**inputs))
    assert calls == [0, 1, 2]
    with torch.no_grad():
        model.prompts[0].gate.fill_(1)
    assert not torch.allclose(model(ModelInputs(**inputs)), before, atol=1e-3)


def test_the_adapter_is_apart_from_the_llm_and_loads_strictly() -> None:
    names = set(tiny.llm().state_dict())
    model, inputs = tiny.model(), tiny.batch()
    assert set(model.llm.state_dict()) == names
    state = {name: tensor.clone() for name, tensor in model.adapter_state_dict().items()}
    assert set(state) == {n for n, _ in model.named_parameters()}
    assert sum(tensor.numel() for tensor in state.values()) < 6000
    other = tiny.model(opened=False)
    other.load_adapter_state_dict(state)
    assert torch.equal(other(ModelInputs(**inputs)), model(ModelInputs(**inputs)))
    spoilt = {name: tensor for name, tensor in state.items() if name != "prompts.1.gate"}
    spoilt |= {"extra": torch.zeros(1), "projector.temporal": torch.zeros(2, 2)}
    with pytest.raises(ArtifactMismatch) as caught:
        other.load_adapter_state_dict(spoilt)
    for part in ("prompts.1.gate is missing", "extra is unexpected", "projector.temporal is (2, 2), expected (5, 32)"):
        assert part in str(caught.value)
    assert torch.equal(other(ModelInputs(**inputs)), model(ModelInputs(**inputs)))  # nothing was half loaded


def test_parameter_counts() -> None:
    model = tiny.model(tokens_per_frame=2)
    report = model.parameter_report()
    assert report.total_trainable == sum(p.numel() for p in model.trainable_parameters())
    assert report.total_trainable == trainable_count(
        tiny.WIDTH, 3, 4, feature_width=tiny.FEATURES, frames=tiny.FRAMES, prompt_length=6, tokens_per_frame=2
    )
    assert report.trainable["prompt"] == 3 * 6 * tiny.WIDTH
    assert report.frozen == sum(p.numel() for p in tiny.llm().parameters())
    assert f"{report.total_trainable:,}" in str(report)
    # 32 x 50 x 4096 prompts, 32 x 32 x 2 gates and biases, 768 x 4096 projector, 10 x 4096 temporal vectors
    assert trainable_count(4096, 32, 32) == 6_553_600 + 2_048 + 3_145_728 + 40_960 == 9_742_336


def test_half_precision_llm_with_full_precision_adapter() -> None:
    inputs = tiny.batch()
    model = VideoLanguageModel(tiny.llm().bfloat16(), tiny.FEATURES, frames=tiny.FRAMES, prompt_length=6)
    model(ModelInputs(**inputs)).float().square().mean().backward()
    assert all(p.dtype == torch.float32 for p in model.trainable_parameters())
    assert model.llm.dtype == torch.bfloat16
    assert model.projector.linear.weight.grad is not None
    assert model.projector.linear.weight.grad.abs().sum() > 0
    assert len(model.greedy(model.prefill(ModelInputs(**inputs)), 3)[0]) == 3
