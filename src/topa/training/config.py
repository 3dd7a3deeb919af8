"""What a training run is told: one value, from a recipe file and `--set key=value`.

Read by `training.align`; layers never see it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import UsageError
from ..core.registry import unknown

RECIPES = Path(__file__).parent / "recipes"


class AlignConfig(BaseModel):
    """A pre-alignment run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    llm: str = Field(description="folder or hub id of the frozen language model")
    bits: int = Field(0, description="8 or 4: quantise the frozen language model by bitsandbytes; 0: as it is")
    encoder: str = Field(description="folder or hub id of the CLIP-like encoder")
    writer: str = Field("microworld", description="who writes Tideos when no --tideos are given")
    microworld_tideos: int = Field(0, ge=0, description="write this many micro world Tideos when no --tideos are given")
    memory_rows: int = Field(1_000_000, gt=0, description="rows of the memory bank, at most")
    fusion: Literal["mean", "caption"] = Field(
        "mean", description="a frame's feature: mean of all its captions, or the frame caption's"
    )
    frames: int = Field(10, gt=0, description="frame slots T")
    tokens_per_frame: int = Field(1, gt=0, description="LLM positions per frame; 1 in the paper")
    adapter: Literal["prompts", "lora"] = Field("prompts", description="what trains in the layers: prompts, or LoRA")
    lora_rank: int = Field(8, gt=0, description="rank of LoRA's updates, for adapter = lora")
    prompt_length: int = Field(50, gt=0, description="adapter prompts P per layer")
    adapted_layers: int | None = Field(None, gt=0, description="layers with prompts, from the top; all by default")
    video_bias: float = Field(3.5, description="video bias at the start, subtracted from the scores of frames")
    init_std: float = Field(1.0, gt=0, description="deviation of prompts and temporal vectors at the start")
    warm_start: float = Field(
        0.0,
        ge=0,
        description="length of the warm start's targets, in embeddings; 0: a random projector, the paper's",
    )
    temperature: float = Field(0.01, gt=0, description="tau of the projection at inference")
    protocol: Literal["selection", "logits"] = Field(
        "selection", description="how the model compares options: by their letter, or by their text"
    )
    choose: float = Field(0.5, ge=0, description="share of multiple choice, answered by letter")
    answer: float = Field(0.25, ge=0, description="share of open questions")
    describe: float = Field(0.25, ge=0, description="share of summaries")
    noise: float = Field(
        0.0, ge=0, description="deviation of Gaussian noise on the unit features, per vector: noise/sqrt(D) per number"
    )
    epochs: int = Field(20, gt=0, description="passes over all samples")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps with a rising learning rate")
    batch_size: int = Field(32, gt=0, description="samples of one step")
    lr: float = Field(5e-3, gt=0, description="learning rate at the end of the warm-up")
    projector_lr: float | None = Field(
        None, gt=0, description="the same for projector and temporal vectors; lr by default"
    )
    weight_decay: float = Field(0.1, ge=0, description="on the projector's matrix only")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    validation: int = Field(200, ge=0, description="held-out Tideos")
    checkpoint_minutes: float = Field(5.0, ge=0, description="time between checkpoints")
    seed: int = Field(0, description="of every draw: data, adapter, order, noise")

    def model_post_init(self, _: Any) -> None:
        """What one field can't say of itself: shares add up to something, and bits are some that exist."""
        if self.bits not in (0, 4, 8):
            raise ValueError(f"bits must be 8, 4 or 0 for none, not {self.bits}")
        if self.choose + self.answer + self.describe <= 0:
            raise ValueError("choose + answer + describe must be more than 0")


def recipes() -> list[str]:
    """The names of the recipes that come with topa."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_recipe(name: str, settings: list[str] | None = None) -> AlignConfig:
    """A recipe by name or file, changed by `key=value` settings.

    Raises UsageError for an unknown recipe, key, or a value of the wrong type.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise UsageError(f"{name}: no such recipe file. Known recipes: {', '.join(recipes())}.")
        raise unknown("recipe", name, recipes())
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file ({error}). Expected lines of the form key = value.") from error
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected key=value, as in --set epochs=5.")
        values[key.strip()] = value.strip()
    for key in values:
        if key not in AlignConfig.model_fields:
            raise unknown("setting", key, AlignConfig.model_fields)
    try:
        return AlignConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found = f"{where}: {first['msg']} (found {first['input']!r})" if where else str(first["msg"])
        raise UsageError(f"{path.name}: {found}. Mend it in the recipe, or with --set key=value.") from error
