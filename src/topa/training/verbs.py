"""The configs of the verbs that train, or bring in what others have trained. The settings of a run are its recipe's:
see `training.config` and `training.finetune_config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..core.command import command_line
from ..core.errors import UsageError
from ..core.verbs import VerbConfig, option

if TYPE_CHECKING:
    from .config import AlignConfig

_CHANGES = "Go on with a run whose settings were others."
_OUT = "Folder of the run and the model; the same command again resumes."
_SETTINGS = "key=value, changes the recipe."
_TRACK = "tensorboard, wandb (offline) or trackio, beside metrics.jsonl; repeatable."


def _recipes() -> list[str]:
    from .config import recipes

    return recipes()


class AlignRunConfig(VerbConfig):
    """Teach a frozen language model to read text features: pre-alignment, on text only.

    Example:  topa align --recipe microworld --out my-model --set epochs=2
    On two GPUs:  topa align --recipe llama2-7b --tideos textvid --features features --processes 2 --out topa-7b
    """

    out: Path = option(_OUT)
    recipe: str | None = option(
        "Name of a recipe, or a TOML file. Needed with --tideos; without, the micro world's toy models are trained "
        "on its own Tideos.",
        complete=_recipes,
        default=None,
    )
    tideos: Path | None = option(
        "Tideos as JSON Lines, or a set of topa generate, instead of the recipe's.", default=None
    )
    features: Path | None = option("Where topa encode has put the Tideos' features, or they go.", default=None)
    llm: str | None = option("The frozen language model, instead of the recipe's.", default=None)
    settings: tuple[str, ...] = option(_SETTINGS, flag="--set", default=())
    track: tuple[str, ...] = option(_TRACK, default=())
    processes: int | None = option(
        "Start so many on this machine, one for each GPU. On several machines: torchrun or accelerate launch "
        "-m topa.cli align ...",
        min=1,
        default=None,
    )
    accept_changes: bool = option(_CHANGES, default=False)

    def __post_init__(self) -> None:
        """Raise UsageError where there are Tideos without a recipe, and for a recipe or setting that nobody knows."""
        super().__post_init__()
        self.read_recipe()

    def read_recipe(self) -> AlignConfig:
        """The settings of the run."""
        from .config import DEFAULT_RECIPE, described_recipes, read_recipe

        if self.recipe is None and self.tideos is not None:
            raise UsageError(
                f"align: found --tideos and no --recipe; expected both, as a recipe says which language model learns "
                f"to read them, and how. There are: {described_recipes()}; or a TOML file of your own. Expected: "
                f"{command_line('align', '--recipe', 'RECIPE', '--tideos', self.tideos, '--out', self.out)}"
            )
        changes = [*self.settings, *([] if self.llm is None else [f"llm={self.llm}"])]
        return read_recipe(self.recipe or DEFAULT_RECIPE, changes)


class FinetuneRunConfig(VerbConfig):
    """Train an aligned model further, on questions about real videos.

    Example:  topa finetune --model my-model --data questions.jsonl --out my-tuned --fraction 0.1
    """

    model: str = option("A pre-aligned model: a folder, or on the hub org/name or org/name@revision.")
    data: Path = option("Questions about videos, with answers.")
    out: Path = option(_OUT)
    videos: Path | None = option("Folder that the videos' paths start from. Default: the data's.", default=None)
    data_format: Literal["jsonl", "nextqa", "star", "tvqa"] = option(
        "jsonl (your own), nextqa, star, or tvqa, as published.", flag="--format", default="jsonl"
    )
    features: Path | None = option("Where the videos' features are, or go. Default: OUT/features.", default=None)
    recipe: str | None = option("Name of a recipe for fine-tuning, or a TOML file.", default=None)
    bridge: Literal["raw", "projected"] | None = option(
        "Pictures as they are (raw, the default), or through the model's memory.", default=None
    )
    fraction: float | None = option("Share of the training videos; smaller ones are part of larger.", default=None)
    from_scratch: bool = option("Without pre-alignment: the same adapter from a random start.", default=False)
    settings: tuple[str, ...] = option(_SETTINGS, flag="--set", default=())
    workers: int = option("Videos decoded at the same time.", min=1, default=1)
    track: tuple[str, ...] = option(_TRACK, default=())
    processes: int | None = option("Start so many on this machine, one for each GPU.", min=1, default=None)
    accept_changes: bool = option(_CHANGES, default=False)

    @property
    def changes(self) -> list[str]:
        """The settings of the recipe that are others, as `key=value`."""
        own = {"bridge": self.bridge, "fraction": self.fraction}
        return [*self.settings, *(f"{key}={value}" for key, value in own.items() if value is not None)]


class ImportCheckpointConfig(VerbConfig):
    """An adapter that TOPA's authors released, as a saved model that behaves like their code.

    Example:  topa import checkpoint --backbone llama2/7B --adapter checkpoint_19.pth --out topa-7b
    """

    backbone: str = option("The Llama: a folder in Meta's naming, a Hugging Face folder, or a hub id.")
    adapter: Path = option("What TOPA's authors released: checkpoint_N.pth.")
    out: Path = option("Folder of the saved model.")
    encoder: str | None = option("Default: CLIP ViT-L/14, the released one.", default=None)
    memory: Path | None = option("A memory of that encoder. Without: pictures are read as they are.", default=None)
    family: Literal["llama2", "llama3"] | None = option(
        "llama2 or llama3, where the file doesn't say it.", default=None
    )
    prompt_length: int | None = option("Prompts per layer, where the file doesn't say it.", min=1, default=None)
    rope_theta: float = option("Rotary base; all released adapters were trained with 10,000.", default=10000.0)
