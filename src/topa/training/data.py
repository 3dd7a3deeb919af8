"""What training draws from: features with the texts that belong to them.

Made from Tideos and their text features (or videos and theirs), read by `training.align`. Every draw is a function of
(seed, epoch, index): nothing depends on a global generator, so a resumed run continues to the bit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from ..features.frames import FrameFeatures
from ..prompts.prompt import Prompt, Prompter
from ..tideos.options import shuffle_options
from ..tideos.tideo import Question

_WINDOW = 16


@dataclass(frozen=True, slots=True)
class Labels:
    """The texts of one (textual) video."""

    description: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class AlignmentSet:
    """values: float32 [N, T, D]; valid: bool [N, T]; labels: N."""

    values: Tensor
    valid: Tensor
    labels: tuple[Labels, ...]

    @classmethod
    def make(cls, features: Sequence[FrameFeatures], labels: Sequence[Labels], frames: int) -> AlignmentSet:
        """Bring all features to `frames` frames. Raises InputError where there is nothing, lengths differ, or a sample
        has no frame."""
        if not features or len(features) != len(labels):
            raise InputError(f"training data: found {len(features)} features for {len(labels)} labels; expected pairs.")
        if empty := [i for i, f in enumerate(features) if not bool(f.valid.any())]:
            raise InputError(
                f"training data: samples {empty[:5]} have no frame; expected one or more. Encode them again."
            )
        taken = [f.resample(frames) for f in features]
        return cls(torch.stack([f.values for f in taken]), torch.stack([f.valid for f in taken]), tuple(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def with_choices(self) -> AlignmentSet:
        """The samples that have a multiple choice question with a known answer."""
        kept = [i for i, own in enumerate(self.labels) if any(q.answer is not None for q in own.questions)]
        return AlignmentSet(self.values[kept], self.valid[kept], tuple(self.labels[i] for i in kept))

    def blind(self) -> AlignmentSet:
        """The same questions with every feature zeroed: what the wording alone gives away."""
        return replace(self, values=torch.zeros_like(self.values))


@dataclass(frozen=True, slots=True)
class Batch:
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
class Mix:
    """Shares of the three tasks."""

    choose: float
    answer: float
    describe: float


def write_prompt(labels: Labels, frames: int, prompter: Prompter, mix: Mix, rng: random.Random) -> Prompt:
    """One training prompt: a task by its share among those the labels allow, then a question of it."""
    choices = [q for q in labels.questions if q.options and q.answer is not None]
    opens = [q for q in labels.questions if q.right is not None]
    shares = (mix.choose * bool(choices), mix.answer * bool(opens), mix.describe)
    if sum(shares) == 0:
        shares = (0.0, 0.0, 1.0)
    task = rng.choices(("choose", "answer", "describe"), shares)[0]
    if task == "choose":
        question = shuffle_options(rng.choice(choices), rng)
        return prompter.choose(question.question, question.options, frames, question.answer)
    if task == "answer":
        question = rng.choice(opens)
        return prompter.answer(question.question, frames, question.right)
    return prompter.describe(frames, labels.description)


def collate(prompts: Sequence[Prompt], frames: Tensor, frame_valid: Tensor, members: Sequence[int] = ()) -> Batch:
    """Pad prompts on the right; labels only where a target is predicted."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(p.ids) for p in prompts], batch_first=True)
    column = torch.arange(ids.shape[1])
    visible = column < torch.tensor([len(p) for p in prompts])[:, None]
    slots, targets = torch.tensor([p.slots for p in prompts]), torch.tensor([p.target for p in prompts])
    is_slot = (column >= slots[:, :1]) & (column < slots[:, 1:])
    rows, columns = ((column >= targets[:, :1]) & (column < targets[:, 1:])).nonzero(as_tuple=True)
    heads = {p.ids[: p.slots[0]] for p in prompts}
    return Batch(
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
    data: AlignmentSet, prompter: Prompter, mix: Mix, *, batch_size: int, seed: int, epoch: int, noise: float = 0.0
) -> Iterator[Batch]:
    """All samples once, in batches of one task and similar length, as far as it goes. The last, smaller one is kept.

    noise: deviation of Gaussian noise added to a unit feature, over the whole vector; normalised again afterwards.
    Source: TOPA's `variance` and C3 (arXiv 2401.08567); 0 in the released runs.
    """
    order = random.Random(f"{seed} order {epoch}").sample(range(len(data)), len(data))
    for window in range(0, len(order), _WINDOW * batch_size):
        members = order[window : window + _WINDOW * batch_size]
        prompts = {}
        for i in members:
            rng = random.Random(f"{seed} sample {epoch} {i}")
            try:
                prompts[i] = write_prompt(data.labels[i], int(data.valid[i].sum()), prompter, mix, rng)
            except InputError as error:
                raise InputError(f"sample {i}: {error}") from error
        members.sort(key=lambda i: (prompts[i].ids[: prompts[i].slots[0]], len(prompts[i])))
        starts = list(range(0, len(members), batch_size))
        random.Random(f"{seed} window {epoch} {window}").shuffle(starts)
        for start in starts:
            batch = members[start : start + batch_size]
            values = data.values[batch]
            if noise:
                values = torch.stack(
                    [add_noise(v, noise, f"{seed} noise {epoch} {i}") for v, i in zip(values, batch, strict=True)]
                )
            yield collate([prompts[i] for i in batch], values, data.valid[batch], batch)


def add_noise(values: Tensor, noise: float, key: str) -> Tensor:
    """Unit rows with Gaussian noise of total deviation `noise`, normalised again; rows of zeros stay. [T, D]."""
    generator = torch.Generator().manual_seed(random.Random(key).getrandbits(62))
    drawn = torch.randn(values.shape, generator=generator) * (noise / values.shape[-1] ** 0.5)
    return nn.functional.normalize(values + drawn * values.any(-1, keepdim=True), dim=-1)


def batches_per_epoch(samples: int, batch_size: int) -> int:
    """How many batches `epoch_batches` gives."""
    return -(-samples // batch_size)
