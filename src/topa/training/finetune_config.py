"""Settings of fine-tuning, and what it draws from: questions about clips, many of which share a clip.

Read by `topa.training.finetune`; the loop knows the settings as `TrainConfig` and the questions as `Samples`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from ..core.errors import UsageError
from ..core.registry import unknown
from .config import RECIPES, TrainConfig, configure
from .data import AlignmentSet, Labels

FINETUNE_RECIPES = RECIPES / "finetune"
_SCRATCH = "from_scratch"
_WITHOUT = {"epochs": 10, "warmup": 0.2}
"""Of a run without pre-alignment: twice the epochs. Source: the released baseline."""


class FinetuneConfig(TrainConfig):
    """A fine-tuning run. Defaults are the paper's for a 7B language model on NExT-QA and STAR, but for two: gates,
    biases and embeddings don't decay, and gradients are clipped."""

    choose: float = Field(2.0, ge=0, description="share of multiple choice, answered by letter")
    answer: float = Field(1.0, ge=0, description="share of open questions; also of the right option's text")
    describe: float = Field(0.0, ge=0, description="share of summaries, of questions that come with a description")
    epochs: int = Field(5, gt=0, description="passes over all questions")
    warmup: float = Field(0.2, ge=0, lt=1, description="share of the steps with a rising learning rate")
    batch_size: int = Field(320, gt=0, description="questions of one step, over all processes")
    lr: float = Field(1.25e-2, gt=0, description="learning rate at the end of the warm-up")
    bridge: Literal["raw", "projected"] = Field(
        "raw", description="pictures as they are, the paper's, or through the model's memory"
    )
    raw_projector: Literal["aligned", "fresh"] = Field(
        "aligned",
        description="bridge raw: the projector goes on from the aligned one, or is drawn anew, as after a warm start, "
        "whose large weights hardly move",
    )
    fraction: float = Field(
        1.0, gt=0, le=1, description="share of the training videos; a smaller one is part of a larger one"
    )
    held_out: float = Field(0.1, ge=0, lt=1, description="share of the videos that is held out for validation")
    validation: int = Field(200, ge=0, description="questions about held-out videos, at most")
    from_scratch: bool = Field(False, description="without pre-alignment: the adapter begins at random")
    video_bias: float = Field(
        3.5, description="from scratch: video bias at the start, subtracted from scores of frames"
    )
    init_std: float = Field(1.0, gt=0, description="from scratch: deviation of prompts and temporal vectors")


def finetune_recipes() -> list[str]:
    """Return the names of the recipes for fine-tuning that come with topa."""
    return sorted(path.stem for path in FINETUNE_RECIPES.glob("*.toml"))


def read_finetune_recipe(
    name: str | None, base: Mapping[str, Any], settings: Sequence[str] = (), *, from_scratch: bool = False
) -> FinetuneConfig:
    """Read settings of a run: `base`, changed by a recipe (name or file, or none), changed by `key=value` settings.

    from_scratch: also by ten epochs, two of them warm-up, and by the recipe's table `[from_scratch]`.
    Raises UsageError for an unknown recipe, key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    where = "fine-tuning"
    if name is not None:
        path = Path(name) if name.endswith(".toml") else FINETUNE_RECIPES / f"{name}.toml"
        if not path.is_file():
            if name.endswith(".toml"):
                known = ", ".join(finetune_recipes())
                raise UsageError(f"{name}: no such recipe file. Known recipes for fine-tuning: {known}.")
            raise unknown("recipe for fine-tuning", name, finetune_recipes())
        where = path.name
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not a TOML file ({error}). Expected lines of the form key = value.") from error
    table = values.pop(_SCRATCH, {})
    if not isinstance(table, dict):
        raise UsageError(f"{where}: from_scratch is a table of settings; found {table!r}. Give --from-scratch instead.")
    without = {**_WITHOUT, **table, _SCRATCH: True} if from_scratch else {}
    return configure(FinetuneConfig, {**base, **values, **without}, settings, where)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Questions about clips, in memory. values: float32 [C, T, D] and valid: bool [C, T] of the clips; clip: which of
    them each of N questions is about; labels, names: N."""

    values: Tensor
    valid: Tensor
    clip: tuple[int, ...]
    labels: tuple[Labels, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Return the question's id."""
        return self.names[index]

    def labels_of(self, index: int) -> Labels:
        """Return the question, and the clip's description."""
        return self.labels[index]

    def frame_count(self, index: int) -> int:
        """Return the number of the clip's valid frames."""
        return int(self.valid[self.clip[index]].sum())

    def features(self, members: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return copies: float32 [B, T, D] and bool [B, T]."""
        at = [self.clip[i] for i in members]
        return self.values[at], self.valid[at]

    def take(self, members: Sequence[int]) -> AlignmentSet:
        """Select questions, each with its own copy of the features."""
        values, valid = self.features(members)
        return AlignmentSet(values, valid, tuple(self.labels[i] for i in members))
