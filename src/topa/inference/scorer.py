"""Option scoring: the likelihood of each answer under the aligned language model.

Reads prompts and frame features, gives one score per option. What prompts have in common is read once: the video by
all questions about it, the question by all its options. Exact, and a fraction of the work of a full pass per option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..core.errors import InputError, UsageError
from ..core.protocols import LikelihoodProtocol, check_protocol
from ..models.inputs import ModelInputs
from ..models.kv_cache import KVCache
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter
from ..tideos.tideo import Question
from .prefix_cache import CachedVideos

_TOKENS = 1 << 14  # of one pass: what its activations take
_LOGITS = 1 << 27  # numbers of one pass: half a gigabyte in float32


@dataclass(frozen=True, slots=True)
class OptionScores:
    """mean_nll: nats per target token and option, the lowest wins; probabilities: softmax over the options' total
    log-likelihood (`selection`, where all targets are equally long) or minus mean_nll (`logits`); cut: tokens of the
    listed options that the LLM's window has no room for."""

    mean_nll: tuple[float, ...]
    probabilities: tuple[float, ...]
    cut: int = 0

    @property
    def choice(self) -> int:
        """The index of the chosen option."""
        return min(range(len(self.mean_nll)), key=self.mean_nll.__getitem__)


def read(model: VideoLanguageModel, prompts: Sequence[Prompt], frames: Tensor, valid: Tensor) -> KVCache:
    """Let the model read prompts without targets. frames: [B, T, D]; valid: bool [B, T]."""
    return model.prefill(_inputs(model, prompts, frames, valid))


def nll_of_targets(
    model: VideoLanguageModel,
    rows: Sequence[Sequence[Prompt]],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int] | None = None,
    *,
    cached: CachedVideos | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[list[Tensor]]:
    """Negative log-likelihood of every target token of every candidate: `[N][options]` of float32 [target's length].

    rows: N groups of prompts with targets; the prompts of a group are about one video. frames, valid, videos: as for
    `read`. cached: what was read of the videos before. Equal to one full forward per candidate; what the candidates
    of a group have in common is read once, labelled tokens among it included. Raises UsageError for a candidate
    without a target.
    """
    if any(not group or any(p.target[0] >= p.target[1] for p in group) for group in rows):
        raise UsageError("scoring: found a group without candidates, or a candidate without a target to score.")
    videos = list(range(len(rows)) if videos is None else videos)
    shared = [_common(group) for group in rows]
    found: list[list[Tensor]] = [[] for _ in rows]
    # Groups of like size share a pass; questions about a video stay together.
    vocabulary = model.llm.config.get_text_config().vocab_size
    loads = []
    for group, cut in zip(rows, shared, strict=True):
        own = sum(len(p) - cut for p in group)
        loads.append(max((cut + own) / _TOKENS, own * vocabulary / _LOGITS))
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), shared[i] // 16, videos[i], shared[i]))
    for chosen in _batches(order, loads):
        for i, nll in zip(chosen, _score(model, rows, shared, frames, valid, videos, chosen, cached), strict=True):
            found[i] = nll
        progress(len(chosen))
    return found


def score_options(
    model: VideoLanguageModel,
    prompter: Prompter,
    questions: Sequence[Question],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int] | None = None,
    *,
    protocol: LikelihoodProtocol = "selection",
    progress: Callable[[int], None] = lambda _: None,
) -> list[OptionScores]:
    """Scores of every option of every question.

    questions: N, each with two or more options. frames: float32 [V, T, D] unit rows in text space (or zeros, for a
    blind run); valid: bool [V, T]; videos: which of them each question is about, question i about video i by default.
    `selection`: the letter's likelihood behind the listed options; `logits`: the option text's likelihood as a free
    answer. Source: TOPA, section 4 (LLM selection, LLM logits).
    Every question gets an answer: nothing is dropped, order and batches change nothing.
    Raises InputError for a question without options, for a video without frames, or with features that aren't
    finite; UsageError for an unknown protocol.
    """
    check_protocol(protocol)
    if bare := next((q for q in questions if not q.options), None):
        raise InputError(f"question {bare.question!r}: found no options; expected two or more to score.")
    videos = list(range(len(questions)) if videos is None else videos)
    shown = valid.sum(dim=1).tolist()
    by_letter = protocol == "selection"
    rows = [
        prompter.candidates(q.question, q.options, shown[v], by_letter) for q, v in zip(questions, videos, strict=True)
    ]
    return score_rows(model, rows, frames, valid, videos, by_letter=by_letter, progress=progress)


