"""Train the micro LLM, a small Llama that knows only the micro world's words.

It is never trained on features of an encoder. It reads stories in three spellings:

- *sentences*: the scenes' captions, each after its number;
- *key words*: number, kind, colour, size, position, place;
- *bags*: one vector per scene, the sum of the embeddings of a caption's content words with random weights, plus noise.
  A wide LLM can read a superposition of its own words; a narrow one has to practise it.

A sequence holds one story and many questions about it, as a tree: each question attends to the story and to itself.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..prompts.templates import LETTERS, TOPA
from ..tideos.tideo import Tideo
from . import language, questions
from .muon import Muon
from .words import tokenizer as make_tokenizer
from .world import Story, write_story
from .writer import write_tideos

SPELLINGS = ("sentences", "key words", "bags")
_BAG = 5**0.5  # norm of a bag, that of the sum of five unrelated unit vectors, whatever its number of words
BRANCHES = {"facts": 12, "choose": 3, "answer": 7, "describe": 1}
"""Branches per story; few for `choose`, whose options make it long, since attention is quadratic in the length."""
TASKS = tuple(BRANCHES)
_MATCH = 0.25
_SLACK = 4
_PRACTICE = (*questions.KINDS_OF_QUESTION, *("count", "action", "order", "before_after", "what_changed") * 2)
"""Kinds of question to cycle through: those that need several scenes three times as often."""


@dataclass(frozen=True, slots=True)
class StoryTree:
    """One story with its branches. bags: word ids per scene, or None if the story is spelled in tokens."""

    prefix: list[int]
    bags: list[list[int]] | None
    branches: list[tuple[list[int], list[int], str]]  # prompt, target, kind of question


class CachedTokenizer:
    """A tokenizer with a cache, since the micro world has few distinct strings."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self.eos = int(tokenizer.eos_token_id)
        self.bos = int(tokenizer.bos_token_id)

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""
        ids = self._cache.get(text)
        if ids is None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(self._cache) < 200_000:
                self._cache[text] = ids
        return list(ids)


def facts(story: Story, rng: random.Random, amount: int) -> list[tuple[str, str]]:
    """Draw (question, answer) pairs in shorthand: a value by scene, a scene by value, a change, a count.

    They teach the model to bind values to scenes.
    """
    names = ("toy", "colour", "size", "position", "place")
    table = [astuple(scene) for scene in story.scenes]
    pairs: list[tuple[str, str]] = []
    for sort in rng.choices(
        ("at", "start", "end", "changes", "many", "next"), (0.15, 0.1, 0.1, 0.3, 0.2, 0.15), k=amount
    ):
        at, name = rng.randrange(len(table)), rng.randrange(5)
        column = [row[name] for row in table]
        value = column[at]
        if sort == "at":
            pairs.append((f"{at + 1} {names[name]}", value))
        elif sort == "start":
            pairs.append((f"start {value}", str(column.index(value) + 1)))
        elif sort == "end":
            pairs.append((f"end {value}", str(len(column) - column[::-1].index(value))))
        elif sort == "changes":
            at = rng.randrange(len(story.changes))
            pairs.append((f"changes {at + 1}", story.changes[at]))
        elif sort == "many":  # draw the number first: most values occur once
            counts = Counter(v for row in table for v in row)
            number = rng.choice(sorted(set(counts.values())))
            value = rng.choice(sorted(v for v, n in counts.items() if n == number))
            pairs.append((f"many {value}", questions.NUMBERS[number - 1]))
        else:
            runs = [v for v, _ in itertools.groupby(column)]
            where = rng.randrange(len(runs))
            if runs.count(runs[where]) == 1:
                after = runs[where + 1] if where + 1 < len(runs) else "end"
                pairs.append((f"after {runs[where]}", after))
                before = runs[where - 1] if where else "start"
                pairs.append((f"before {runs[where]}", before))
    return pairs


