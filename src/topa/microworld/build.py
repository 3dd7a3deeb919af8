"""Build the micro models: `make micro-models`, or `python -m topa.microworld.build --out DIR`.

Trains both, saves them in half precision as ordinary Hugging Face folders, and writes model cards from tests of the
saved weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    LlamaForCausalLM,
)

from ..core.progress import console
from . import train_clip, train_llm


def pack_clip(trained: Path, out: Path, minutes: float | None) -> dict[str, Any]:
    """Save half-precision weights, tokenizer, image processor and card of the micro CLIP. Returns the card's tests."""
    tokenizer = CLIPTokenizer.from_pretrained(trained)
    CLIPModel.from_pretrained(trained, dtype=torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    CLIPImageProcessorPil.from_pretrained(trained).save_pretrained(out)
    tests = train_clip.examine(CLIPModel.from_pretrained(out, dtype=torch.float32).eval(), tokenizer, seed=11)
    _card(
        out,
        "The micro CLIP",
        "A `CLIPModel` (64 x 64 pixels, patches of 16, projection 64), trained from scratch on rendered stills of the "
        "micro world and their captions. The logit scale is fixed at 100, which leaves a real gap between the "
        "modalities. It knows nothing but the micro world.",
        "python -m topa.microworld.train_clip --out DIR",
        minutes,
        tests,
        "`hard_negatives`: per aspect, share of 1,000 new stills whose caption wins against the same caption with that "
        "aspect changed to each other value. `probe`: five aspects read off by a ridge regression fitted on text "
        "features only, [mean accuracy, all five at once]. `gap`: distance of the modalities' centroids.",
    )
    return tests


def pack_llm(trained: Path, out: Path, minutes: float | None) -> dict[str, Any]:
    """Save half-precision weights, tokenizer and card of the micro LLM. Returns the card's tests."""
    tokenizer = AutoTokenizer.from_pretrained(trained)
    AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    tests = train_llm.card_tests(model, train_llm.CachedTokenizer(tokenizer))
    _card(
        out,
        "The micro LLM",
        "A `LlamaForCausalLM` with one token a word, trained from scratch on the micro world's words. It was never "
        "trained on a feature of any encoder: where it practised reading one vector per scene, that vector was the "
        "noisy sum of its own embeddings of the scene's words.",
        "python -m topa.microworld.train_llm --out DIR",
        minutes,
        tests,
        "First: 500 Tideos with the demo's questions, captions as sentences. Then "
        "per spelling: `choice`, accuracy among five options compared by their text; `letters`, the same "
        "by their letters; `exact`, share of greedy answers equal to the right one. New stories, by kind of question.",
    )
    return tests


def _card(
    folder: Path, title: str, about: str, command: str, minutes: float | None, tests: dict[str, Any], legend: str
) -> None:
    took = "" if minutes is None else f" Training time: {minutes:.0f} minutes on one core, shared with other work."
    weights = sum(f.stat().st_size for f in folder.glob("*.safetensors")) / 1e6
    (folder / "README.md").write_text(
        f"# {title}\n\n{about}\n\nRecipe: `{command}`.{took} Weights: {weights:.1f} MB in half precision.\n\n"
        f"## Tests\n\n{legend}\n\n```json\n{json.dumps(tests, indent=1)}\n```\n",
        encoding="utf-8",
        newline="\n",
    )


def main() -> None:
    """Train, save and test both models."""
    parser = argparse.ArgumentParser(description="Build the micro models from seeds; one to two hours on two cores.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clip", type=Path, help="pack this trained folder instead of training")
    parser.add_argument("--llm", type=Path, help="pack this trained folder instead of training")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, train, pack in (("clip", train_clip.train, pack_clip), ("llm", train_llm.train, pack_llm)):
            trained: Path | None = getattr(arguments, name)
            minutes = None
            if trained is None:
                trained, start = Path(scratch) / name, time.monotonic()
                train(trained)
                minutes = (time.monotonic() - start) / 60
            (arguments.out / name).mkdir(parents=True, exist_ok=True)
            tests = pack(trained, arguments.out / name, minutes)
            console.print(f"{name}: {arguments.out / name}", json.dumps(tests))


if __name__ == "__main__":
    main()
