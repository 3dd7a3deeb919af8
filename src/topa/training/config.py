"""Settings of a training run: one value, from a recipe file and `--set key=value`.

Read by `training.loop` and the stages around it; layers never see it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import UsageError
from ..core.protocols import LikelihoodProtocol
from ..core.registry import unknown

RECIPES = Path(__file__).parent / "recipes"


class TrainConfig(BaseModel):
    """Settings of the training loop, whether it aligns on text or fine-tunes on videos."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    protocol: LikelihoodProtocol = Field(
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
    batch_size: int = Field(32, gt=0, description="samples of one step, over all processes")
    max_tokens: int | None = Field(
        None,
        gt=0,
        description="longest prompt, answer included: options are shortened, other tasks tried, and samples that "
        "don't fit left out, counted; an answer is never cut. By default what the language model can read",
    )
    pass_tokens: int = Field(
        16384, gt=0, description="tokens that a process reads at once, padding included; a step takes several passes"
    )
    lr: float = Field(5e-3, gt=0, description="learning rate at the end of the warm-up")
    projector_lr: float | None = Field(
        None, gt=0, description="the same for projector and temporal vectors; lr by default"
    )
    weight_decay: float = Field(0.1, ge=0, description="of AdamW")
    decay: Literal["matrices", "all"] = Field(
        "matrices",
        description="what decays: the projector's and LoRA's matrices, or gates, biases and embeddings too, as in the "
        "paper's recipe",
    )
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: any, the paper's")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the frozen language model; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    checkpointing: bool = Field(
        False, description="compute a layer's activations again in the backward pass, which saves memory"
    )
    compiled: bool = Field(False, description="compile the layers of the language model with torch.compile")
    sharded: bool = Field(
        False, description="spread the frozen language model over the processes (FSDP), where it doesn't fit into one"
    )
    validation: int = Field(200, ge=0, description="held-out samples")
    validation_captions: int = Field(32, ge=0, description="of them, how many are described, for ROUGE-L")
    validate_every: int | None = Field(None, gt=0, description="steps between validations; by default an epoch")
    checkpoint_minutes: float = Field(5.0, ge=0, description="time between checkpoints")
    seed: int = Field(0, description="of every draw: data, adapter, order, noise")

    def model_post_init(self, _: Any) -> None:
        """Check what concerns several fields: shares add up to something."""
        if self.choose + self.answer + self.describe <= 0:
            raise ValueError("choose + answer + describe must be more than 0")


class AlignConfig(TrainConfig):
    """A pre-alignment run: the model, what it is aligned on, and the loop's settings."""

    llm: str = Field(description="folder or hub id of the frozen language model")
    bits: int = Field(0, description="8 or 4: quantise the frozen language model by bitsandbytes; 0: as it is")
    encoder: str = Field(description="folder or hub id of the CLIP-like encoder")
    writer: str = Field("microworld", description="who writes Tideos when no --tideos are given")
    microworld_tideos: int = Field(0, ge=0, description="write this many micro world Tideos when no --tideos are given")
    expected_tideos: int | None = Field(
        None,
        gt=0,
        exclude=True,
        description="how many Tideos the recipe was made for; less than half is warned of",
    )
    """Of the recipe, not of the run: no artifact holds it."""
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

    def model_post_init(self, context: Any) -> None:
        """Check also that bits exist, and that what is spread over processes is neither quantised nor trained."""
        super().model_post_init(context)
        if self.bits not in (0, 4, 8):
            raise ValueError(f"bits must be 8, 4 or 0 for none, not {self.bits}")
        if self.sharded and (self.bits or self.adapter == "lora"):
            raise ValueError("sharded goes with a language model that is neither quantised nor changed by LoRA")


C = TypeVar("C", bound=TrainConfig)


def described_recipes() -> str:
    """Describe the recipes that come with topa: the models and the number of Tideos that each was made for."""
    lines = []
    for name in recipes():
        own = read_recipe(name)
        number = "" if own.expected_tideos is None else f", made for {own.expected_tideos:,} Tideos"
        lines.append(f"{name} ({own.llm} with {own.encoder}{number})")
    return "; ".join(lines)


def recipes() -> list[str]:
    """Return the names of the recipes that come with topa."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_recipe(name: str, settings: Sequence[str] = ()) -> AlignConfig:
    """Read a recipe by name or file, changed by `key=value` settings.

    Raises UsageError for an unknown recipe, key, or a value of the wrong type.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise UsageError(f"{name}: no such recipe file. Known recipes: {', '.join(recipes())}.")
        raise unknown("recipe", name, recipes())
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file ({error}). Expected lines of the form key = value.") from error
    return configure(AlignConfig, values, settings, path.name)


def configure(kind: type[C], values: Mapping[str, Any], settings: Sequence[str], where: str) -> C:
    """Make a configuration from `values`, changed by `key=value` settings; `where` is for messages.

    Raises UsageError for an unknown key, or a value of the wrong type.
    """
    fields = dict(values)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected key=value, as in --set epochs=5.")
        fields[key.strip()] = value.strip()
    for key in fields:
        if key not in kind.model_fields:
            raise unknown("setting", key, kind.model_fields)
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        fault = f"{field}: {first['msg']} (found {first['input']!r})" if field else str(first["msg"])
        raise UsageError(f"{where}: {fault}. Mend it in the recipe, or with --set key=value.") from error
