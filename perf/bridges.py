"""What else might bridge the modality gap, and use frames better, measured: `python perf/bridges.py --out DIR`.

Aligns the micro world's recipe in several ways, three seeds each, and asks the demo's questions about its held-out
mp4 files under many conditions. Prints a Markdown table: accuracy, and the paired difference to the default, each with
a 95 % interval (bootstrap over videos, the mean over seeds per question). What is finished is not computed again.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gap import Gap, modality_gap
from measure import save_figures
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from topa.core.artifacts import output_folder, own_version, write_atomically
from topa.core.embedded import resolve
from topa.core.progress import console, track
from topa.evals.metrics import IntervalEstimate, accuracy, difference
from topa.features.encode_video import encode_video
from topa.features.encoder import Encoder
from topa.features.keyframes import change_point_segments, select_keyframes
from topa.features.video import sample_frames
from topa.inference.scorer import score_options
from topa.memory.bank import MemoryBank
from topa.memory.projection import project, project_with_rows
from topa.microworld.writer import MicroVideo, make_videos, write_tideos
from topa.models.lora import add_lora
from topa.models.topa_model import VideoLanguageModel
from topa.tideos.jsonl import write_jsonl
from topa.tideos.tideo import Question
from topa.training.align import Corpus, load_prompter, make_memory, new_model, open_corpus
from topa.training.config import AlignConfig, read_recipe
from topa.training.data import AlignmentSet, add_noise
from topa.training.loop import Watch, train
from topa.training.pretrained import DEFAULT_RECIPE

VIDEOS, VIDEO_SEED = 220, 2_000_003  # the demo's
FRAMES, EVERY, MANY = 5, 40, 20  # slots; frames of a video; frames looked at before some are chosen
DEFAULT = "projected"
NOISES = (0.1, 0.25, 0.5, 1.0)
CROPS = {"4 corners of 0.8": (0.8, (0, 1, 2, 3)), "corners and centre of 0.8": (0.8, (0, 1, 2, 3, 4)),
         "corners and centre of 0.9": (0.9, (0, 1, 2, 3, 4))}  # fmt: skip


@dataclass(frozen=True)
class Alignment:
    """A way to align: changes of the recipe, and of what the LLM is trained on."""

    settings: dict[str, Any] = field(default_factory=dict)
    centred: bool = False
    twice: bool = False
    both: bool = False
    projector_only: bool = False


ALIGNMENTS = {
    "plain": Alignment(),
    **{f"noise {n}": Alignment({"noise": n}) for n in NOISES},
    "centred": Alignment(centred=True),
    **{f"centred, noise {n}": Alignment({"noise": n}, centred=True) for n in (0.25, 0.5)},
    "10 slots": Alignment({"frames": 10}, twice=True),
    "projector only": Alignment(projector_only=True),
    "lora 4": Alignment({"adapter": "lora", "lora_rank": 4}),
    "lora 8": Alignment({"adapter": "lora", "lora_rank": 8}),
    "lora 8, lr 1e-3": Alignment({"adapter": "lora", "lora_rank": 8, "lr": 1e-3, "projector_lr": 3e-2}),
    "prompts and lora 8": Alignment({"lora_rank": 8}, both=True),
}


@dataclass(frozen=True)
class Condition:
    """What the LLM is given. given: (world, seed) -> features [videos or questions, T, D]."""

    section: str
    name: str
    given: Callable[[World, int], Tensor]
    aligned: str = "plain"
    reference: str = DEFAULT
    stretch: str | None = None
    gap: bool = False


class World:
    """Tideos, videos and their features; each made once and kept under `out`."""

    def __init__(self, out: Path, video_seed: int) -> None:
        self.out = output_folder(out)
        self.held_out = output_folder(out / f"held-out-{video_seed}")
        self.video_seed = video_seed
        self.spoil = False
        self.config = read_recipe(DEFAULT_RECIPE)

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder.from_pretrained(resolve(self.config.encoder))

    @cached_property
    def corpus(self) -> Corpus:
        tideos = self.out / "tideos.jsonl"
        if not tideos.is_file():
            write_jsonl(write_tideos(self.config.microworld_tideos, self.config.seed), tideos)
        return open_corpus(tideos, self.config, self.out / "features", show=False)

    @cached_property
    def text(self) -> Tensor:
        """Every textual frame of the training data: [N, D]."""
        return self.corpus.pairs()[1]

    @cached_property
    def text_mean(self) -> Tensor:
        return self.text.mean(0)

    @cache  # noqa: B019
    def memory(self, rows: int, seed: int) -> MemoryBank:
        return make_memory(self.corpus, rows, seed)

    @cached_property
    def bank(self) -> Tensor:
        return self.memory(self.config.memory_rows, self.config.seed).values

    @cached_property
    def videos(self) -> list[MicroVideo]:
        return make_videos(self.held_out, VIDEOS, self.video_seed, show=False)

    @cached_property
    def questions(self) -> list[Question]:
        return [q for v in self.videos for q in v.questions]

    @cached_property
    def owner(self) -> list[int]:
        return [i for i, v in enumerate(self.videos) for _ in v.questions]

    def kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        path = self.held_out / f"{name}.safetensors"
        if not path.is_file():
            save_file({"values": make().contiguous()}, path)
        return load_file(path)["values"]

    @cached_property
    def all_frames(self) -> Tensor:
        """Every frame of every video, encoded: [V, 40, D]."""

        def make() -> Tensor:
            watched = track(self.videos, "watching", VIDEOS, show=False)
            values = torch.stack([encode_video(v.path, self.encoder, EVERY).features.values for v in watched])
            same = encode_video(self.videos[0].path, self.encoder, FRAMES).features.values
            if not torch.allclose(values[0, even(FRAMES)], same, atol=1e-5):
                sys.exit("frames taken by their number aren't those that sample_frames takes")
            return values

        return self.kept("frames", make)

    @cached_property
    def images(self) -> Tensor:
        """What the demo sees: five frames, raw, [V, 5, D]."""
        return self.kept("spoilt", self._spoilt) if self.spoil else self.all_frames[:, even(FRAMES)]

    def _spoilt(self) -> Tensor:
        """The five frames, darker and with noise in every pixel."""
        rng = np.random.default_rng(0)
        found = []
        for video in self.videos:
            pixels = np.stack([np.asarray(p, dtype=np.float64) for p in sample_frames(video.path, FRAMES).frames])
            pixels = (0.7 * pixels + rng.normal(0, 20, pixels.shape)).clip(0, 255).astype(np.uint8)
            found.append(self.encoder.encode_images([Image.fromarray(p) for p in pixels]))
        return torch.stack(found)

    @cached_property
    def spoilt(self) -> World:
        """The same world through a bad camera."""
        _ = self.bank, self.captions, self.text_mean
        other = copy.copy(self)
        other.spoil = True
        for name in ("images", "image_mean"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def image_mean(self) -> Tensor:
        return self.images.mean((0, 1))

    def crops(self, scale: float) -> Tensor:
        """The whole picture, four corners and the centre of the five frames: [V, 5, 6, D]."""

        def make() -> Tensor:
            found = []
            for video in self.videos:
                frames = sample_frames(video.path, FRAMES).frames
                pieces = [piece for frame in frames for piece in (frame, *cut(frame, scale))]
                found.append(self.encoder.encode_images(pieces).view(FRAMES, 6, -1))
            return torch.stack(found)

        return self.kept(f"crops-{scale}", make)

    @cached_property
    def captions(self) -> Tensor:
        return self.encoder.encode_texts([c for v in self.videos for c in v.captions]).view_as(self.images)

    @cached_property
    def asked(self) -> Tensor:
        """The questions in CLIP's text space: [Q, D]."""
        return self.encoder.encode_texts([q.question for q in self.questions])

    @cached_property
    def asked_with_options(self) -> Tensor:
        """The same, each the mean of the question with one option behind it."""
        texts = [f"{q.question} {option}" for q in self.questions for option in q.options]
        return F.normalize(
            self.encoder.encode_texts(texts).view(len(self.questions), -1, self.encoder.width).mean(1), dim=-1
        )

    @cached_property
    def uneven(self) -> dict[int, Tensor]:
        """Frame numbers of evenly spread frames, [V, T], were the scenes of each video of very different lengths."""
        rng = random.Random(f"uneven {self.video_seed}")
        found: dict[int, list[list[int]]] = {count: [] for count in (5, 8, 10, 15, MANY, EVERY)}
        for _ in self.videos:
            drawn = [rng.gammavariate(1.0, 1.0) for _ in range(5)]
            lengths = [0.06 + 0.7 * d / sum(drawn) for d in drawn]  # no scene is shorter than one of 20 frames
            ends = np.cumsum(lengths)
            for count, rows in found.items():
                row = []
                for k in range(count):
                    at = (k + 0.5) / count
                    scene = int(np.searchsorted(ends[:-1], at, side="right"))
                    inside = (at - (ends[scene] - lengths[scene])) / lengths[scene]
                    row.append(min(int(8 * (scene + inside)), EVERY - 1))
                rows.append(row)
        return {count: torch.tensor(rows) for count, rows in found.items()}

    def seen(self, count: int, uneven: bool) -> Tensor:
        """`count` evenly spread frames of each video, raw: [V, T, D]."""
        if not uneven:
            return self.all_frames[:, even(count)]
        return take(self.all_frames, self.uneven[count])

    def aligned_on(self, alignment: Alignment, seed: int) -> Tensor:
        """The cloud that an alignment was trained on: [N, D]."""
        values = centre(self.text, self.text_mean) if alignment.centred else self.text
        noise = alignment.settings.get("noise", 0.0)
        return add_noise(values, noise, f"{seed} cloud") if noise else values


