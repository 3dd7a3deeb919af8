"""The two towers of a CLIP-like model: captions and pictures to unit rows of one space.

Reads a model folder or hub id; used by `encode`, and by whatever compares words with pictures.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from ..core.devices import default_device
from ..core.errors import InputError, UsageError

log = logging.getLogger(__name__)
# SigLIP's text tower reads the last position and was trained on padded captions without a mask.
_FIXED_LENGTH = frozenset({"siglip", "siglip2"})
_IDENTIFYING = (
    "config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
_SAMPLES, _SAMPLE = 16, 1 << 16  # of each weight file: pieces, and bytes in one


class Encoder:
    """A CLIP-like model (CLIP, SigLIP, SigLIP 2, ...) that turns captions and pictures into unit rows.

    identity: names the space. The hub id; for a folder its name and a hash of its configuration and weights, so that
    moving the folder changes nothing and training it further does. width: D. text_limit: tokens of a caption that are
    read. truncated: captions given so far that were longer than that and were cut.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: Any, identity: str) -> None:
        self.identity = identity
        self.width = _width(model.config)
        self.truncated = 0
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._processor = processor
        self._fixed_length = model.config.model_type in _FIXED_LENGTH
        self.text_limit = min(int(model.config.text_config.max_position_embeddings), int(tokenizer.model_max_length))

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Encoder:
        """Load a model from a folder or by its hub id. device: a GPU where there is one. dtype: float32.

        Pictures are prepared by transformers' PIL backend, so that features don't depend on what else is installed;
        weights are read from safetensors only. Raises InputError where there is no such model, its weights are not
        whole, or it isn't CLIP-like; UsageError for half precision on a CPU.
        """
        device = default_device() if device is None else torch.device(device)
        if device.type == "cpu" and dtype not in (None, torch.float32):
            raise UsageError(f"{name}: found dtype={dtype} on a CPU; expected float32. Half precision needs a GPU.")
        began = time.perf_counter()
        folder = _folder(name)
        source = str(name if folder is None else folder)
        model, tokenizer, processor = _load(source, dtype or torch.float32)
        log.info("encoder: %s on %s, %.1f s", source, device, time.perf_counter() - began)
        return cls(model.to(device), tokenizer, processor, identify(name))

    def __repr__(self) -> str:
        return f"Encoder({self.identity!r}, width={self.width})"

    @property
    def device(self) -> torch.device:
        """The device of the towers."""
        return next(self._model.parameters()).device  # type: ignore[no-any-return]

    @property
    def side(self) -> int:
        """Side of the image tower's input, in pixels."""
        return int(self._model.config.vision_config.image_size)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Encode captions as rows of text space: float32 [N, D], unit rows, on the CPU.

        Equal captions are computed once, and captions of like length together; neither changes the result. A caption
        longer than `text_limit` tokens is cut there and counted in `truncated`.
        """
        unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        rows, cut = self.encode_distinct(list(unique), batch_size)
        self.truncated += sum(unique[text] in cut for text in texts) if cut else 0
        return rows[[unique[text] for text in texts]]

    @torch.inference_mode()
    def encode_distinct(self, texts: list[str], batch_size: int = 256) -> tuple[Tensor, set[int]]:
        """Encode distinct captions; return rows as of `encode_texts`, and which captions were cut."""
        ids, cut = self._tokenise(texts)
        rows = torch.empty(len(texts), self.width)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        for at in range(0, len(order), batch_size):
            batch = order[at : at + batch_size]
            output = self._model.get_text_features(**self._padded([ids[row] for row in batch]))
            rows[batch] = _unit(output)
        return rows, cut

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 32) -> Tensor:
        """Encode pictures of any size as rows of image space: float32 [N, D], unit rows, on the CPU."""
        rows = torch.empty(len(images), self.width)
        for at in range(0, len(images), batch_size):
            batch = [image.convert("RGB") for image in images[at : at + batch_size]]
            inputs = self._processor(images=batch, return_tensors="pt").to(self.device)
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
            rows[at : at + batch_size] = _unit(self._model.get_image_features(**inputs))
        return rows

    def _tokenise(self, texts: list[str]) -> tuple[list[list[int]], set[int]]:
        """Return the token ids of each text, and which texts were cut to the limit."""
        if not texts:
            return [], set()
        ids: list[list[int]] = self._tokenizer(texts, verbose=False)["input_ids"]
        cut = [row for row, tokens in enumerate(ids) if len(tokens) > self.text_limit]
        if cut:
            # The tokenizer cuts, not we: it keeps the end token, which CLIP's tower reads.
            again = self._tokenizer([texts[row] for row in cut], truncation=True, max_length=self.text_limit)
            for row, tokens in zip(cut, again["input_ids"], strict=True):
                ids[row] = tokens
        return ids, set(cut)

    def _padded(self, ids: list[list[int]]) -> dict[str, Tensor]:
        """A batch, int64 [B, L]: padded on the right behind a mask, or as the tokenizer pads where there is no mask."""
        length = self.text_limit if self._fixed_length else max(map(len, ids))
        pad = self._tokenizer.pad_token_id or 0
        padding = [[pad] * (length - len(row)) for row in ids]
        left = self._fixed_length and self._tokenizer.padding_side == "left"
        rows = [p + row if left else row + p for p, row in zip(padding, ids, strict=True)]
        tokens = torch.tensor(rows, device=self.device)
        if self._fixed_length:
            return {"input_ids": tokens}
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids], device=self.device)
        return {"input_ids": tokens, "attention_mask": mask}


def identify(name: str | Path) -> str:
    """Compute the identity of an encoder without loading it. Raises InputError for a path that leads nowhere."""
    folder = _folder(name)
    return str(name) if folder is None else f"{folder.resolve().name}-{_fingerprint(folder)}"


def feature_width(name: str | Path) -> int:
    """Return D of an encoder, from its configuration alone. Raises InputError where that can't be read."""
    from transformers import AutoConfig

    folder = _folder(name)
    try:
        return _width(AutoConfig.from_pretrained(str(name if folder is None else folder)))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{name}: has no configuration of a CLIP-like model that can be read ({str(error).splitlines()[0]}). Check "
            "the name, the folder and the network."
        ) from error


