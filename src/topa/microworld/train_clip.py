"""Train the micro CLIP, a small `CLIPModel`, on rendered stills and their captions.

Batches hold groups of scenes that differ in one aspect only (hard negatives), so that every aspect must be encoded.
The logit scale is fixed at 100: with a learned one, such easy data would leave hardly any modality gap to study.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from . import language
from .muon import Muon
from .render import render_scene
from .world import COLOURS, KINDS, PLACES, POSITIONS, SIZES, Scene

PIXELS = 64
TOKENS = 32
LOGIT_SCALE = 100.0
MEAN = STD = 0.5
VALUES: tuple[tuple[str, ...], ...] = (KINDS, COLOURS, SIZES, POSITIONS, PLACES)
FIELDS = ("kind", "colour", "size", "position", "place")


def draw_scene(rng: random.Random) -> Scene:
    """Draw a scene uniformly."""
    return Scene(*(rng.choice(v) for v in VALUES))  # type: ignore[arg-type]


def with_value(scene: Scene, field: int, value: str) -> Scene:
    """Return the scene with another value of one field."""
    values = list(astuple(scene))
    values[field] = value
    return Scene(*values)


def change_one(scene: Scene, rng: random.Random) -> Scene:
    """Return the scene with one random value changed."""
    at = rng.randrange(len(FIELDS))
    now = astuple(scene)[at]
    return with_value(scene, at, rng.choice([v for v in VALUES[at] if v != now]))


def draw_batch(size: int, group: int, rng: random.Random) -> list[Scene]:
    """Draw `size` distinct scenes, in groups of `group` that differ from their first in one aspect."""
    scenes: dict[Scene, None] = {}
    while len(scenes) < size:
        base = draw_scene(rng)
        for scene in (base, *(change_one(base, rng) for _ in range(group - 1))):
            scenes[scene] = None
    return list(scenes)[:size]


def make_tokenizer() -> CLIPTokenizer:
    """Train a byte-pair tokenizer in CLIP's format on the micro world's captions."""
    rng = random.Random(0)
    captions: list[str] = []
    for _ in range(4000):
        scene = draw_scene(rng)
        captions += [language.caption(scene, rng), *language.object_captions(scene, rng)]
    inner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
    )
    inner.train_from_iterator(captions, trainer)
    learned = json.loads(inner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = dict.fromkeys([*alphabet, *(a + "</w>" for a in alphabet), *(a + b for a, b in merges)])
    vocabulary = {w: i for i, w in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def make_processor() -> CLIPImageProcessorPil:
    """Create the image processor of the model."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": PIXELS},
        crop_size={"height": PIXELS, "width": PIXELS},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )


def build(tokenizer: CLIPTokenizer, *, width: int, layers: int, patch: int, dim: int) -> CLIPModel:
    """Create an untrained micro CLIP with a fixed logit scale. dim: D of the shared space."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=dim,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=patch,
        projection_dim=dim,
    )
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=dim))
    model.logit_scale.data.fill_(float(np.log(LOGIT_SCALE)))
    model.logit_scale.requires_grad_(False)
    return model


def pixels(images: list[Image.Image]) -> Tensor:
    """Preprocess square images as the image processor does: float32 [N, 3, PIXELS, PIXELS]."""
    small = [np.asarray(i.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)) for i in images]
    return (torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def encode_images(model: CLIPModel, images: list[Image.Image]) -> Tensor:
    """Encode images to unit rows of image space, [N, D]."""
    values = model.get_image_features(pixel_values=pixels(images)).pooler_output
    return nn.functional.normalize(values, dim=-1)


def encode_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Encode texts to unit rows of text space, [N, D]."""
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    return nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)