def spell(
    story: Story, rng: random.Random, encode: CachedTokenizer, spelling: str, instruction: str
) -> tuple[list[int], list[list[int]] | None]:
    """Return the ids of instruction and story; for the spelling "bags", the story's bags instead of its ids."""
    prefix = [encode.bos, *encode(instruction)]
    if spelling == "bags":
        return prefix, [
            encode(
                " ".join([*(w for w in language.caption(s, rng).split() if w not in language.FUNCTION_WORDS), str(i)])
            )
            for i, s in enumerate(story.scenes, start=1)
        ]
    if spelling == "key words":
        return prefix + encode(
            " . ".join(f"{i} {' '.join(astuple(s))}" for i, s in enumerate(story.scenes, start=1))
        ), None
    sentences = (f"{i} {language.caption(s, rng)}" for i, s in enumerate(story.scenes, start=1))
    return prefix + encode(" . ".join(sentences)), None


def make_item(
    rng: random.Random,
    encode: CachedTokenizer,
    spelling: str,
    task: str,
    branches: int,
    balance: questions.Balance | None = None,
) -> StoryTree:
    """Draw a story in a spelling, with branches of one task. balance: of the answers over all items."""
    balance = balance or questions.Balance(rng, slack=_SLACK)
    story = write_story(rng)
    instruction = {"choose": TOPA.choose, "describe": TOPA.describe}.get(task, TOPA.answer)
    prefix, bags = spell(story, rng, encode, spelling, instruction)
    tree: list[tuple[list[int], list[int], str]] = []
    if task == "describe":
        tree.append((encode(TOPA.description), [*encode(language.description(story)), encode.eos], "description"))
    elif task == "facts":
        tree += [
            (encode(q), encode(a), "at " + q.split()[1] if q[0].isdigit() else q.split()[0])
            for q, a in facts(story, rng, branches)
        ]
    else:
        kinds = itertools.cycle(rng.sample(_PRACTICE, len(_PRACTICE)))
        for kind in itertools.islice(kinds, 3 * branches):
            candidate = balance.pick(story, kind) if len(tree) < branches else None
            if candidate is None:
                continue
            question = questions.lay_out(candidate, rng)
            assert question.answer is not None
            assert question.answer_text is not None
            if task == "choose":
                # Sometimes use the answer as the question, which teaches only to find the matching option.
                wording = question.answer_text if rng.random() < _MATCH else question.question
                kind = "match" if wording == question.answer_text else kind
                prompt = encode(TOPA.choice_body(wording, question.options))
                target = encode(TOPA.choice.format(letter=LETTERS[question.answer]))
            else:
                prompt, target = encode(TOPA.open_body(question.question)), encode(question.answer_text)
            tree.append((prompt, [*target, encode.eos], kind))
    return StoryTree(prefix, bags, tree)


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """A padded batch of trees.

    ids, position: int64 [B, S]. mask: bool [B, 1, S, S]. bags: int64 [B, scenes, words], to insert at `bag_start`, or
    None. rows, columns, targets, branch: int64 [N], of the labelled positions: where they are, their target ids, and
    the index of their branch in `kinds`.
    """

    ids: Tensor
    position: Tensor
    mask: Tensor
    bags: Tensor | None
    pad: int
    bag_start: int
    rows: Tensor
    columns: Tensor
    targets: Tensor
    branch: Tensor
    kinds: list[str]


