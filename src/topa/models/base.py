"""The frozen language model under an adapter: where it comes from, and which one it is.

Reads Hugging Face folders or ids, and folders in Meta's naming; gives transformers' model and tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel

from ..core.errors import InputError, UsageError
from ..core.install import install_line
from .meta import is_meta_folder, llama_from_meta, meta_tokenizer, read_meta

_SAMPLES = 4096  # numbers of a tensor that identify it


class Legacy(BaseModel):
    """What a released adapter needs of its surroundings to give the released numbers; see docs/fidelity.md.

    rope_theta: rotary base. last_layers: only these top layers run; None for all. unmasked_padding: a video of fewer
    than T frames is filled with zeros, which pass the projection and are read. prompts: the released wording.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rope_theta: float = 10000.0
    last_layers: int | None = None
    unmasked_padding: bool = True
    prompts: Literal["released-llama2", "released-llama3"]


def load_llm(
    name: str,
    folder: str,
    *,
    legacy: Legacy | None = None,
    bits: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> PreTrainedModel:
    """Load the frozen LLM behind `folder` (a folder or a hub id); `name` is for messages.

    device: a GPU where there is one. dtype: float32 on a CPU, and the checkpoint's own half precision on a GPU. legacy:
    the changes a released adapter asks for. bits: 8 or 4, quantised by bitsandbytes (also on a CPU, slowly). Raises
    InputError where the model can't be loaded, UsageError where it can't take the changes.
    """
    if bits not in (None, 4, 8) or (bits is not None and is_meta_folder(folder)):
        raise UsageError(
            f"language model {name!r}: found bits={bits}, expected 8 or 4, and a model in Hugging Face's format. Leave "
            "bits out, or convert the model first."
        )
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type != "cpu"
    if is_meta_folder(folder):
        weights, params = read_meta(Path(folder))
        changes: dict[str, Any] = {}
        if legacy is not None:
            changes = {"rope_theta": legacy.rope_theta, "last_layers": legacy.last_layers}
        llm = llama_from_meta(weights, params, **changes)
        return llm.to(device, dtype or (llm.dtype if on_gpu else torch.float32))
    options: dict[str, Any] = {"dtype": dtype or ("auto" if on_gpu else torch.float32)}
    if bits is not None:
        if find_spec("bitsandbytes") is None:
            raise UsageError(f"bits {bits}: needs bitsandbytes. Install it: {install_line('quantised')}")
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4)
    if on_gpu:
        options["device_map"] = {"": device}
    try:
        config = AutoConfig.from_pretrained(folder)
        if legacy is not None:
            _expect_llama(name, config)
            config.rope_parameters = {"rope_type": "default", "rope_theta": legacy.rope_theta}
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, config=config, **options)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise InputError(
            f"language model {name!r}: can't be loaded ({str(error).splitlines()[0]}). "
            "Expected the id or the folder of a Hugging Face causal language model, or a folder with params.json and "
            "consolidated.*.pth."
        ) from error
    if legacy is not None and legacy.last_layers is not None:
        _keep_last(model, legacy.last_layers)
    return model


def empty_llm(name: str, folder: str) -> PreTrainedModel:
    """Build the LLM behind `folder` without weights, on the meta device: its shapes, for estimates. Raises InputError
    where its configuration can't be read."""
    if is_meta_folder(folder):  # whose params.json doesn't tell all shapes
        return load_llm(name, folder, device=torch.device("cpu")).to("meta")
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"language model {name!r}: has no configuration that can be read ({str(error).splitlines()[0]}). Expected "
            "the id or the folder of a Hugging Face causal language model; the weights aren't needed."
        ) from error
    return model


def load_tokenizer(name: str, folder: str) -> Any:
    """Load the tokenizer of the LLM behind `folder`; `name` is for messages. Raises InputError where there is none."""
    if is_meta_folder(folder):
        return meta_tokenizer(Path(folder))
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"language model {name!r}: its tokenizer can't be loaded ({str(error).splitlines()[0]}). "
            "Expected the tokenizer's files beside the weights."
        ) from error


def shape_of(name: str, folder: str) -> dict[str, int]:
    """Return layers, width and heads of the LLM behind `folder`, from its configuration alone. Raises InputError."""
    if is_meta_folder(folder):
        params = json.loads((Path(folder) / "params.json").read_bytes())
        return {"layers": int(params["n_layers"]), "width": int(params["dim"]), "heads": int(params["n_heads"])}
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"language model {name!r}: has no configuration that can be read ({str(error).splitlines()[0]}). Expected "
            "config.json of a Llama, or params.json with consolidated.*.pth."
        ) from error
    _expect_llama(name, config)
    return {"layers": config.num_hidden_layers, "width": config.hidden_size, "heads": config.num_attention_heads}


def window(llm: PreTrainedModel) -> int | None:
    """Return how many tokens the LLM can read; None where its configuration doesn't say."""
    length = getattr(llm.config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def identity(llm: PreTrainedModel) -> str:
    """Identify the weights: a short hash of the input embeddings, and one of the matrices that read them.

    The same for any float type they are loaded in; a quantised model has "quantised" for the second.
    """
    table = llm.get_input_embeddings().weight
    matrices = [p for p in llm.parameters() if p.ndim == 2 and p is not table]
    rest = "quantised"
    if all(p.is_floating_point() for p in matrices):
        rest = _hash({str(i): p for i, p in enumerate(matrices)})
    return f"{_hash({'embeddings': table})}-{rest}"


def same(identity: str, expected: str) -> bool:
    """Return whether two identities may be of the same weights; quantised matrices don't decide."""
    pairs = zip(identity.split("-"), expected.split("-"), strict=False)
    return all(a == b or "quantised" in (a, b) for a, b in pairs)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    share = max(16, _SAMPLES // len(tensors))
    for name, tensor in tensors.items():
        flat = tensor.detach().flatten()
        step = max(1, len(flat) // share)
        # bfloat16 is the coarsest type weights come in: every other rounds to the same.
        values = flat[::step][:share].float().to(torch.bfloat16).float().cpu()
        digest.update(f"{name} {tuple(tensor.shape)}\0".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:8]


def _expect_llama(name: str, config: Any) -> None:
    if config.model_type != "llama":
        raise UsageError(
            f"language model {name!r}: found a model of type '{config.model_type}', expected a Llama: released "
            "adapters are for Llama-2 and Llama-3."
        )


def _keep_last(llm: PreTrainedModel, layers: int) -> None:
    """Leave the top layers only, as the released code runs a model whose lower layers have no prompts."""
    top = llm.model.layers[-layers:]
    for index, layer in enumerate(top):
        layer.self_attn.layer_idx = index
    llm.model.layers = nn.ModuleList(top)
    llm.config.num_hidden_layers = layers
