"""The verb `finetune`: from a pre-aligned model and labelled videos to a model that has seen videos.

Reads questions about video files (`evals.questions`), writes a run folder and a saved model. Running the same
command again goes on where it stopped, to the bit.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ..core.artifacts import output_folder, sha256, write_atomically
from ..core.embedded import resolve
from ..core.errors import InputError, UsageError
from ..core.processes import Processes
from ..core.progress import console
from ..evals.questions import UnfitQuestion, VideoQuestion
from ..features.clips import Clip
from ..features.encoder import Encoder
from ..features.feature_cache import FeatureCache, encode_missing
from ..features.frames import FrameFeatures
from ..inference.engine import prompter_for
from ..memory.bank import MemoryBank
from ..memory.cached_projection import project_cached
from ..models import saved
from ..models.base import empty_llm, load_llm, load_tokenizer, window
from ..models.saved import SavedConfig
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from ..tideos.tideo import TextFrame, Tideo
from .align import run_files, save_models
from .data import AlignmentSet, Labels, batches_per_epoch
from .estimate import RunCost, estimate
from .finetune_config import FinetuneConfig, LabelledSet, read_finetune_recipe
from .labelled import LabelledVideos, Selection, nothing, select
from .loop import TrainResult, Watch, train
from .prepare import dtype_for, prepare
from .runfile import expect_run
from .trackers import check_trackers

FEATURES = "features"
LEFT_OUT = "left-out.json"
_FEW_STEPS = 50


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """How a run ended, and what it was trained on. left_out: questions by reason."""

    training: TrainResult
    questions: int
    videos: int
    held_out_questions: int
    left_out: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "training": self.training.as_json()}


@dataclass(frozen=True, slots=True)
class FinetunePlan:
    """What a run would do. to_encode: clips without features. left_out: questions by reason. cost: of the training."""

    questions: int
    videos: int
    held_out_questions: int
    held_out_videos: int
    to_encode: int
    left_out: dict[str, int]
    cost: RunCost

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "cost": self.cost.as_json()}


def configuration(
    model: str | Path, recipe: str | None = None, settings: Sequence[str] = (), *, from_scratch: bool = False
) -> FinetuneConfig:
    """Return the settings of a run that starts from a saved model: its own protocol, where no recipe or setting says
    other; a model that compares options by their text is trained on their text.

    Raises ArtifactError where this isn't a saved model, UsageError for what can't be set.
    """
    protocol = saved.read_config(saved.fetch(model)).protocol
    base = {"protocol": protocol} if protocol == "selection" else {"protocol": protocol, "choose": 0.0}
    return read_finetune_recipe(recipe, base, settings, from_scratch=from_scratch)


def finetune(
    config: FinetuneConfig,
    model: str | Path,
    source: LabelledVideos,
    out: Path,
    *,
    workers: int = 1,
    watch: Watch | None = None,
    accept_changes: bool = False,
) -> FinetuneResult:
    """Fine-tune a saved model on labelled videos into `out`: features, training, a saved model. Resumes.

    Frames, adapter and language model are the saved model's; its memory is taken along for bridge "projected". The
    result is the adapter after the last step; the best on held-out videos is `out/best`. What can't be used is left
    out, counted, and listed in `out/left-out.json`. workers: videos decoded at the same time.
    Raises InputError where nothing can be used or a line is malformed, ArtifactError where `model` isn't a saved model,
    ArtifactMismatch where parts don't fit each other, UsageError for settings that don't, and what training raises.
    """
    processes, watch = Processes(), watch or Watch()
    folder = saved.fetch(model)
    base = saved.read_config(folder)
    memory = _memory(folder, base, config)
    output_folder(out, LEFT_OUT, "projected/*", *run_files(None if source.features else FEATURES, parts=True))
    check_trackers(watch.trackers)
    expect_run(out, "finetune", config, accept_changes=accept_changes)
    features = source.features or out / FEATURES
    selection = select(source, config, FeatureCache(features, base.encoder_identity, base.frames))
    clips = [source.clip(q) for q in (*selection.training, *selection.held_out)]
    failed = _encode_missing(clips, base, features, workers, watch.show) if processes.first else {}
    processes.wait()
    known = FeatureCache(features, base.encoder_identity, base.frames)
    selection, data = _read(selection, source, known, failed, base, memory, out)
    if processes.first:
        _tell(selection, source, config, out)
    learner, prompter = _learner(folder, base, config, processes)
    console.print(str(learner.parameter_report()))
    result = train(
        learner,
        prompter,
        data[0],
        config,
        out,
        held_out=_some(data[1], config),
        kind="finetune",
        parents=_parents(folder, selection, source, config, memory),
        watch=watch,
        accept_changes=accept_changes,
        processes=processes,
    )
    if processes.first:
        saved_config = base.model_copy(update={"bridge": config.bridge, "protocol": config.protocol})
        about = _about(config, model, source, selection, result)
        text = saved.card(saved_config, str(learner.parameter_report()), about)
        save_models(out, saved_config, learner, result, memory, text)
    videos = len({source.name(q) for q in selection.training})
    return FinetuneResult(result, len(selection.training), videos, len(selection.held_out), selection.tally.counts)


def _encode_missing(
    clips: Sequence[Clip], base: SavedConfig, features: Path, workers: int, show: bool
) -> dict[str, str]:
    return encode_missing(
        clips,
        lambda: Encoder.from_pretrained(resolve(base.encoder)),
        base.encoder_identity,
        base.frames,
        features,
        workers=workers,
        show=show,
    )


def plan(
    config: FinetuneConfig, model: str | Path, source: LabelledVideos, out: Path, *, processes: int = 1
) -> FinetunePlan:
    """Estimate what `finetune` would do: no weights are loaded, nothing is encoded, nothing is written.

    Raises what reading the questions, the saved model's and the LLM's configuration raises.
    """
    folder = saved.fetch(model)
    base = saved.read_config(folder)
    _memory(folder, base, config)
    known = FeatureCache(source.features or out / FEATURES, base.encoder_identity, base.frames)
    selection = select(source, config, known)
    llm = empty_llm(base.llm, resolve(base.llm, weights=False))
    tideos = [_as_tideo(q, base.frames) for q in selection.training]
    dtype = dtype_for(config, Processes().device)
    cost = estimate(
        saved.shape(llm, base),
        _prompter(base, config, llm),
        tideos,
        range(len(tideos)),
        config,
        frames=base.frames,
        compute=dtype.itemsize,
        bits=8 * dtype.itemsize,
        processes=processes,
    )
    clips = {source.clip(q).id for q in (*selection.training, *selection.held_out)}
    return FinetunePlan(
        len(selection.training),
        len({source.name(q) for q in selection.training}),
        len(selection.held_out),
        len({source.name(q) for q in selection.held_out}),
        sum(name not in known for name in clips),
        selection.tally.counts,
        cost,
    )


def _as_tideo(question: VideoQuestion, frames: int) -> Tideo:
    """Return the texts of a sample as the estimate reads them."""
    return Tideo(
        id=question.id,
        frames=(TextFrame(caption="a frame"),) * frames,
        description=question.description or question.question.question,
        questions=(question.question,),
    )


def _read(
    selection: Selection,
    source: LabelledVideos,
    known: FeatureCache,
    failed: dict[str, str],
    base: SavedConfig,
    memory: MemoryBank | None,
    out: Path,
) -> tuple[Selection, tuple[LabelledSet, LabelledSet]]:
    """Read features; return the questions whose features are there and sound, and these with their features."""
    features_of: dict[str, FrameFeatures] = {}
    for name in dict.fromkeys(source.clip(q).id for q in (*selection.training, *selection.held_out)):
        try:
            features_of[name] = known[name]
        except InputError as error:
            failed.setdefault(name, str(error))
    ids = list(features_of)
    features = list(features_of.values())
    if memory is not None:
        features = project_cached(memory, features, base.temperature, out / "projected")
    resampled = [f.resample(base.frames) for f in features]
    place = {name: number for number, name in enumerate(ids)}

    def usable(questions: Sequence[VideoQuestion]) -> tuple[VideoQuestion, ...]:
        return tuple(q for q in questions if source.clip(q).id in place)

    unusable = [
        UnfitQuestion(q.id, source.name(q), "the video can't be used", failed[source.clip(q).id])
        for q in (*selection.training, *selection.held_out)
        if source.clip(q).id not in place
    ]
    rest = Selection(
        usable(selection.training), usable(selection.held_out), (*selection.left_out, *unusable), selection.unseen
    )
    if not rest.training:
        raise nothing(source.data, rest.left_out)
    values, valid = torch.stack([f.values for f in resampled]), torch.stack([f.valid for f in resampled])

    def labelled(questions: Sequence[VideoQuestion]) -> LabelledSet:
        return LabelledSet(
            values,
            valid,
            tuple(place[source.clip(q).id] for q in questions),
            tuple(Labels(q.description, (q.question,)) for q in questions),
            tuple(q.id for q in questions),
        )

    return rest, (labelled(rest.training), labelled(rest.held_out))


def _tell(selection: Selection, source: LabelledVideos, config: FinetuneConfig, out: Path) -> None:
    videos = [len({source.name(q) for q in part}) for part in (selection.training, selection.held_out)]
    console.print(
        f"{len(selection.training):,} questions about {videos[0]:,} videos; held out: {len(selection.held_out):,} "
        f"about {videos[1]:,}"
    )
    for line in selection.tally.lines():
        console.print(f"left out, {line}", style="yellow")
    steps = config.epochs * batches_per_epoch(len(selection.training), config.batch_size)
    if steps < _FEW_STEPS:
        console.print(
            f"only {steps} steps of {config.batch_size} questions: a smaller --set batch_size= will learn more, with "
            "--set lr= smaller by as much",
            style="yellow",
        )
    left_out = [asdict(unfit) for unfit in selection.left_out]
    summary = {"left_out": len(left_out), "reasons": selection.tally.counts, "questions": left_out}
    write_atomically(out / LEFT_OUT, json.dumps(summary, ensure_ascii=False, indent=1) + "\n")


def _some(held_out: LabelledSet, config: FinetuneConfig) -> AlignmentSet | None:
    number = min(len(held_out), config.validation)
    if not number:
        return None
    return held_out.take(sorted(random.Random(f"{config.seed} validation").sample(range(len(held_out)), number)))


def _memory(folder: Path, base: SavedConfig, config: FinetuneConfig) -> MemoryBank | None:
    if config.bridge == "raw":
        return None
    if base.bridge == "raw":
        raise UsageError(
            f"{folder}: has no memory, as it reads pictures as they are; bridge 'projected' needs one. Start from a "
            "model that topa align made, or leave out --bridge."
        )
    return MemoryBank.load(folder)


def _learner(
    folder: Path, base: SavedConfig, config: FinetuneConfig, processes: Processes
) -> tuple[VideoLanguageModel, Prompter]:
    device = torch.device("cpu") if config.sharded else processes.device  # a shard at a time goes further
    dtype = dtype_for(config, processes.device)
    llm = load_llm(base.llm, resolve(base.llm), legacy=base.legacy, dtype=dtype, device=device)
    torch.manual_seed(config.seed)
    model = saved.build(llm, base, bias=config.video_bias, std=config.init_std)
    if not config.from_scratch:
        state = saved.read_adapter(folder)
        if config.bridge == "raw" and config.raw_projector == "fresh":
            state["projector.linear.weight"] = model.projector.linear.weight.detach()
        model.load_adapter_state_dict(state)
    return prepare(model, config, processes), _prompter(base, config, llm)


def _prompter(base: SavedConfig, config: FinetuneConfig, llm: PreTrainedModel) -> Prompter:
    limits = [length for length in (window(llm), config.max_tokens) if length is not None]
    return prompter_for(load_tokenizer(base.llm, resolve(base.llm, weights=False)), base, min(limits, default=None))


def _parents(
    folder: Path, selection: Selection, source: LabelledVideos, config: FinetuneConfig, memory: MemoryBank | None
) -> dict[str, str]:
    """Hash what a run is made of: another adapter or other questions would be another run."""
    digest = hashlib.sha256()
    for part in (selection.training, selection.held_out):
        for q in part:
            texts = [q.id, source.clip(q).id, q.question.model_dump_json(), q.description]
            digest.update(json.dumps(texts).encode() + b"\0")
        digest.update(b"\0")
    adapter = "none" if config.from_scratch else sha256(folder / saved.ADAPTER)[:16]
    parents = {"adapter": adapter, "questions": digest.hexdigest()[:16]}
    return parents if memory is None else {**parents, "memory": memory.hash[:16]}


def _about(
    config: FinetuneConfig, model: str | Path, source: LabelledVideos, selection: Selection, result: TrainResult
) -> str:
    """Describe a run for its model card."""
    videos = [len({source.name(q) for q in part}) for part in (selection.training, selection.held_out)]
    accuracy = "not measured" if result.accuracy is None else f"{result.accuracy:.3f}"
    name = Path(model).resolve().name if Path(model).exists() else str(model)
    start = (
        f"from a random adapter, without pre-alignment (in the sizes of `{name}`)"
        if config.from_scratch
        else f"from the pre-aligned adapter `{name}`"
    )
    pictures = "as they are" if config.bridge == "raw" else "projected through the memory"
    share = "" if config.fraction == 1 else f" (a share of {config.fraction:g} of the training videos)"
    if config.bridge == "raw" and config.raw_projector == "fresh" and not config.from_scratch:
        start += " with a projector drawn anew"
    return (
        f"Fine-tuned on labelled videos, after TOPA (arXiv 2405.13911): `{source.data.name}` ({source.format}), "
        f"{len(selection.training):,} questions about {videos[0]:,} videos{share}, pictures {pictures}, {start}. "
        f"{len(selection.left_out):,} questions left out. Steps {result.steps}, {result.seconds:.0f} s, last loss "
        f"{result.loss:.3f}, right on {videos[1]:,} held-out videos {accuracy}.\n\n"
        f"```json\n{config.model_dump_json(indent=1)}\n```"
    )
