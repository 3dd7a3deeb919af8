"""A saved model: one folder in the Hugging Face manner.

`training` writes it, `inference` reads it. The frozen LLM and the encoder are named in it, never included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import ArtifactError, InputError
from .topa_model import VideoLanguageModel

CONFIG = "config.json"
ADAPTER = "adapter.safetensors"


class SavedConfig(BaseModel):
    """`config.json` of a saved model: what is needed to put the adapter back onto the same LLM and encoder.

    encoder is how it is loaded, encoder_identity what its features are signed with. temperature: tau of the
    projection. protocol: how options are compared unless asked otherwise. llm_layers and llm_width
    guard against another base model under the same name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    llm: str
    llm_layers: int
    llm_width: int
    encoder: str
    encoder_identity: str
    feature_width: int
    frames: int
    tokens_per_frame: int
    prompt_length: int
    adapted_layers: int | None
    fusion: Literal["mean", "caption"]
    temperature: float
    protocol: Literal["selection", "logits"]


def load_llm(name: str, folder: str) -> PreTrainedModel:
    """The frozen LLM behind `folder` (a folder or a hub id), in float32 on a CPU; `name` is for the message.

    Raises InputError where it can't be loaded.
    """
    import torch

    try:
        llm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"language model {name!r}: can't be loaded ({str(error).splitlines()[0]}). "
            "Expected the id or the folder of a Hugging Face causal language model."
        ) from error
    return llm


def load_tokenizer(name: str, folder: str) -> Any:
    """The tokenizer of the LLM behind `folder`; `name` is for the message. Raises InputError where there is none."""
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"language model {name!r}: its tokenizer can't be loaded ({str(error).splitlines()[0]}). "
            "Expected the tokenizer's files beside the weights."
        ) from error


def build(llm: PreTrainedModel, config: SavedConfig) -> VideoLanguageModel:
    """The model that `config` describes, on an LLM that was loaded for it, untrained.

    Raises ArtifactError where the LLM has another shape than the one it was aligned with.
    """
    found = (llm.config.num_hidden_layers, llm.config.hidden_size)
    if found != (config.llm_layers, config.llm_width):
        raise ArtifactError(
            f"{config.llm}: has {found[0]} layers of width {found[1]}; this adapter was aligned with "
            f"{config.llm_layers} layers of width {config.llm_width}. Give the language model it was aligned with."
        )
    return VideoLanguageModel(
        llm,
        config.feature_width,
        frames=config.frames,
        tokens_per_frame=config.tokens_per_frame,
        prompt_length=config.prompt_length,
        adapted_layers=config.adapted_layers,
    )


def save(folder: Path, config: SavedConfig, state: dict[str, Tensor], card: str) -> None:
    """Write config, adapter and model card; the config last, as the sign that the folder is complete."""
    output_folder(folder)
    write_atomically(folder / ADAPTER, to_bytes({name: value.contiguous() for name, value in state.items()}))
    write_atomically(folder / "README.md", card)
    write_atomically(folder / CONFIG, config.model_dump_json(indent=1) + "\n")


def read_config(folder: Path) -> SavedConfig:
    """The config of a saved model. Raises ArtifactError where the folder isn't one."""
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
    """The trained tensors of a saved model. Raises ArtifactError where the file is damaged."""
    path = folder / ADAPTER
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: can't be read ({error}); expected the adapter of a model saved by topa. Copy it again, or align "
            "again: topa align"
        ) from error
