"""Tiny CLIP-like models with random weights, saved as a user would find them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

TEXT_LIMIT = 12
WORDS = "a red ball rolls left blue box stands person walks right and then falls down slowly"


def _tokenizer() -> CLIPTokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges = []
    for word in sorted(set(WORDS.split())):
        pieces = [*word[:-1], word[-1] + "</w>"]
        for at in range(1, len(pieces)):
            merge = ("".join(pieces[:at]), pieces[at])
            if merge not in merges:
                merges.append(merge)
                tokens.append("".join(merge))
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)


def _parts(tokenizer: CLIPTokenizer) -> tuple[dict, dict]:
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {**size, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": TEXT_LIMIT}
    return text, {**size, "image_size": 16, "patch_size": 8}


def save_clip(folder: Path, seed: int = 0, width: int = 24) -> Path:
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text, vision = _parts(tokenizer)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    for part in (model, tokenizer, CLIPImageProcessorPil(**size)):
        part.save_pretrained(folder)
    return folder


def save_siglip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text, vision = _parts(tokenizer)
    model = SiglipModel(SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision))
    for part in (model, tokenizer, SiglipImageProcessorPil(size={"height": 16, "width": 16})):
        part.save_pretrained(folder)
    return folder


def save_siglip2(folder: Path, seed: int = 0) -> Path:
    """SigLIP 2 with native shapes: pictures come as patches, with a mask."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text, vision = _parts(tokenizer)
    vision = {name: value for name, value in vision.items() if name != "image_size"} | {"num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config={**text, "projection_size": 16}, vision_config=vision))
    for part in (model, tokenizer, Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)):
        part.save_pretrained(folder)
    return folder


def save_metaclip2(folder: Path, seed: int = 0) -> Path:
    """MetaCLIP 2; checkpoints of the first MetaCLIP are CLIP's own format."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text, vision = _parts(tokenizer)
    model = MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24))
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    for part in (model, tokenizer, CLIPImageProcessorPil(**size)):
        part.save_pretrained(folder)
    return folder