def even(count: int) -> list[int]:
    """Numbers of the frames in the middle of `count` equal parts of a video."""
    return [(2 * k + 1) * EVERY // (2 * count) for k in range(count)]


def take(values: Tensor, index: Tensor) -> Tensor:
    """values [V, N, D] at index [V, T]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def cut(picture: Image.Image, scale: float) -> list[Image.Image]:
    """The four corners and the centre of a picture."""
    width, height = picture.size
    w, h = round(width * scale), round(height * scale)
    corners = [(0, 0), (width - w, 0), (0, height - h), (width - w, height - h), ((width - w) // 2, (height - h) // 2)]
    return [picture.crop((x, y, x + w, y + h)) for x, y in corners]


def centre(values: Tensor, mean: Tensor, to: Tensor | float = 0.0) -> Tensor:
    return F.normalize(values - mean + to, dim=-1)


def shifted(world: World, _: int) -> Tensor:
    return centre(world.images, world.image_mean, world.text_mean)


def centred(world: World, _: int) -> Tensor:
    return centre(world.images, world.image_mean)


def transported(world: World, _: int) -> Tensor:
    """The linear map that carries the images' mean and covariance to those of text: both parts of the gap vanish."""
    cloud = world.images.flatten(0, 1).double()
    a, b = (torch.cov(x.T.double(), correction=0) for x in (cloud, world.text))
    a = a + 1e-6 * a.diagonal().mean() * torch.eye(len(a))
    half = power(a, 0.5)
    carry = power(a, -0.5) @ power(half @ b @ half, 0.5) @ power(a, -0.5)
    moved = (world.images.double() - world.image_mean) @ carry + world.text_mean
    return F.normalize(moved, dim=-1).float()


def power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=1e-12) ** exponent) @ vectors.T