def collate(items: list[StoryTree], pad: int) -> TreeBatch:
    """Batch items of one spelling and task, as trees padded on the right."""
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    kinds: list[str] = []
    sequences, positions, owners = [], [], []
    bag_start = len(items[0].prefix)
    for row, item in enumerate(items):
        ids = list(item.prefix) + ([pad] * len(item.bags) if item.bags else [])
        trunk = len(ids)
        position, branch = list(range(trunk)), [0] * trunk
        for number, (prompt, target, kind) in enumerate(item.branches, start=1):
            start = len(ids)
            for offset, token in enumerate(target):
                rows.append(row)
                columns.append(start + len(prompt) - 1 + offset)
                targets.append(token)
                owner.append(len(kinds))
            kinds.append(kind)
            body = [*prompt, *target[:-1]]
            ids += body
            position += range(trunk, trunk + len(body))
            branch += [number] * len(body)
        sequences.append(torch.tensor(ids))
        positions.append(torch.tensor(position))
        owners.append(torch.tensor(branch))
    ids_ = nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=pad)
    position_ = nn.utils.rnn.pad_sequence(positions, batch_first=True)
    branch_ = nn.utils.rnn.pad_sequence(owners, batch_first=True, padding_value=-1)
    length = ids_.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = (branch_[:, None, :] == branch_[:, :, None]) | (branch_[:, None, :] == 0)
    return TreeBatch(
        ids_,
        position_,
        (visible & causal)[:, None],
        _pad_bags([i.bags or [] for i in items], pad) if items[0].bags else None,
        pad,
        bag_start,
        torch.tensor(rows),
        torch.tensor(columns),
        torch.tensor(targets),
        torch.tensor(owner),
        kinds,
    )


def _pad_bags(bags: list[list[list[int]]], pad: int) -> Tensor:
    """Pad bags on the left, so that the scene's number stays last: int64 [B, scenes, words]."""
    longest = max(len(bag) for item in bags for bag in item)
    return torch.tensor([[[pad] * (longest - len(bag)) + bag for bag in item] for item in bags])


def logits(model: LlamaForCausalLM, batch: TreeBatch, noise: float, spread: float) -> Tensor:
    """Compute the logits at the labelled positions, [N, V]."""
    embed = model.get_input_embeddings()
    inputs = embed(batch.ids)
    if batch.bags is not None:
        weights = (batch.bags != batch.pad).float()  # [B, scenes, words], the scene's number last
        weights = weights * (1 + spread * (2 * torch.rand(weights.shape) - 1))
        weights[..., :-1] *= _BAG / weights[..., :-1].norm(dim=-1, keepdim=True)
        bag = (embed(batch.bags) * weights[..., None]).sum(2)
        if noise:
            bag = bag + noise * bag.detach().square().mean().sqrt() * torch.randn_like(bag)
        start = batch.bag_start
        inputs = torch.cat([inputs[:, :start], bag, inputs[:, start + bag.shape[1] :]], dim=1)
    hidden = model.model(inputs_embeds=inputs, attention_mask=batch.mask, position_ids=batch.position, use_cache=False)
    scores: Tensor = model.lm_head(hidden.last_hidden_state[batch.rows, batch.columns])
    return scores


@torch.no_grad()
def examine(
    model: LlamaForCausalLM, encode: CachedTokenizer, spelling: str, task: str, stories: int = 200, seed: int = 10**6
) -> dict[str, float]:
    """Return the share of branches that greedy decoding answers exactly, by kind of question."""
    rng = random.Random(f"{seed} {spelling} {task}")
    balance = questions.Balance(rng, slack=_SLACK)
    pad = int(encode.tokenizer.pad_token_id)
    right: dict[str, list[bool]] = {}
    for _ in range(math.ceil(stories / 50)):
        batch = collate([make_item(rng, encode, spelling, task, BRANCHES[task], balance) for _ in range(50)], pad)
        hit = logits(model, batch, 0.0, 0.0).argmax(-1) == batch.targets
        whole = torch.ones(len(batch.kinds)).scatter_reduce(0, batch.branch, hit.float(), "amin")
        for kind, ok in zip(batch.kinds, whole.bool().tolist(), strict=True):
            right.setdefault(kind, []).append(ok)
    return {k: sum(v) / len(v) for k, v in sorted(right.items())}


def choices(
    model: LlamaForCausalLM, encode: CachedTokenizer, spelling: str, stories: int, seed: int
) -> dict[str, float]:
    """Return the accuracy of choosing the option with the lowest mean NLL as a free answer, by kind of question."""
    rng = random.Random(f"{seed} {spelling} choices")
    balance = questions.Balance(rng)
    trees = [choice for _ in range(stories) for choice in make_choices(rng, encode, spelling, balance)]
    hits: dict[str, list[bool]] = {}
    for (item, _), hit in zip(trees, right_choices(model, encode, trees), strict=True):
        hits.setdefault(item.branches[0][2], []).append(hit)
    return {k: sum(v) / len(v) for k, v in sorted(hits.items())}


