"""A saved model: one folder in the Hugging Face manner.

`training` writes it, `inference` reads it. The frozen LLM and the encoder are named in it, never included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from transformers import PreTrainedModel

from ..core.artifacts import RECORD, output_folder, write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, OutputError
from ..core.hub import download, locate_saved
from ..core.protocols import LikelihoodProtocol
from .base import Legacy, identity, same
from .topa_model import VideoLanguageModel

CONFIG = "config.json"
ADAPTER = "adapter.safetensors"
FILES = (CONFIG, ADAPTER, "README.md")
"""What `save` writes."""


class SavedConfig(BaseModel):
    """`config.json` of a saved model: what is needed to put the adapter back onto the same LLM and encoder.

    encoder is how it is loaded, encoder_identity what its features are signed with. temperature: tau of the
    projection. protocol: how options are compared unless asked otherwise. llm_layers and llm_width
    guard against another base model under the same name; llm_identity knows its weights. legacy: what a released
    adapter needs, None for every other. bridge: how pictures come to the LLM: through the memory, the same after a mean
    shift, or as they are, for an adapter that was trained on videos.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    llm: str
    llm_layers: int
    llm_width: int
    llm_identity: str
    encoder: str
    encoder_identity: str
    feature_width: int
    frames: int
    tokens_per_frame: int
    adapter: Literal["prompts", "lora"] = "prompts"
    lora_rank: int | None = None
    prompt_length: int
    adapted_layers: int | None
    fusion: Literal["mean", "caption"]
    temperature: float
    protocol: LikelihoodProtocol
    bridge: Literal["projected", "shifted", "raw"] = "projected"
    legacy: Legacy | None = None


def build(llm: PreTrainedModel, config: SavedConfig, *, bias: float = 3.5, std: float = 1.0) -> VideoLanguageModel:
    """Build the untrained model that `config` describes, on an LLM that was loaded for it.

    bias, std: of an adapter that will not be loaded but trained from its random start; see `VideoLanguageModel`.
    Raises ArtifactError where the LLM has another shape than the one it was aligned with, ArtifactMismatch where it
    has other weights.
    """
    actual = (llm.config.num_hidden_layers, llm.config.hidden_size)
    if actual != (config.llm_layers, config.llm_width):
        raise ArtifactError(
            f"{config.llm}: has {actual[0]} layers of width {actual[1]}; this adapter was aligned with "
            f"{config.llm_layers} layers of width {config.llm_width}. Give the language model it was aligned with."
        )
    if not same(known := identity(llm), config.llm_identity):
        raise ArtifactMismatch(
            f"{config.llm}: its weights are {known}; this adapter was aligned with {config.llm_identity}, another "
            "model of the same shape. Give the language model it was aligned with."
        )
    return shape(llm, config, bias=bias, std=std)


def shape(llm: PreTrainedModel, config: SavedConfig, *, bias: float = 3.5, std: float = 1.0) -> VideoLanguageModel:
    """Build the model without checking the LLM, which may be one without weights, for estimates."""
    return VideoLanguageModel(
        llm,
        config.feature_width,
        frames=config.frames,
        tokens_per_frame=config.tokens_per_frame,
        prompt_length=config.prompt_length,
        bias=bias,
        adapted_layers=config.adapted_layers,
        prompt_std=std,
        temporal_std=std,
        lora_rank=config.lora_rank,
    )


def card(config: SavedConfig, parameters: str, about: str = "") -> str:
    """Write a model card: what the adapter is for, and the reminders that go with it. about: data and metrics."""
    licences = "The language model and the encoder are not included and keep their own licences"
    return (
        f"---\nlibrary_name: topa\nbase_model: {config.llm}\npipeline_tag: video-text-to-text\n---\n"
        f"# A topa adapter for {config.llm}\n\n"
        f"Reads videos of {config.frames} frames through the encoder {config.encoder}. {parameters}.\n\n"
        f"{about or 'Data and metrics: not stated.'}\n\n"
        f"{licences}; so do the texts it was aligned on. Read both before you use or pass it on.\n\n"
        "```python\nfrom topa import Topa\n\ntopa = Topa.from_pretrained('<this folder or repository>')\n"
        "print(topa.ask('video.mp4', 'what happens ?').text)\n```\n"
    )


def fetch(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a saved model: a folder itself, or a hub repository's files, downloaded and cached.

    name: `org/name@revision` names a revision, too. Raises InputError where a path leads nowhere, UsageError for what
    can be no repository, ArtifactError where there is none.
    """
    place = locate_saved(name, revision)
    return place if isinstance(place, Path) else download(place, ["*.json", "*.safetensors", "README.md"])


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a saved model to the hub. Returns the repository's address. Raises OutputError where that fails."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="A topa adapter", ignore_patterns=RECORD
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise OutputError(
            f"{repository}: can't be uploaded ({str(error).splitlines()[0]}). Log in with: hf auth login"
        ) from error
    return str(address)


def save(folder: Path, config: SavedConfig, state: dict[str, Tensor], card: str) -> None:
    """Write config, adapter and model card; the config last, as the sign that the folder is complete."""
    output_folder(folder, *FILES)
    write_atomically(folder / ADAPTER, to_bytes({name: value.contiguous() for name, value in state.items()}))
    write_atomically(folder / "README.md", card)
    write_atomically(folder / CONFIG, config.model_dump_json(indent=1) + "\n")


def read_config(folder: Path) -> SavedConfig:
    """Read the config of a saved model. Raises ArtifactError where the folder isn't one."""
    path = folder / CONFIG
    if not path.is_file() or not (folder / ADAPTER).is_file():
        raise ArtifactError(
            f"{folder}: found no {CONFIG} with {ADAPTER}; expected a model saved by topa. Make one: "
            "topa align --recipe microworld --out DIR"
        )
    try:
        return SavedConfig.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ArtifactError(
            f"{path}: {where}: {first['msg']}. Expected the config of a model saved by this topa."
        ) from error


def read_adapter(folder: Path) -> dict[str, Tensor]:
    """Read the trained tensors of a saved model. Raises ArtifactError where the file is damaged."""
    path = folder / ADAPTER
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: can't be read ({error}); expected the adapter of a model saved by topa. Copy it again, or align "
            "again: topa align --recipe RECIPE --out DIR"
        ) from error