def projected(world: World, seed: int, tau: float | None = None, rows: int | None = None) -> Tensor:
    bank = world.bank if rows is None else world.memory(rows, seed).values
    return project(world.images, bank, tau or world.config.temperature)


def nearest_rows(world: World, _: int, top: int = 1) -> Tensor:
    _, weights, rows = project_with_rows(world.images, world.bank, world.config.temperature, top_k=top)
    return F.normalize((weights[..., None] * world.bank[rows]).sum(-2), dim=-1)


def projected_shifted(world: World, seed: int, others: int | None = None, clean: bool = False) -> Tensor:
    """Projected after the mean shift. others: take the images' mean from so many videos that aren't asked about; else
    from those that are. clean: from pictures of a good camera."""
    if clean:
        good = world.all_frames[:, even(FRAMES)]
        return project(centre(world.images, good.mean((0, 1)), world.text_mean), world.bank, world.config.temperature)
    if others is None:
        return project(shifted(world, seed), world.bank, world.config.temperature)
    halves = torch.arange(VIDEOS).chunk(2)
    moved = []
    for own, other in (halves, halves[::-1]):
        drawn = random.Random(f"{seed} others").sample(other.tolist(), others)
        moved.append(centre(world.images[own], world.images[drawn].mean((0, 1)), world.text_mean))
    return project(torch.cat(moved), world.bank, world.config.temperature)