@torch.no_grad()
def examine(model: CLIPModel, tokenizer: CLIPTokenizer, seed: int = 7, number: int = 1000) -> dict[str, object]:
    """Run the model card's tests on new stills.

    hard_negatives: per aspect, accuracy of the right caption against the same caption with that aspect changed to each
    of its other values. probe: ridge regression from text features to the five aspects, applied to text, raw image,
    centred image and projected image features: [mean accuracy over aspects, accuracy of all five at once].
    """
    rng = random.Random(seed)
    hard: dict[str, float] = {}
    scenes = [draw_scene(rng) for _ in range(number)]
    image = torch.cat(
        [encode_images(model, [render_scene(s, rng) for s in scenes[i : i + 200]]) for i in range(0, number, 200)]
    )
    for field, (name, values) in enumerate(zip(FIELDS, VALUES, strict=True)):
        captions = [language.caption(with_value(s, field, v), rng) for s in scenes for v in values]
        text = torch.cat([encode_texts(model, tokenizer, captions[i : i + 500]) for i in range(0, len(captions), 500)])
        best = torch.einsum("nd,nvd->nv", image, text.view(number, len(values), -1)).argmax(-1)
        right = torch.tensor([values.index(getattr(s, name)) for s in scenes])
        hard[name] = round((best == right).float().mean().item(), 4)
    memory_scenes = [draw_scene(rng) for _ in range(8000)]
    captions = [language.caption(s, rng) for s in memory_scenes]
    memory = torch.cat([encode_texts(model, tokenizer, captions[i : i + 500]) for i in range(0, len(captions), 500)])
    text = encode_texts(model, tokenizer, [language.caption(s, rng) for s in scenes])
    projected = nn.functional.normalize((100 * image @ memory.T).softmax(-1) @ memory, dim=-1)
    centred = nn.functional.normalize(image - image.mean(0) + memory.mean(0), dim=-1)

    def targets(which: list[Scene]) -> Tensor:
        return torch.tensor(
            [[float(getattr(s, f) == v) for f, vs in zip(FIELDS, VALUES, strict=True) for v in vs] for s in which]
        )

    design = torch.cat([memory, torch.ones(len(memory), 1)], 1)
    weights = torch.linalg.solve(
        design.T @ design + 0.1 * torch.eye(design.shape[1]), design.T @ targets(memory_scenes)
    )
    probe: dict[str, list[float]] = {}
    for name, values_ in {"text": text, "raw": image, "centred": centred, "projected": projected}.items():
        scores = torch.cat([values_, torch.ones(number, 1)], 1) @ weights
        hits = torch.stack(
            [
                s.argmax(-1) == t.argmax(-1)
                for s, t in zip(*(x.split([len(v) for v in VALUES], 1) for x in (scores, targets(scenes))), strict=True)
            ]
        )
        probe[name] = [round(hits.float().mean().item(), 4), round(hits.all(0).float().mean().item(), 4)]
    return {
        "hard_negatives": hard,
        "probe": probe,
        "gap": round((image.mean(0) - memory.mean(0)).norm().item(), 3),
        "retrieval@1": round(((image @ text.T).argmax(-1) == torch.arange(number)).float().mean().item(), 4),
    }


def train(
    out: Path,
    *,
    steps: int = 3000,
    seed: int = 0,
    width: int = 128,
    layers: int = 4,
    patch: int = 16,
    dim: int = 64,
    batch: int = 192,
    group: int = 4,
    rate: float = 0.01,
    adam_rate: float = 1e-3,
    noise: float = 0.03,
) -> None:
    """Train for `steps` and save a Hugging Face folder to `out`. The same seed gives the same weights."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = make_tokenizer()
    model = build(tokenizer, width=width, layers=layers, patch=patch, dim=dim)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embedding" not in n]
    matrix_ids = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in matrix_ids and p.requires_grad]
    muon, adam = Muon(matrices, rate), torch.optim.AdamW(rest, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    start = last = time.monotonic()
    running = 0.0
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    make_processor().save_pretrained(out)
    for step in range(steps):
        factor = min(1.0, (step + 1) / 100) * min(1.0, max(0.01, (1 - step / steps) / 0.5))
        for optimizer, top in ((muon, rate), (adam, adam_rate)):
            for parameters in optimizer.param_groups:
                parameters["lr"] = top * factor
        scenes = draw_batch(batch, group, rng)
        values = pixels([render_scene(s, rng) for s in scenes])
        values = values + noise * torch.randn_like(values)
        image = nn.functional.normalize(model.get_image_features(pixel_values=values).pooler_output, dim=-1)
        text = encode_texts(model, tokenizer, [language.caption(s, rng) for s in scenes])
        scores, right = LOGIT_SCALE * image @ text.T, torch.arange(batch)
        loss = (nn.functional.cross_entropy(scores, right) + nn.functional.cross_entropy(scores.T, right)) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad()
        running = 0.98 * running + 0.02 * loss.item() if step else loss.item()
        if time.monotonic() - last > 120:
            last = time.monotonic()
            print(
                f"{(last - start) / 60:.1f} min, step {step} of {steps}, loss {running:.3f}",
                json.dumps(examine(model, tokenizer)),
                flush=True,
            )
            model.save_pretrained(out)
    model.save_pretrained(out)
    print(f"done in {(time.monotonic() - start) / 60:.1f} min", json.dumps(examine(model, tokenizer)), flush=True)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    for name in ("steps", "seed", "width", "layers", "patch", "dim", "batch", "group"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("rate", "adam-rate", "noise"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--threads", type=int, default=1)
    options = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    torch.set_num_threads(options.pop("threads"))
    train(options.pop("out"), **options)