@torch.no_grad()
def right_choices(model: LlamaForCausalLM, encode: CachedTokenizer, trees: list[tuple[StoryTree, int]]) -> list[bool]:
    """Return for each question, a tree of its options, whether the right option has the lowest mean NLL."""
    pad = int(encode.tokenizer.pad_token_id)
    hits: list[bool] = []
    for start in range(0, len(trees), 150):
        part = trees[start : start + 150]
        batch = collate([item for item, _ in part], pad)
        each = nn.functional.cross_entropy(logits(model, batch, 0.0, 0.0), batch.targets, reduction="none")
        mean = torch.zeros(len(batch.kinds)).scatter_reduce(0, batch.branch, each, "mean", include_self=False)
        best = mean.view(-1, questions.OPTIONS).argmin(-1).tolist()
        hits += [prediction == answer for prediction, (_, answer) in zip(best, part, strict=True)]
    return hits


def in_words(model: LlamaForCausalLM, encode: CachedTokenizer, tideos: Iterable[Tideo]) -> float:
    """Return the accuracy on the Tideos' own questions, with their captions as sentences."""
    trees = []
    for tideo in tideos:
        sentences = " . ".join(f"{i} {frame.caption}" for i, frame in enumerate(tideo.frames, start=1))
        prefix = [encode.bos, *encode(TOPA.answer), *encode(sentences)]
        for question in tideo.questions:
            body = encode(TOPA.open_body(question.question))
            tree = [(body, [*encode(option), encode.eos], question.kind) for option in question.options]
            trees.append((StoryTree(prefix, None, tree), question.options.index(question.right or "")))
    hits = right_choices(model, encode, trees)
    return sum(hits) / len(hits)


def make_choices(
    rng: random.Random, encode: CachedTokenizer, spelling: str, balance: questions.Balance
) -> list[tuple[StoryTree, int]]:
    """Draw a story, and for each kind of question a tree with a branch per option, and the right option's index."""
    story = write_story(rng)
    prefix, bags = spell(story, rng, encode, spelling, TOPA.answer)
    trees = []
    for kind in questions.KINDS_OF_QUESTION:
        if candidate := balance.pick(story, kind):
            question = questions.lay_out(candidate, rng)
            prompt = encode(TOPA.open_body(question.question))
            tree = [(prompt, [*encode(option), encode.eos], kind) for option in question.options]
            trees.append((StoryTree(prefix, bags, tree), question.options.index(question.answer_text or "")))
    return trees


def card_tests(model: LlamaForCausalLM, encode: CachedTokenizer, seed: int = 11) -> dict[str, Any]:
    """Run the model card's tests: accuracy by spelling, by kind of question and as their mean."""

    def summary(by_kind: dict[str, float]) -> dict[str, float]:
        shares = {k: round(v, 3) for k, v in by_kind.items() if k in questions.KINDS_OF_QUESTION}
        return {"mean": round(sum(shares.values()) / len(shares), 3), **shares}

    spellings: dict[str, Any] = {
        spelling: {
            "choice": summary(choices(model, encode, spelling, 300, seed)),
            "letters": summary(examine(model, encode, spelling, "choose", 600, seed)),
            "exact": summary(examine(model, encode, spelling, "answer", 300, seed)),
            "description": examine(model, encode, spelling, "describe", 300, seed)["description"],
        }
        for spelling in SPELLINGS
    }
    return {
        "the demo's questions, in sentences": round(in_words(model, encode, write_tideos(500, seed)), 3),
        **spellings,
    }


def build(width: int, layers: int, heads: int, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Create an untrained micro LLM. Embeddings of standard deviation 1 keep words separable in sums."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=3 * width,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attention_dropout=0.0,
    )
    model = LlamaForCausalLM(config)
    nn.init.normal_(model.get_input_embeddings().weight, std=1.0)
    return model


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """A stage of training.

    spellings, tasks: sampling weights. rate: learning rate of Muon, for matrices. adam_rate: of AdamW, for embeddings
    and norms.
    """

    steps: int
    spellings: dict[str, float]
    tasks: dict[str, float]
    rate: float
    adam_rate: float