def projected_centred(world: World, seed: int, tau: float = 0.01) -> Tensor:
    """Queries and keys without their means; the rows themselves are added up."""
    keys = centre(world.bank, world.text_mean)
    weights = torch.softmax(centred(world, seed) @ keys.T / tau, dim=-1)
    return F.normalize(weights @ world.bank, dim=-1)


def projected_then_centred(world: World, seed: int) -> Tensor:
    return centre(projected(world, seed), world.text_mean)


def through_bad_camera(world: World, seed: int, given: Callable[[World, int], Tensor]) -> Tensor:
    return given(world.spoilt, seed)


def cropped(world: World, _: int, crops: str, each: bool) -> Tensor:
    scale, chosen = CROPS[crops]
    pieces = world.crops(scale)[:, :, [0, *(1 + i for i in chosen)]]
    if each:
        return F.normalize(project(pieces, world.bank, world.config.temperature).mean(2), dim=-1)
    return project(F.normalize(pieces.mean(2), dim=-1), world.bank, world.config.temperature)


def frames(world: World, _: int, count: int, uneven: bool) -> Tensor:
    return project(world.seen(count, uneven), world.bank, world.config.temperature)


def resampled(world: World, seed: int, count: int, uneven: bool, middle: bool) -> Tensor:
    """As `FrameFeatures.resample` does, the first of each fifth; or the one in its middle."""
    taken = [(2 * j + 1) * count // (2 * FRAMES) if middle else j * count // FRAMES for j in range(FRAMES)]
    return frames(world, seed, count, uneven)[:, taken]


def pooled(world: World, seed: int, uneven: bool, before: bool) -> Tensor:
    """Four frames to a slot, averaged."""
    group = (VIDEOS, FRAMES, MANY // FRAMES, -1)
    if before:
        raw = F.normalize(world.seen(MANY, uneven).view(*group).mean(2), dim=-1)
        return project(raw, world.bank, world.config.temperature)
    return F.normalize(frames(world, seed, MANY, uneven).view(*group).mean(2), dim=-1)


def near_question(world: World, seed: int, uneven: bool, how: str) -> Tensor:
    """For each question the five of 20 frames that are nearest to it in text space, in order of time: [Q, 5, D]."""
    given = frames(world, seed, MANY, uneven)[world.owner]
    asked = world.asked_with_options if how == "options" else world.asked
    looked, wanted = given, asked
    if how != "plain":
        looked, wanted = centre(given, world.text_mean), centre(asked, asked.mean(0))
    relevance = (looked @ wanted[..., None])[..., 0]
    if how != "diverse":
        return take(given, relevance.topk(FRAMES, dim=1).indices.sort(dim=1).values)
    # Maximal marginal relevance: near to the question, far from what is chosen already.
    alike = looked @ looked.transpose(1, 2)
    chosen = relevance.argmax(1, keepdim=True)
    while chosen.shape[1] < FRAMES:
        known = alike.gather(1, chosen[..., None].expand(-1, -1, MANY)).amax(1)
        worth = (0.5 * relevance - 0.5 * known).scatter(1, chosen, -torch.inf)
        chosen = torch.cat([chosen, worth.argmax(1, keepdim=True)], dim=1)
    return take(given, chosen.sort(dim=1).values)


def farthest(world: World, seed: int, uneven: bool) -> Tensor:
    """Five of 20 frames, each as far from those before it as can be; nobody's question is looked at."""
    given = frames(world, seed, MANY, uneven)
    alike = given @ given.transpose(1, 2)
    chosen = torch.full((VIDEOS, 1), MANY // 2)
    while chosen.shape[1] < FRAMES:
        known = alike.gather(1, chosen[..., None].expand(-1, -1, MANY)).amax(1).scatter(1, chosen, torch.inf)
        chosen = torch.cat([chosen, known.argmin(1, keepdim=True)], dim=1)
    return take(given, chosen.sort(dim=1).values)


def segments(world: World, _: int, uneven: bool, count: int = MANY, mean: bool = False, raw: bool = True) -> Tensor:
    """`count` frames cut into five stretches that vary least inside; the frame nearest to each one's mean, or the mean.

    raw: cut by image features; else by what they are projected to.
    """
    told = frames(world, 0, count, uneven)
    seen = world.seen(count, uneven) if raw else told
    if mean:
        means = [
            [own[a:b].mean(0) for a, b in change_point_segments(video, FRAMES)]
            for own, video in zip(told, seen, strict=True)
        ]
        return F.normalize(torch.stack([torch.stack(row) for row in means]), dim=-1)
    return take(told, torch.tensor([select_keyframes(video, FRAMES) for video in seen]))


def conditions() -> Iterator[Condition]:
    add = partial(Condition, "Bridges", gap=True)
    yield add(DEFAULT, projected)
    yield add("the captions themselves, no video", lambda w, _: w.captions)
    yield add("raw: no bridge", lambda w, _: w.images)
    yield add("mean shift: image - its mean + text's mean", shifted)
    yield add("mean and covariance carried over", transported)
    for name in ("centred", "centred, noise 0.25", "centred, noise 0.5"):
        yield add(f"aligned {name}; images centred (C3)", centred, name)
        yield add(f"aligned {name}; projected, then centred", projected_then_centred, name)
    for noise in NOISES:
        name = f"noise {noise}"
        yield add(f"aligned with {name}; raw", lambda w, _: w.images, name)
        yield add(f"aligned with {name}; mean shift", shifted, name)
        yield add(f"aligned with {name}; projected", projected, name)
    for one_over in (1, 10, 30, 300, 1000):
        yield add(f"projected, tau 1/{one_over}", partial(projected, tau=1 / one_over))
    for rows in (500, 2000, 5000):
        yield add(f"projected, {rows:,} rows", partial(projected, rows=rows))
    for top in (1, 4, 16, 32, 128):
        yield add("nearest row only" if top == 1 else f"projected, top {top}", partial(nearest_rows, top=top))
    yield add("projected after the mean shift", projected_shifted)
    for others in (1, 3, 10, 30, 100):
        name = f"projected after the mean shift, mean of {others} other videos"
        yield add(name, partial(projected_shifted, others=others))
    for one_over in (10, 30, 100):
        given = partial(projected_centred, tau=1 / one_over)
        yield add(f"projected, queries and keys centred, tau 1/{one_over}", given)

    spoil = partial(Condition, "Bridges, dark and noisy videos", gap=True, reference=f"{DEFAULT} (spoilt)")
    for name, given, aligned in (
        (DEFAULT, projected, "plain"),
        ("raw: no bridge", lambda w, _: w.images, "plain"),
        ("mean shift", shifted, "plain"),
        ("mean and covariance carried over", transported, "plain"),
        *((f"projected, tau 1/{n}", partial(projected, tau=1 / n), "plain") for n in (10, 30, 300, 1000)),
        *((f"projected, {n:,} rows", partial(projected, rows=n), "plain") for n in (500, 2000, 5000)),
        *((f"projected, top {n}", partial(nearest_rows, top=n), "plain") for n in (1, 16)),
        ("projected after the mean shift", projected_shifted, "plain"),
        *(
            (f"projected after the mean shift, mean of {n} other videos", partial(projected_shifted, others=n), "plain")
            for n in (1, 3, 10, 30, 100)
        ),
        ("projected after the mean shift, mean of clean pictures", partial(projected_shifted, clean=True), "plain"),
        ("projected, queries and keys centred, tau 1/30", partial(projected_centred, tau=1 / 30), "plain"),
        ("aligned centred, noise 0.5; images centred (C3)", centred, "centred, noise 0.5"),
        *((f"aligned with noise {n}; projected", projected, f"noise {n}") for n in NOISES),
        *((f"aligned with noise {n}; mean shift", shifted, f"noise {n}") for n in (0.5, 1.0)),
    ):
        yield spoil(f"{name} (spoilt)", partial(through_bad_camera, given=given), aligned)

    for crops in CROPS:
        yield Condition("Crops", f"whole and {crops}; mean, projected", partial(cropped, crops=crops, each=False))
        yield Condition("Crops", f"whole and {crops}; projected, mean", partial(cropped, crops=crops, each=True))

    for uneven in (False, True):
        end = " (uneven)" if uneven else ""
        make = partial(Condition, "Frames, scenes of uneven length" if uneven else "Frames")
        against: dict[str, Any] = {"reference": f"five even frames{end}" if uneven else DEFAULT}
        if uneven:
            yield make(against["reference"], partial(frames, count=FRAMES, uneven=True), **against)
        for how, about in (
            ("plain", "5 of 20 nearest to the question"),
            ("centred", "the same, both centred"),
            ("options", "the same, centred, options read too"),
            ("diverse", "the same, centred, and unlike each other"),
        ):
            yield make(about + end, partial(near_question, uneven=uneven, how=how), **against)
        yield make(f"5 of 20, unlike each other{end}", partial(farthest, uneven=uneven), **against)
        for count, raw, mean, about in (
            (10, True, False, "10 frames in 5 stretches, the one nearest to the mean"),
            (20, True, False, "20 frames in 5 stretches, the one nearest to the mean"),
            (40, True, False, "40 frames in 5 stretches, the one nearest to the mean"),
            (20, True, True, "20 frames in 5 stretches, their means"),
            (20, False, False, "20 projected frames in 5 stretches, the one nearest to the mean"),
            (20, False, True, "20 projected frames in 5 stretches, their means"),
        ):
            given = partial(segments, uneven=uneven, count=count, raw=raw, mean=mean)
            yield make(about + end, given, **against)
        yield make(f"20 frames, means of 4, projected{end}", partial(pooled, uneven=uneven, before=True), **against)
        yield make(f"20 frames projected, means of 4{end}", partial(pooled, uneven=uneven, before=False), **against)
        for count in (8, 10, 15, MANY):
            given = partial(frames, count=count, uneven=uneven)
            yield make(f"{count} frames, temporal vectors interpolated{end}", given, stretch="linear", **against)
            yield make(f"{count} frames, nearest temporal vector{end}", given, stretch="nearest", **against)
            for middle, about in ((False, "first"), (True, "middle")):
                given = partial(resampled, count=count, uneven=uneven, middle=middle)
                yield make(f"{count} frames, {about} of each fifth{end}", given, **against)
        ten = partial(frames, count=10, uneven=uneven)
        yield make(f"10 frames, aligned with 10 slots{end}", ten, aligned="10 slots", **against)

    for name in ("projector only", "lora 4", "lora 8", "lora 8, lr 1e-3", "prompts and lora 8"):
        yield Condition("What trains", name, projected, name)


def build(world: World, name: str, seed: int) -> tuple[VideoLanguageModel, AlignConfig]:
    """An aligned model: trained, or as it was trained before."""
    about = ALIGNMENTS[name]
    config = world.config.model_copy(update={"seed": seed, **about.settings})
    folder = output_folder(world.out / "aligned" / f"{slug(name)}-{seed}")
    done = folder / "adapter.safetensors"
    told, values = world.corpus.pairs()
    if about.centred:
        values = centre(values, world.text_mean)
    if config.noise:
        values = add_noise(values, config.noise, f"{world.config.seed} warm start")
    start = config.model_copy(update={"warm_start": 0.0}) if done.is_file() else config
    model, _ = new_model(start, world.encoder.identity, world.encoder.width, lambda: (told, values))
    if about.both:
        add_lora(model.llm, config.lora_rank, range(model.llm.config.num_hidden_layers))
    if about.projector_only:
        model.prompts.requires_grad_(False)
    if done.is_file():
        model.load_adapter_state_dict(load_file(done))
        return model.eval(), config
    data = world.corpus.alignment_set(FRAMES)
    if about.centred:
        data = AlignmentSet(centre(data.values, world.text_mean), data.valid, data.labels)
    if about.twice:
        doubled = [k // 2 for k in range(2 * FRAMES)]
        data = AlignmentSet(data.values[:, doubled], data.valid[:, doubled], data.labels)
    console.print(f"aligning: {name}, seed {seed}, {model.parameter_report().total_trainable:,} numbers train")
    result = train(model, load_prompter(config, model.llm), data, config, folder, watch=Watch(show=False))
    save_file({k: v.contiguous() for k, v in model.adapter_state_dict().items()}, done)
    console.print(f"  {result.seconds:.0f} s, loss {result.loss:.3f}")
    return model.eval(), config


@contextmanager
def stretched(model: VideoLanguageModel, count: int, how: str | None) -> Iterator[None]:
    """The model with `count` temporal vectors made of those it has."""
    kept = model.projector.temporal
    if how is not None:
        mode: dict[str, Any] = {"mode": "linear", "align_corners": False} if how == "linear" else {"mode": "nearest"}
        made = F.interpolate(kept.detach().T[None], size=count, **mode)[0].T
        model.projector.temporal = nn.Parameter(made.contiguous())
    try:
        yield
    finally:
        model.projector.temporal = kept


def answers(
    world: World, condition: Condition, seed: int, model: Callable[[], tuple[VideoLanguageModel, AlignConfig]]
) -> list[float]:
    """1 for every question answered rightly, 0 for every other; from the file where it was asked before."""
    path = output_folder(world.held_out / "answers") / f"{slug(condition.name)}-{seed}.json"
    if not path.is_file():
        given = condition.given(world, seed)
        llm, config = model()
        owner = world.owner if len(given) == VIDEOS else list(range(len(given)))
        valid = torch.ones(given.shape[:2], dtype=torch.bool)
        with stretched(llm, given.shape[1], condition.stretch):
            prompter = load_prompter(config, llm.llm)
            scores = score_options(llm, prompter, world.questions, given, valid, owner, protocol=config.protocol)
        right = [int(s.choice == q.answer) for s, q in zip(scores, world.questions, strict=True)]
        write_atomically(path, json.dumps(right))
        console.print(f"{condition.name}, seed {seed}: {sum(right) / len(right):.3f}")
    return [float(x) for x in json.loads(path.read_text())]


def gap_of(world: World, condition: Condition, seeds: int) -> Gap:
    """Between what the LLM was trained on and what it is given; the mean over seeds."""
    about = ALIGNMENTS[condition.aligned]
    found = [
        modality_gap(world.aligned_on(about, seed), condition.given(world, seed).flatten(0, 1)) for seed in range(seeds)
    ]
    return Gap(*(sum(getattr(g, part) for g in found) / seeds for part in ("centroid", "distribution")))


def likeness(world: World, condition: Condition, seeds: int) -> float:
    """The mean cosine between what the LLM is given for a frame and what the frame's caption would be."""
    about = ALIGNMENTS[condition.aligned]
    told = centre(world.captions, world.text_mean) if about.centred else world.captions
    return sum(float((condition.given(world, s) * told).sum(-1).mean()) for s in range(seeds)) / seeds


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, equal values sharing a rank."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count - 1) / 2)[place]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def predictors(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """How well each number orders the bridges of a section by accuracy, with an interval from resampled bridges."""
    every: dict[str, dict[str, dict[str, float]]] = {}
    for section in dict.fromkeys(row["section"] for row in rows if "centroid" in row):
        chosen = [row for row in rows if row["section"] == section]
        if len(chosen) < 8:  # so few say nothing about an order
            continue
        correct = np.array([row["accuracy"]["value"] for row in chosen])
        draws = np.random.default_rng(0).integers(0, len(chosen), size=(2000, len(chosen)))
        every[section] = {}
        for name, sign in (("centroid", -1), ("distribution", -1), ("total", -1), ("likeness", 1)):
            values = sign * np.array([row[name] for row in chosen])
            with np.errstate(invalid="ignore"):  # a draw of one bridge alone has no order
                found = [rank_correlation(values[d], correct[d]) for d in draws]
            low, high = np.nanquantile(found, (0.025, 0.975))
            every[section][name] = {
                "rho": round(rank_correlation(values, correct), 3), "low": round(low, 3), "high": round(high, 3)
            }  # fmt: skip
    return every


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def interval(e: IntervalEstimate) -> dict[str, float]:
    return {"value": round(e.value, 4), "low": round(e.low, 4), "high": round(e.high, 4)}


def measure(world: World, chosen: list[Condition], seeds: int) -> list[dict[str, Any]]:
    hits: dict[str, list[list[float]]] = {c.name: [] for c in chosen}
    for aligned in dict.fromkeys(c.aligned for c in chosen):
        for seed in range(seeds):
            model = cache(partial(build, world, aligned, seed))
            for condition in chosen:
                if condition.aligned == aligned:
                    hits[condition.name].append(answers(world, condition, seed, model))
    groups = [world.videos[i].id for i in world.owner]
    means = {name: np.mean(found, axis=0).tolist() for name, found in hits.items()}
    rows = []
    for condition in chosen:
        own, other = means[condition.name], means[condition.reference]
        row: dict[str, Any] = {
            "section": condition.section,
            "name": condition.name,
            "accuracy": interval(accuracy(own, groups)),
            "by_seed": [round(sum(found) / len(found), 4) for found in hits[condition.name]],
            "reference": condition.reference,
            "difference": interval(difference(own, other, groups)),
        }
        if condition.gap:
            gap = gap_of(world, condition, seeds)
            row |= {"centroid": round(gap.centroid, 5), "distribution": round(gap.distribution, 5)}
            row |= {"total": round(gap.total, 5), "likeness": round(likeness(world, condition, seeds), 5)}
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for section in dict.fromkeys(row["section"] for row in rows):
        own = [row for row in rows if row["section"] == section]
        gaps = any("centroid" in row for row in own)
        reference = own[0]["reference"]
        lines += [
            f"**{section}**",
            "",
            f"| condition | accuracy | minus `{reference}` |"
            + (" centroid | distribution | likeness |" if gaps else ""),
            "|---|---|---|" + ("---:|---:|---:|" if gaps else ""),
        ]
        for row in own:
            a, d = row["accuracy"], row["difference"]
            line = f"| {row['name']} | {a['value']:.3f} ({a['low']:.3f} to {a['high']:.3f}) | "
            line += "" if row["name"] == reference else f"{d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"
            line += " |"
            if gaps:
                line += f" {row['centroid']:.3f} | {row['distribution']:.3f} | {row['likeness']:.2f} |"
            lines.append(line)
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where alignments and answers are kept")
    parser.add_argument("--seeds", type=int, default=3, help="alignments of each kind")
    parser.add_argument(
        "--only", nargs="*", default=[], help="conditions whose section or name has one of these words in it"
    )
    parser.add_argument("--video-seed", type=int, default=VIDEO_SEED, help="other held-out videos than the demo's")
    parser.add_argument("--json", type=Path, help="keep the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = World(args.out, args.video_seed)
    every = list(conditions())
    wanted = [c for c in every if not args.only or any(word in f"{c.section}: {c.name}" for word in args.only)]
    needed = {c.name for c in wanted} | {c.reference for c in wanted}
    chosen = [c for c in every if c.name in needed]
    began = time.process_time()
    rows = measure(world, chosen, args.seeds)
    predicted = predictors(rows)
    print(table(rows))
    for section, found in predicted.items():
        for name, rho in found.items():
            span = f"{rho['rho']:+.2f} ({rho['low']:+.2f} to {rho['high']:+.2f})"
            print(f"{section}: rank correlation of accuracy with {name}: {span}")
    console.print(f"{time.process_time() - began:.0f} s of processor time in this sitting")
    if args.json:
        about = {
            "command": "python perf/bridges.py",
            "seeds": args.seeds,
            "video_seed": args.video_seed,
            "videos": VIDEOS,
            "questions": len(world.questions),
            "versions": {
                "topa": own_version(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }
        save_figures(args.json, {**about, "rows": rows, "rank_correlation": predicted})


if __name__ == "__main__":
    main()
