"""What training draws from: features with the texts that belong to them.

Made from Tideos and their text features (or videos and theirs), read by `training.loop`. Every draw is a function of
(seed, epoch, index): nothing depends on a global generator, so a resumed run continues to the bit, and all processes
of a run draw alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from ..features.frames import FrameFeatures
from ..features.store import FeatureStore
from ..prompts.prompt import Prompt, Prompter, TooLong
from ..tideos.options import shuffle_options
from ..tideos.tideo import Question, Tideo
from .config import TrainConfig

_WINDOW = 16


@dataclass(frozen=True, slots=True)
class Labels:
    """The texts of one (textual) video. description: "" where there is none, of a video that only has questions."""

    description: str
    questions: tuple[Question, ...]


class Samples(Protocol):
    """Training samples, in memory or on disk."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return the name that a person knows the sample by."""
        ...

    def labels_of(self, index: int) -> Labels:
        """Return the texts of a sample."""
        ...

    def frame_count(self, index: int) -> int:
        """Return the number of frames that the model reads of a sample, at most T."""
        ...

    def features(self, members: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return features, float32 [B, T, D] unit rows where valid, and which frames are valid, bool [B, T]."""
        ...


@dataclass(frozen=True, slots=True)
class AlignmentSet:
    """Samples in memory. values: float32 [N, T, D]; valid: bool [N, T]; labels: N; names: N, or none."""

    values: Tensor
    valid: Tensor
    labels: tuple[Labels, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def make(
        cls, features: Sequence[FrameFeatures], labels: Sequence[Labels], frames: int, names: Sequence[str] = ()
    ) -> AlignmentSet:
        """Bring all features to `frames` frames. Raises InputError where there is nothing, lengths differ, or a sample
        has no frame."""
        if not features or len(features) != len(labels):
            raise InputError(f"training data: found {len(features)} features for {len(labels)} labels; expected pairs.")
        if empty := [i for i, f in enumerate(features) if not bool(f.valid.any())]:
            raise InputError(
                f"training data: samples {empty[:5]} have no frame; expected one or more. Encode them again."
            )
        resampled = [f.resample(frames) for f in features]
        values, valid = torch.stack([f.values for f in resampled]), torch.stack([f.valid for f in resampled])
        return cls(values, valid, tuple(labels), tuple(names))

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Return its name, or its number where it has none."""
        return self.names[index] if self.names else str(index)

    def labels_of(self, index: int) -> Labels:
        """Return the texts of a sample."""
        return self.labels[index]

    def frame_count(self, index: int) -> int:
        """Return the number of its valid frames."""
        return int(self.valid[index].sum())

    def features(self, members: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return copies: float32 [B, T, D] and bool [B, T]."""
        at = list(members)
        return self.values[at], self.valid[at]

    def take(self, members: Sequence[int]) -> AlignmentSet:
        """Select samples, in this order."""
        names = tuple(self.names[i] for i in members) if self.names else ()
        return AlignmentSet(*self.features(members), tuple(self.labels[i] for i in members), names)

    def with_choices(self) -> AlignmentSet:
        """Select the samples that have a multiple choice question with a known answer."""
        return self.take([i for i, own in enumerate(self.labels) if any(q.answer is not None for q in own.questions)])

    def blind(self) -> AlignmentSet:
        """Zero every feature: what the wording of questions alone gives away."""
        return replace(self, values=torch.zeros_like(self.values))


@dataclass(frozen=True, slots=True)
class StoredSet:
    """Samples that stay on disk: some `places` in a sequence of Tideos, whose ids are `ids`, and their features in a
    store, `frames` of each."""

    tideos: Sequence[Tideo]
    ids: Sequence[str]
    store: FeatureStore
    frames: int
    places: range

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """Return the Tideo's id."""
        return self.ids[self.places[index]]

    def labels_of(self, index: int) -> Labels:
        """Read the texts from the file. Raises InputError for a line that is no Tideo."""
        tideo = self.tideos[self.places[index]]
        return Labels(tideo.description, tideo.questions)

    def frame_count(self, index: int) -> int:
        """Return the number of frames that the model reads of it."""
        return min(self.frames, self.store.length(self.name(index)))

    def features(self, members: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read features from the store. Raises InputError that names ids whose features aren't finite unit rows."""
        return self.store.batch([self.name(i) for i in members], self.frames)

    def in_memory(self) -> AlignmentSet:
        """Read all samples into memory."""
        members = range(len(self))
        labels, names = tuple(map(self.labels_of, members)), tuple(map(self.name, members))
        return AlignmentSet(*self.features(members), labels, names)


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """ids, visible, is_slot: [B, S]; frames [B, T, D]; frame_valid [B, T]; rows, columns: the positions that predict
    the targets [N]; members: which samples of the set are in it, for messages; shared: how many tokens before the
    frames are the same in all rows; cut: prompts whose options lost words, as the LLM can't read as much."""

    ids: Tensor
    visible: Tensor
    is_slot: Tensor
    frames: Tensor
    frame_valid: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    members: tuple[int, ...]
    shared: int
    cut: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimiser, as one process sees it.

    micro_batches: what this process reads, one after another. weights: the share of the step's targets in each, 0 for
    one that is there only because other processes have as many. members: the samples of all processes. tokens, targets,
    cut: of all processes. left_out: samples that no prompt of `max_tokens` holds, counted once for several steps.
    """

    micro_batches: tuple[PromptBatch, ...]
    weights: tuple[float, ...]
    members: tuple[int, ...]
    tokens: int
    targets: int
    cut: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each step a process reads. even: all processes read as many passes, as they need one another."""

    rank: int = 0
    of: int = 1
    pass_tokens: int = 1 << 62
    even: bool = False


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the three tasks."""

    choose: float
    answer: float
    describe: float

    @classmethod
    def of(cls, config: TrainConfig) -> Mix:
        """Return the shares of a configuration."""
        return cls(config.choose, config.answer, config.describe)


def write_prompt(labels: Labels, frames: int, prompter: Prompter, mix: Mix, rng: random.Random) -> Prompt | None:
    """Write one training prompt: a task by its share among those the labels allow, then a question of it. Where that is
    longer than the prompter's window another task is tried, and None given where none fits."""
    choices = [q for q in labels.questions if q.options and q.answer is not None]
    opens = [q for q in labels.questions if q.right is not None]
    shares = {
        "choose": mix.choose * bool(choices),
        "answer": mix.answer * bool(opens),
        "describe": mix.describe * bool(labels.description),
    }
    if not any(shares.values()):
        shares["describe"] = 1.0
    while any(shares.values()):
        task = rng.choices(list(shares), list(shares.values()))[0]
        try:
            if task == "choose":
                question = shuffle_options(rng.choice(choices), rng)
                return prompter.choose(question.question, question.options, frames, question.answer)
            if task == "answer":
                question = rng.choice(opens)
                return prompter.answer(question.question, frames, question.right)
            return prompter.describe(frames, labels.description)
        except TooLong:
            shares[task] = 0.0
    return None


def collate(prompts: Sequence[Prompt], frames: Tensor, frame_valid: Tensor, members: Sequence[int] = ()) -> PromptBatch:
    """Pad prompts on the right; labels only where a target is predicted."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(p.ids) for p in prompts], batch_first=True)
    column = torch.arange(ids.shape[1])
    visible = column < torch.tensor([len(p) for p in prompts])[:, None]
    slots, targets = torch.tensor([p.slots for p in prompts]), torch.tensor([p.target for p in prompts])
    is_slot = (column >= slots[:, :1]) & (column < slots[:, 1:])
    rows, columns = ((column >= targets[:, :1]) & (column < targets[:, 1:])).nonzero(as_tuple=True)
    heads = {p.ids[: p.slots[0]] for p in prompts}
    return PromptBatch(
        ids,
        visible,
        is_slot,
        frames,
        frame_valid,
        rows,
        columns - 1,
        ids[rows, columns],
        tuple(members),
        shared=len(heads.pop()) if len(heads) == 1 else 0,
        cut=sum(p.cut > 0 for p in prompts),
    )


def epoch_batches(
    data: Samples, prompter: Prompter, mix: Mix, *, batch_size: int, seed: int, epoch: int, noise: float = 0.0
) -> Iterator[PromptBatch]:
    """Yield all samples once, a batch for each step. Arguments as in `epoch_steps`."""
    for step in epoch_steps(data, prompter, mix, batch_size=batch_size, seed=seed, epoch=epoch, noise=noise):
        yield from step.micro_batches


def epoch_steps(
    data: Samples,
    prompter: Prompter,
    mix: Mix,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    noise: float = 0.0,
    first: int = 0,
    share: Share | None = None,
) -> Iterator[Step]:
    """Yield all samples once, in steps of one task and similar length, as far as it goes. The last may be smaller.

    noise: deviation of Gaussian noise added to a unit feature, over the whole vector; normalised again afterwards.
    first: the step to begin with. share: this process' part; all of it by default.
    Source of noise: TOPA's `variance` and C3 (arXiv 2401.08567); 0 in the released runs.
    Raises InputError that names a sample with a question that can't be asked, or when so few samples fit into the
    prompter's window that steps stay empty.
    """
    share = share or Share()
    order = random.Random(f"{seed} order {epoch}").sample(range(len(data)), len(data))
    window = _WINDOW * batch_size
    for start in range(first // _WINDOW * window, len(order), window):
        sample = order[start : start + window]
        prompts = {}
        for i in sample:
            rng = random.Random(f"{seed} sample {epoch} {i}")
            try:
                prompt = write_prompt(data.labels_of(i), data.frame_count(i), prompter, mix, rng)
            except InputError as error:
                raise InputError(f"sample {data.name(i)}: {error}") from error
            if prompt is not None:
                prompts[i] = prompt
        members = sorted(prompts, key=lambda i: (prompts[i].ids[: prompts[i].slots[0]], len(prompts[i])))
        steps = _cut(members, len(sample), batch_size)
        if not all(steps):
            raise InputError(
                f"training data: {len(sample) - len(members)} of {len(sample)} samples have no prompt of "
                f"{prompter.window} tokens at most; expected most of them to fit. Allow longer ones: --set max_tokens="
            )
        random.Random(f"{seed} window {epoch} {start}").shuffle(steps)
        left_out = len(sample) - len(members)
        for number, step in enumerate(steps):
            if start // batch_size + number >= first:
                rows = [(i, prompts[i]) for i in step]
                yield _step(data, rows, noise, f"{seed} noise {epoch}", share, 0 if number else left_out)


def _cut(members: list[int], sample_size: int, batch_size: int) -> list[list[int]]:
    """Cut samples into parts of `batch_size`, or evenly smaller where some are missing: as many as without missing
    ones."""
    number = -(-sample_size // batch_size)
    if len(members) == sample_size:
        return [members[i * batch_size : (i + 1) * batch_size] for i in range(number)]
    return [members[i * len(members) // number : (i + 1) * len(members) // number] for i in range(number)]


def _step(
    data: Samples, rows_of_step: list[tuple[int, Prompt]], noise: float, key: str, share: Share, left_out: int
) -> Step:
    """Make this process's part of a step: every n-th row, in as many micro-batches as its budget asks for."""
    targets = sum(prompt.target[1] - prompt.target[0] for _, prompt in rows_of_step)
    parts = [_passes(rows_of_step[rank :: share.of], share.pass_tokens) for rank in range(share.of)]
    own = parts[share.rank]
    weights = [sum(p.target[1] - p.target[0] for _, p in rows) / targets for rows in own]
    if share.even:
        missing = max(map(len, parts)) - len(own)
        own, weights = own + [rows_of_step[:1]] * missing, weights + [0.0] * missing
    passes = []
    for rows in own:
        members = [i for i, _ in rows]
        values, valid = data.features(members)
        if noise:
            noisy = [add_noise(v, noise, f"{key} {i}") for v, i in zip(values, members, strict=True)]
            values = torch.stack(noisy)
        passes.append(collate([prompt for _, prompt in rows], values, valid, members))
    return Step(
        tuple(passes),
        tuple(weights),
        tuple(i for i, _ in rows_of_step),
        tokens=sum(len(prompt) for _, prompt in rows_of_step),
        targets=targets,
        cut=sum(prompt.cut > 0 for _, prompt in rows_of_step),
        left_out=left_out,
    )


def _passes(rows: list[tuple[int, Prompt]], budget: int) -> list[list[tuple[int, Prompt]]]:
    """Group neighbouring rows that, padded to the longest, are no more than `budget` tokens."""
    passes: list[list[tuple[int, Prompt]]] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row[1]))
        if passes and longest * (len(passes[-1]) + 1) <= budget:
            passes[-1].append(row)
        else:
            passes.append([row])
            longest = len(row[1])
    return passes


def add_noise(values: Tensor, noise: float, key: str) -> Tensor:
    """Add Gaussian noise of total deviation `noise` to unit rows [T, D], and normalise; rows of zeros stay."""
    generator = torch.Generator().manual_seed(random.Random(key).getrandbits(62))
    gaussian = torch.randn(values.shape, generator=generator) * (noise / values.shape[-1] ** 0.5)
    return nn.functional.normalize(values + gaussian * values.any(-1, keepdim=True), dim=-1)


def batches_per_epoch(samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch."""
    return -(-samples // batch_size)