def score_rows(
    model: VideoLanguageModel,
    rows: Sequence[Sequence[Prompt]],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int],
    *,
    by_letter: bool,
    cached: CachedVideos | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[OptionScores]:
    """`score_options` of questions whose candidates are written: rows, one of `Prompter.candidates` each. cached:
    what was read of the videos before.

    Raises InputError for a video without frames, or with features that aren't finite.
    """
    bad = ~torch.isfinite(frames).flatten(1).all(1) | ~valid.any(1)
    if bad.any():
        where = bad.nonzero().flatten().tolist()
        raise InputError(
            f"videos {where[:5]}: found features with NaN, or no frames; expected finite ones. Encode again."
        )
    scores = []
    found = nll_of_targets(model, rows, frames, valid, videos, cached=cached, progress=progress)
    for row, nll in zip(rows, found, strict=True):
        sums, means = torch.stack([n.sum() for n in nll]), torch.stack([n.mean() for n in nll])
        probabilities = torch.softmax(-(sums if by_letter else means), dim=-1)
        scores.append(OptionScores(tuple(means.tolist()), tuple(probabilities.tolist()), row[0].cut))
    return scores


def stack(shown: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Videos of unlike numbers of frames, float [T, D] and bool [T] each, as one batch: [V, T, D] and bool [V, T]."""
    longest = max(len(valid) for _, valid in shown)
    values = torch.stack([pad(own, (0, 0, 0, longest - len(own))) for own, _ in shown])
    return values, torch.stack([pad(own, (0, longest - len(own))) for _, own in shown])


def _common(group: Sequence[Prompt]) -> int:
    """How many tokens all candidates begin with; each keeps one of its own at least."""
    longest = min(len(p) for p in group) - 1
    first = group[0].ids
    for at in range(group[0].slots[1], longest):
        if any(p.ids[at] != first[at] for p in group):
            return at
    return longest


def _batches(order: Sequence[int], loads: Sequence[float]) -> list[list[int]]:
    """Neighbours of `order` in lists whose loads add up to 1 at most, one item at least."""
    batches: list[list[int]] = [[]]
    held = 0.0
    for i in order:
        if batches[-1] and held + loads[i] > 1:
            batches.append([])
            held = 0.0
        batches[-1].append(i)
        held += loads[i]
    return [b for b in batches if b]


def _score(
    model: VideoLanguageModel,
    rows: Sequence[Sequence[Prompt]],
    shared: Sequence[int],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int],
    chosen: Sequence[int],
    cached: CachedVideos | None,
) -> list[list[Tensor]]:
    """`nll_of_targets` for one batch of groups."""
    groups, cuts, about = [rows[i] for i in chosen], [shared[i] for i in chosen], [videos[i] for i in chosen]
    trunks = [Prompt(group[0].ids[:cut], group[0].slots, (cut, cut)) for group, cut in zip(groups, cuts, strict=True)]
    context, offsets, inputs = _heads(model, trunks, frames, valid, about, cached)
    column = torch.arange(inputs.input_ids.shape[1]) + torch.tensor(offsets)[:, None]
    begins = torch.tensor([min(p.target[0] for p in group) for group in groups])[:, None]
    labelled = (column >= begins) & (column < torch.tensor(cuts)[:, None])
    width = max(len(group) for group in groups)
    longest = max(len(p) - cut for group, cut in zip(groups, cuts, strict=True) for p in group)
    ids = torch.zeros(len(groups), width, longest, dtype=torch.int64)
    mask = torch.zeros(len(groups), width, longest, dtype=torch.bool)
    for at, (group, cut) in enumerate(zip(groups, cuts, strict=True)):
        for option, prompt in enumerate(group):
            ids[at, option, : len(prompt) - cut] = torch.tensor(prompt.ids[cut:])
            mask[at, option, : len(prompt) - cut] = True
    device = model.device
    common, own = model.score_continuations(
        inputs, ids.to(device), mask.to(device), labelled=labelled.to(device), cache=context
    )
    common, own = common.cpu(), own.cpu()
    return [
        [
            torch.cat(
                [
                    common[at, max(p.target[0] - offset, 0) : cut - offset],
                    own[at, option, max(p.target[0] - cut, 0) : p.target[1] - cut],
                ]
            )
            for option, p in enumerate(group)
        ]
        for at, (group, cut, offset) in enumerate(zip(groups, cuts, offsets, strict=True))
    ]


def read_together(
    model: VideoLanguageModel,
    prompts: Sequence[Prompt],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int],
    cached: CachedVideos | None = None,
) -> KVCache:
    """Let the model read prompts without targets; those that begin alike on the same video go on from one reading of
    it. frames: [V, T, D]; valid: bool [V, T]; videos: which of them each prompt is about. cached:
    what was read of them before."""
    context, _, inputs = _heads(model, prompts, frames, valid, videos, cached)
    return model.prefill(inputs, context)


def _heads(
    model: VideoLanguageModel,
    prompts: Sequence[Prompt],
    frames: Tensor,
    valid: Tensor,
    videos: Sequence[int],
    cached: CachedVideos | None = None,
) -> tuple[KVCache | None, list[int], ModelInputs]:
    """Prompts that begin alike on the same video go on from one reading of it.

    Returns what was read for each prompt (None where no two begin alike and nothing is kept), how many of its tokens
    that are, and what is left to read.
    """
    keys = [(video, prompt.ids[: prompt.slots[1]]) for video, prompt in zip(videos, prompts, strict=True)]
    heads = dict(zip(keys, prompts, strict=True))
    if len(heads) == len(prompts) and cached is None:
        about = list(videos)
        return None, [0] * len(prompts), _inputs(model, prompts, frames[about], valid[about])
    seen = [video for video, _ in heads]
    begun = [Prompt(ids, prompt.slots, (len(ids), len(ids))) for (_, ids), prompt in heads.items()]
    row = {key: number for number, key in enumerate(heads)}

    def begin(some: Sequence[int]) -> KVCache:
        of = [seen[number] for number in some]
        return read(model, [begun[number] for number in some], frames[of], valid[of])

    if cached is None:
        context = begin(range(len(begun)))
    else:
        context = cached.cache.read(begun, [cached.videos[video] for video in seen], begin)
    context = context.take([row[key] for key in keys])
    offsets = [prompt.slots[1] for prompt in prompts]
    ids, visible = _padded([p.ids[at:] for p, at in zip(prompts, offsets, strict=True)], model.device)
    return context, offsets, ModelInputs(ids, attention_mask=visible)


def _inputs(model: VideoLanguageModel, prompts: Sequence[Prompt], frames: Tensor, valid: Tensor) -> ModelInputs:
    """Prompts and their videos as the model reads them, padded on the right."""
    device = model.device
    ids, visible = _padded([p.ids for p in prompts], device)
    column = torch.arange(ids.shape[1])
    slots = torch.tensor([p.slots for p in prompts])
    is_slot = (column >= slots[:, :1]) & (column < slots[:, 1:])
    return ModelInputs(ids, frames.to(device), valid.to(device), is_slot.to(device), visible)


def _padded(sequences: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    """ids int64 [N, S] and visible bool [N, S], padded on the right."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    return ids.to(device), (torch.arange(ids.shape[1]) < lengths[:, None]).to(device)