def _unit(output: Any) -> Tensor:
    """Convert the output of a tower to float32 unit rows on the CPU. transformers 5 wraps the embedding."""
    rows: Tensor = getattr(output, "pooler_output", output)
    return normalize(rows.float(), dim=-1).cpu()


def _width(config: Any) -> int:
    """Return D, which families keep under different names."""
    text = config.text_config
    for width in (
        getattr(config, "projection_dim", None),
        getattr(text, "projection_size", None),
        getattr(text, "hidden_size", None),
    ):
        if width:
            return int(width)
    raise InputError(f"{config.model_type}: found no width in the configuration; expected projection_dim.")


def _folder(name: str | Path) -> Path | None:
    """Return the folder behind a name, None for a hub id. Raises InputError for a path that leads nowhere."""
    path = Path(name).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return path
        raise InputError(f"{path}: found a folder without config.json; expected a CLIP-like model. Give another one.")
    text = str(name)
    if isinstance(name, Path) or path.exists() or text.startswith((".", "/", "~")) or text.count("/") > 1:
        kind = "a file" if path.exists() else "nothing there"
        raise InputError(
            f"{path}: found {kind}; expected the folder of a CLIP-like model, or a hub id. Check --encoder."
        )
    return None


def _load(source: str, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(source)
        if not hasattr(config, "text_config") or not hasattr(config, "vision_config"):
            raise InputError(
                f"{source}: found a model of type '{config.model_type}'; expected a CLIP-like one with a text and an "
                "image tower. Try --encoder openai/clip-vit-base-patch32"
            )
        model, report = AutoModel.from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source)
        processor = AutoImageProcessor.from_pretrained(source, backend="pil")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{source}: can't be loaded ({reason}); expected a CLIP-like model with config.json, model.safetensors, "
            "a tokenizer and an image processor. Check the name, the folder and the network."
        ) from error
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        raise InputError(f"{source}: found a {type(model).__name__}; expected a CLIP-like model. Give another one.")
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source}: found weights without {missing[0]} and {len(missing) - 1} more; expected all of "
            f"{type(model).__name__}. Copy or download it again."
        )
    return model, tokenizer, processor


def _fingerprint(folder: Path) -> str:
    """Hash what decides the features: configuration, tokenizer, and the weights' headers and samples."""
    digest = hashlib.sha256()
    for file in sorted(folder / name for name in _IDENTIFYING if (folder / name).is_file()):
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as weights:
            header = weights.read(8)
            digest.update(weights.read(struct.unpack("<Q", header)[0]))
            first = weights.tell()
            for piece in range(_SAMPLES):
                weights.seek(first + (size - first) * piece // _SAMPLES)
                digest.update(weights.read(_SAMPLE))
    return digest.hexdigest()[:8]
