"""The encoder equals a naive loop over transformers, and bad models are answered."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from topa.core.errors import InputError, UsageError
from topa.features.encoder import Encoder

from .towers import TEXT_LIMIT, WORDS, save_clip

CAPTIONS = ["a red ball", "a", "a person walks right and then falls down slowly", "blue box", "a red ball", "left"]


@pytest.fixture(params=["clip", "siglip", "siglip2", "metaclip2"])
def pair(request) -> tuple[Encoder, Path]:
    return request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_folder")


def naive_texts(folder: Path, texts: list[str]) -> torch.Tensor:
    """One caption at a time, as transformers' documentation does it."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    how = {"padding": "max_length", "max_length": TEXT_LIMIT} if model.config.model_type.startswith("siglip") else {}
    rows = []
    for text in texts:
        inputs = tokenizer([text], return_tensors="pt", truncation=True, **{"max_length": TEXT_LIMIT, **how})
        mask = {} if how else {"attention_mask": inputs["attention_mask"]}
        with torch.no_grad():
            row = model.get_text_features(input_ids=inputs["input_ids"], **mask).pooler_output[0]
        rows.append(row / row.norm())
    return torch.stack(rows)


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (17, 64), (16, 16)]
    return [Image.fromarray(rng.integers(0, 256, (*sizes[i % 3], 3), dtype=np.uint8)) for i in range(count)]


def test_texts_equal_the_naive_loop(pair):
    encoder, folder = pair
    words = WORDS.split()
    generator = random.Random(0)
    texts = CAPTIONS + [" ".join(generator.choices(words, k=generator.randint(1, 9))) for _ in range(40)]
    rows = encoder.encode_texts(texts, batch_size=7)
    assert rows.dtype == torch.float32
    assert rows.shape == (len(texts), encoder.width)
    assert torch.allclose(rows, naive_texts(folder, texts), atol=1e-5)
    assert torch.pdist(encoder.encode_texts(words)).max() > 0.01


def test_order_batch_size_and_duplicates_change_nothing(pair):
    encoder, _ = pair
    rows = encoder.encode_texts(CAPTIONS)
    order = [3, 0, 5, 5, 1, 2, 4]
    again = encoder.encode_texts([CAPTIONS[i] for i in order], batch_size=2)
    assert torch.allclose(again, rows[order], atol=1e-6)
    assert torch.equal(rows[0], rows[4])


def test_equal_captions_are_computed_once(clip, monkeypatch):
    seen = []
    original = clip._model.get_text_features

    def counted(**inputs):
        seen.append(len(inputs["input_ids"]))
        return original(**inputs)

    monkeypatch.setattr(clip._model, "get_text_features", counted)
    assert clip.encode_texts(["a box", "a ball"] * 50).shape == (100, clip.width)
    assert sum(seen) == 2


def test_long_captions_are_cut_and_counted(pair):
    encoder, folder = pair
    before = encoder.truncated
    long = " ".join(["a red ball rolls"] * 10)
    rows = encoder.encode_texts([long, "a box", long])
    assert encoder.truncated - before == 2
    assert torch.allclose(rows, naive_texts(folder, [long, "a box", long]), atol=1e-5)


def test_images_equal_the_naive_loop(pair):
    encoder, folder = pair
    model, processor = AutoModel.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder, backend="pil")
    images = pictures(7)
    rows = encoder.encode_images(images, batch_size=3)
    assert rows.shape == (7, encoder.width)
    for row, image in zip(rows, images, strict=True):
        with torch.no_grad():
            expected = model.get_image_features(**processor(images=image, return_tensors="pt")).pooler_output[0]
        assert torch.allclose(row, expected / expected.norm(), atol=1e-5)


def test_pictures_of_any_mode(clip):
    grey = Image.new("L", (20, 20), 90)
    assert torch.allclose(clip.encode_images([grey]), clip.encode_images([grey.convert("RGB")]))


def test_nothing_gives_no_rows(clip):
    assert clip.encode_texts([]).shape == (0, clip.width)
    assert clip.encode_images([]).shape == (0, clip.width)


def test_nothing_trains(clip):
    assert not any(parameter.requires_grad for parameter in clip._model.parameters())
    assert not clip._model.training


def test_identity_survives_moving_and_sees_training(clip_folder, clip, tmp_path):
    moved = Path(shutil.copytree(clip_folder, tmp_path / "elsewhere" / clip_folder.name))
    assert Encoder.from_pretrained(str(moved), device="cpu").identity == clip.identity
    assert clip.identity.startswith(f"{clip_folder.name}-")
    weights = load_file(moved / "model.safetensors")
    weights["text_projection.weight"] += 0.01
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    assert Encoder.from_pretrained(moved, device="cpu").identity != clip.identity


def test_half_precision_on_a_cpu_is_refused(clip_folder):
    with pytest.raises(UsageError, match="expected float32"):
        Encoder.from_pretrained(clip_folder, device="cpu", dtype=torch.float16)


def test_models_that_cannot_be_used(tmp_path, clip_folder):
    with pytest.raises(InputError, match="found nothing there"):
        Encoder.from_pretrained(tmp_path / "missing")
    with pytest.raises(InputError, match="found nothing there"):
        Encoder.from_pretrained("./missing")
    with pytest.raises(InputError, match=r"without config\.json"):
        Encoder.from_pretrained(tmp_path)
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="'bert'; expected a CLIP-like one"):
        Encoder.from_pretrained(bert)


def test_weights_that_are_not_whole(tmp_path):
    folder = save_clip(tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"without text_projection\.weight"):
        Encoder.from_pretrained(folder, device="cpu")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="can't be loaded"):
        Encoder.from_pretrained(folder, device="cpu")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="can't be loaded"):
        Encoder.from_pretrained(folder, device="cpu")
