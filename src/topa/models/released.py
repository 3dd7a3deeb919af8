"""Adapters that TOPA's authors released: from their `.pth` files to a saved model. The verb `import checkpoint`.

Reads tensors only; what the released code needs of its surroundings is written into the saved model's config.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..core.errors import ArtifactMismatch, InputError, UsageError
from .base import Legacy, identity, load_llm, shape_of
from .meta import is_meta_folder, load_legacy
from .saved import SavedConfig

Family = Literal["llama2", "llama3"]
_PROMPT_LENGTH = 50  # of all released adapters
_TEMPERATURE = 100.0  # the released code multiplies by it


@dataclass(frozen=True, slots=True)
class ReleasedAdapter:
    """Released trainables, and what their file says about the run that made them (nothing in a safetensors file)."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> ReleasedAdapter:
        """Read a `.pth` with `model` and `args`, or the tensors alone as `.safetensors`. Raises InputError."""
        if path.suffix == ".safetensors":
            try:
                return cls(load_file(path), {})
            except (OSError, SafetensorError) as error:
                raise InputError(f"{path}: can't be read ({error}); expected released trainables.") from error
        if not path.is_file():
            raise InputError(f"{path}: found no file; expected a released adapter, such as checkpoint_19.pth.")
        loaded = load_legacy(path)
        tensors = loaded.get("model") if isinstance(loaded, dict) else None
        if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
            raise InputError(f"{path}: found no trainables in it; expected a dictionary of tensors under 'model'.")
        args = loaded.get("args")
        return cls(tensors, vars(args) if isinstance(args, argparse.Namespace) else {})


def convert(state: Mapping[str, Tensor], layers: int, heads: int, width: int, prompt_length: int) -> dict[str, Tensor]:
    """Convert released trainables to the state of a `VideoLanguageModel`.

    layers, heads, width: of the whole LLM. prompt_length: P, so that `adapter_query` [n*P, H] tells n, the adapted
    layers, which are the last ones. The gates of other layers, which the released code stores and never reads, are
    left out. Raises ArtifactMismatch that lists every missing, unexpected and misshapen tensor.
    """
    expected: dict[str, tuple[int | None, ...]] = {
        "adapter_query.weight": (None, width),
        "visual_proj.weight": (width, None),
        "temporal_emb.weight": (None, width),
    }
    expected |= {f"layers.{i}.attention.gate{j}": (1, heads, 1, 1) for i in range(layers) for j in (1, 2)}
    faults = [f"{name} is missing" for name in expected if name not in state]
    faults += [f"{name} is unexpected" for name in state if name not in expected]
    for name, shape in expected.items():
        actual = tuple(state[name].shape) if name in state else shape
        if len(actual) != len(shape) or any(
            want not in (None, size_found) for size_found, want in zip(actual, shape, strict=True)
        ):
            expected_shape = ", ".join("any" if size is None else str(size) for size in shape)
            faults.append(f"{name} is {actual}, expected ({expected_shape})")
    if not faults:
        rows = len(state["adapter_query.weight"])
        if rows % prompt_length or not 0 < rows // prompt_length <= layers:
            faults.append(
                f"adapter_query.weight has {rows} rows, expected 1 to {layers} times the prompt length {prompt_length}"
            )
    if faults:
        raise ArtifactMismatch(
            f"released trainables don't fit a language model of {layers} layers, {heads} heads and width {width}: "
            f"{'; '.join(faults)}. Give the backbone they were trained with."
        )
    if bad := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise ArtifactMismatch(f"released trainables: {', '.join(bad)} hold NaN or infinite numbers. Copy them again.")
    prompts = state["adapter_query.weight"].view(-1, prompt_length, width)
    converted = {
        "projector.linear.weight": state["visual_proj.weight"],
        "projector.temporal": state["temporal_emb.weight"],
    }
    first = layers - len(prompts)
    for index, prompt in enumerate(prompts):
        gate, bias = (state[f"layers.{first + index}.attention.gate{j}"].flatten() for j in (1, 2))
        at = f"prompts.{index}"
        converted |= {f"{at}.prompt": prompt, f"{at}.gate": gate, f"{at}.video_bias": bias}
    return {name: tensor.float().contiguous() for name, tensor in converted.items()}


def import_adapter(
    backbone: str,
    adapter: Path,
    *,
    encoder: str,
    encoder_identity: str,
    family: Family | None = None,
    prompt_length: int | None = None,
    rope_theta: float = 10000.0,
) -> tuple[SavedConfig, dict[str, Tensor]]:
    """Read a released adapter as config and state for `saved.save`.

    backbone: a folder in Meta's naming, a Hugging Face folder or a hub id. family, prompt_length: by default what the
    adapter's file says; 50 where it says nothing. rope_theta: 10,000 in all released runs, whatever params.json says.
    The backbone is loaded once, to see that it fits and to know it again.
    Raises InputError for files that can't be read, UsageError where the family can't be known, ArtifactMismatch where
    the parts don't fit.
    """
    released = ReleasedAdapter.read(adapter)
    settings = released.settings
    if family is None:
        family = "llama3" if settings.get("llama3") else "llama2" if settings.get("llama2") else None
        if family is None:
            raise UsageError(f"{adapter}: doesn't say which Llama it is for. Add --family llama2 or --family llama3.")
    length = prompt_length or int(settings.get("adapter_len") or _PROMPT_LENGTH)
    shape = shape_of(backbone, backbone)
    state = convert(released.tensors, shape["layers"], shape["heads"], shape["width"], length)
    adapted = sum(name.endswith(".prompt") for name in state)
    legacy = Legacy(
        rope_theta=rope_theta,
        last_layers=None if adapted == shape["layers"] else adapted,
        prompts="released-llama2" if family == "llama2" else "released-llama3",
    )
    llm = load_llm(backbone, backbone, legacy=legacy)
    where = str(Path(backbone).resolve()) if is_meta_folder(backbone) or Path(backbone).is_dir() else backbone
    config = SavedConfig(
        llm=where,
        llm_layers=adapted,
        llm_width=shape["width"],
        llm_identity=identity(llm),
        encoder=encoder,
        encoder_identity=encoder_identity,
        feature_width=state["projector.linear.weight"].shape[1],
        frames=len(state["projector.temporal"]),
        tokens_per_frame=1,
        prompt_length=length,
        adapted_layers=None,
        fusion="mean",
        temperature=1 / float(settings.get("tau") or _TEMPERATURE),
        protocol="selection",
        bridge="raw",
        legacy=legacy,
    )
    return config, state