_QUESTIONS = {"facts": 0.25, "answer": 0.65, "describe": 0.1}
STAGES = (
    TrainingStage(800, {"bags": 0.8, "key words": 0.2}, {"facts": 1.0}, 0.02, 3e-3),
    TrainingStage(500, {"bags": 0.5, "key words": 0.2, "sentences": 0.3}, _QUESTIONS, 0.02, 3e-3),
    TrainingStage(4200, {"bags": 0.5, "key words": 0.15, "sentences": 0.35}, _QUESTIONS, 0.006, 0.012),
)
"""Facts come before questions. Later the matrices need small steps, or they forget some kinds of facts, and the
embeddings large ones, or synonyms never become neighbours; see docs/log.md."""


def train(
    out: Path,
    *,
    stages: tuple[TrainingStage, ...] = STAGES,
    seed: int = 0,
    width: int = 128,
    layers: int = 6,
    heads: int = 4,
    batch: int = 32,
    decay: float = 0.4,
    noise: float = 0.1,
    spread: float = 0.3,
    start_from: Path | None = None,
) -> None:
    """Train through the stages and save a Hugging Face folder to `out`. The same seed gives the same weights."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    balance = questions.Balance(rng, slack=_SLACK)
    tokenizer = make_tokenizer()
    encode = CachedTokenizer(tokenizer)
    pad = int(tokenizer.pad_token_id)
    model = build(width, layers, heads, tokenizer)
    if start_from:
        model = LlamaForCausalLM.from_pretrained(start_from, dtype=torch.float32)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = Muon(matrices, stages[0].rate, weight_decay=decay)
    adam = torch.optim.AdamW(rest, lr=stages[0].adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
    total = sum(stage.steps for stage in stages)
    start = last = time.monotonic()
    running: dict[str, float] = {}
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    schedule = [stage for stage in stages for _ in range(stage.steps)]
    for step, now in enumerate(schedule):
        factor = min(1.0, (step + 1) / 50) * min(1.0, max(0.02, (1 - step / total) / 0.5))
        for optimizer, top in ((muon, now.rate), (adam, now.adam_rate)):
            for group in optimizer.param_groups:
                group["lr"] = top * factor
        spelling = rng.choices(list(now.spellings), list(now.spellings.values()))[0]
        task = rng.choices(list(now.tasks), list(now.tasks.values()))[0]
        data = collate([make_item(rng, encode, spelling, task, BRANCHES[task], balance) for _ in range(batch)], pad)
        scores = logits(model, data, noise, spread)
        loss = nn.functional.cross_entropy(scores, data.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad()
        key = f"{spelling}/{task}"
        running[key] = 0.95 * running.get(key, loss.item()) + 0.05 * loss.item()
        if time.monotonic() - last > 120:
            last = time.monotonic()
            losses = {k: round(v, 3) for k, v in running.items()}
            print(json.dumps({"step": step, "of": total, "minutes": round((last - start) / 60, 1), "loss": losses}))
            for spelling, task in itertools.product(SPELLINGS, ("facts", "answer", "describe")):
                accuracy = examine(model, encode, spelling, task, 100)
                print(f"    {spelling}/{task}", " ".join(f"{a}={b:.2f}" for a, b in accuracy.items()), flush=True)
            model.save_pretrained(out)
    model.save_pretrained(out)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    for name in ("seed", "width", "layers", "heads", "batch"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("decay", "noise", "spread"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--start-from", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", help="steps of each stage, instead of the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    options = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    torch.set_num_threads(options.pop("threads"))
    if steps := options.pop("steps", None):
        options["stages"] = tuple(replace(s, steps=n) for s, n in zip(STAGES, steps, strict=True))
    train(options.pop("out"), **options)
