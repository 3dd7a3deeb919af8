"""The verb `finetune`: from a pre-aligned model and labelled videos to a model that has seen videos.

Reads questions about video files (`benchmarks.questions`), writes a run folder and a saved model. Running the same
command again goes on where it stopped, to the bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from .benchmarks.questions import FORMATS, Asked, Unfit, VideoQuestion
from .core.artifacts import output_folder, sha256, write_atomically
from .core.errors import InputError, UsageError
from .core.progress import console
from .features.clips import Clip, ClipFeatures, encode_clips
from .features.encoder import Encoder
from .inference.engine import prompter_for
from .memory.bank import MemoryBank
from .microworld.paths import resolve
from .models import saved
from .models.base import load_llm, load_tokenizer, window
from .models.saved import SavedConfig
from .models.topa_model import VideoLanguageModel
from .prompts.prompt import Prompter
from .prompts.templates import LETTERS
from .tideos.tally import Tally
from .training.data import Labels, batches_per_epoch
from .training.finetune import FinetuneConfig, LabelledSet, read_finetune_recipe
from .training.loop import BEST, TrainResult, Watch, train
from .training.prepare import dtype_for, prepare
from .training.processes import Processes

FEATURES = "features"
LEFT_OUT = "left-out.json"
_FEW_STEPS = 50


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled videos. data: the file of questions, in one of `FORMATS`. videos: the folder that their paths start
    from; the file's own by default. features: a folder of features that are there, or go there."""

    data: Path
    format: str = "jsonl"
    videos: Path | None = None
    features: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the videos are."""
        return self.data.parent if self.videos is None else self.videos

    def clip(self, question: VideoQuestion) -> Clip:
        """What a question is about."""
        return Clip.of(question.video, self.folder, question.start, question.end)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which questions a run learns from, and which it is validated on; no video has some of both.

    left_out: the others that can't be used, with the reasons. unseen: questions beyond the fraction of the videos.
    """

    training: tuple[VideoQuestion, ...]
    held_out: tuple[VideoQuestion, ...]
    left_out: tuple[Unfit, ...]
    unseen: int

    @property
    def tally(self) -> Tally:
        """What was left out, by reason."""
        tally = Tally()
        for unfit in self.left_out:
            tally.add(unfit.reason, f"{unfit.id}, {unfit.video}: {unfit.detail}" if unfit.detail else unfit.id)
        return tally


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """How a run ended, and what it was trained on. left_out: questions by reason."""

    training: TrainResult
    questions: int
    videos: int
    held_out_questions: int
    left_out: dict[str, int]


def configuration(
    model: str | Path, recipe: str | None = None, settings: Sequence[str] = (), *, from_scratch: bool = False
) -> FinetuneConfig:
    """The settings of a run that starts from a saved model: its own protocol, where no recipe or setting says other;
    a model that compares options by their text is trained on their text.

    Raises ArtifactError where this isn't a saved model, UsageError for what can't be set.
    """
    protocol = saved.read_config(saved.fetch(model)).protocol
    base = {"protocol": protocol} if protocol == "selection" else {"protocol": protocol, "choose": 0.0}
    return read_finetune_recipe(recipe, base, settings, from_scratch=from_scratch)


def finetune(
    config: FinetuneConfig,
    model: str | Path,
    source: Source,
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
    output_folder(out)
    features = source.features or out / FEATURES
    chosen = select(source, config, ClipFeatures(features, base.encoder_identity, base.frames))
    failed: dict[str, str] = {}
    if processes.first:
        clips = [source.clip(q) for q in (*chosen.training, *chosen.held_out)]
        show = watch.show
        _, failed = encode_clips(
            clips, lambda: _encoder(base), base.encoder_identity, base.frames, features, workers=workers, show=show
        )
    processes.wait()
    known = ClipFeatures(features, base.encoder_identity, base.frames)
    chosen, data = _read(chosen, source, known, failed, base, memory, out)
    if processes.first:
        _tell(chosen, source, config, out)
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
        parents=_parents(folder, chosen, source, config, memory),
        watch=watch,
        accept_changes=accept_changes,
        processes=processes,
    )
    if processes.first:
        described = base.model_copy(update={"bridge": config.bridge, "protocol": config.protocol})
        about = _about(config, model, source, chosen, result)
        text = saved.card(described, str(learner.parameter_report()), about)
        _save(out, described, learner, result, memory, text)
    videos = len({source.clip(q).name for q in chosen.training})
    return FinetuneResult(result, len(chosen.training), videos, len(chosen.held_out), chosen.tally.counts)


def plan(config: FinetuneConfig, model: str | Path, source: Source, out: Path) -> None:
    raise NotImplementedError


def select(source: Source, config: FinetuneConfig, known: ClipFeatures) -> Selection:
    """Which questions are for training, and which are held out, decided by video and by the seed alone.

    A part of the videos is drawn, not of the questions: those of one video stand together, and a tenth of them all
    would show most videos. known: features that are there; a video may be missing then.
    Raises InputError where nothing can be used, or where the held-out share is no whole video.
    """
    usable: list[tuple[str, VideoQuestion]] = []
    left_out: list[Unfit] = []
    for asked in _asked(source):
        unfit = asked if isinstance(asked, Unfit) else _unfit(asked, source.clip(asked), config, known)
        if unfit is not None:
            left_out.append(unfit)
        elif isinstance(asked, VideoQuestion):
            usable.append((source.clip(asked).name, asked))
    videos = sorted({name for name, _ in usable})
    if not videos:
        raise _nothing(source.data, left_out)
    held = set(_drawn(videos, round(config.held_out * len(videos)), f"{config.seed} held out"))
    if config.held_out and (not held or len(held) == len(videos)):
        raise InputError(
            f"{source.data}: found questions about {len(videos)} videos, of which a share of {config.held_out:g} is "
            f"{len(held)}; expected at least one for training and one for validation. Give more videos, another "
            "--set held_out=, or go without validation: --set held_out=0"
        )
    training = [name for name in videos if name not in held]
    number = math.ceil(config.fraction * len(training) - 1e-9)
    seen = set(_drawn(training, number, f"{config.seed} fraction"))
    return Selection(
        tuple(q for name, q in usable if name in seen),
        tuple(q for name, q in usable if name in held),
        tuple(left_out),
        sum(name not in seen and name not in held for name, _ in usable),
    )


def _asked(source: Source) -> Iterable[Asked]:
    read = FORMATS.load(source.format)
    if not source.folder.is_dir():
        raise InputError(f"{source.folder}: found no such folder; expected the videos. Name another one with --videos.")
    asked: Iterable[Asked] = read(source.data, source.folder)
    return asked


def _unfit(question: VideoQuestion, clip: Clip, config: FinetuneConfig, known: ClipFeatures) -> Unfit | None:
    """Why nothing can be learned from a question, as far as can be told without opening its video."""
    asked = question.question
    reason, detail = "", ""
    shares = {
        "choose": config.choose * (asked.answer is not None),
        "answer": config.answer * (asked.right is not None),
        "describe": config.describe * bool(question.description),
    }
    if len(asked.options) > len(LETTERS):
        reason, detail = f"more than {len(LETTERS)} options", str(len(asked.options))
    elif asked.right is None and not question.description:
        reason = "no answer is given"
    elif not any(shares.values()):
        reason, detail = "its task has no share", "--set choose=, answer= or describe="
    elif clip not in known and not clip.path.is_file():
        reason, detail = "the video is missing", str(clip.path)
    return Unfit(question.id, clip.name, reason, detail) if reason else None


def _drawn(names: Sequence[str], number: int, key: str) -> list[str]:
    """So many of them; a smaller number is part of a larger one, whatever else there is."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest())[:number]


def _read(
    chosen: Selection,
    source: Source,
    known: ClipFeatures,
    failed: dict[str, str],
    base: SavedConfig,
    memory: MemoryBank | None,
    out: Path,
) -> tuple[Selection, tuple[LabelledSet, LabelledSet]]:
    """The questions whose features are there and sound, and these questions with their features."""
    clips = {clip.id: clip for clip in map(source.clip, (*chosen.training, *chosen.held_out))}
    found = {}
    for name, clip in clips.items():
        try:
            if name not in failed:
                found[name] = known[clip]
        except InputError as error:
            failed[name] = str(error)
    ids = list(found)
    features = list(found.values())
    if memory is not None:
        features = memory.project_all(features, base.temperature, cache=out / "projected")
    taken = [f.resample(base.frames) for f in features]
    place = {name: number for number, name in enumerate(ids)}

    def kept(questions: Sequence[VideoQuestion]) -> tuple[VideoQuestion, ...]:
        return tuple(q for q in questions if source.clip(q).id in place)

    lost = [
        Unfit(q.id, source.clip(q).name, "the video can't be used", failed.get(source.clip(q).id, "no features"))
        for q in (*chosen.training, *chosen.held_out)
        if source.clip(q).id not in place
    ]
    rest = Selection(kept(chosen.training), kept(chosen.held_out), (*chosen.left_out, *lost), chosen.unseen)
    if not rest.training:
        raise _nothing(source.data, rest.left_out)
    values, valid = torch.stack([f.values for f in taken]), torch.stack([f.valid for f in taken])

    def labelled(questions: Sequence[VideoQuestion]) -> LabelledSet:
        return LabelledSet(
            values,
            valid,
            tuple(place[source.clip(q).id] for q in questions),
            tuple(Labels(q.description, (q.question,)) for q in questions),
            tuple(q.id for q in questions),
        )

    return rest, (labelled(rest.training), labelled(rest.held_out))


def _nothing(data: Path, left_out: Sequence[Unfit]) -> InputError:
    reasons = "; ".join(Selection((), (), tuple(left_out), 0).tally.lines()) or "there are no questions"
    return InputError(
        f"{data}: found no question that can be used: {reasons}. Expected questions with answers, and their videos. "
        "Name the folder that their paths start from with --videos."
    )


def _tell(chosen: Selection, source: Source, config: FinetuneConfig, out: Path) -> None:
    videos = [len({source.clip(q).name for q in part}) for part in (chosen.training, chosen.held_out)]
    console.print(
        f"{len(chosen.training):,} questions about {videos[0]:,} videos; held out: {len(chosen.held_out):,} about "
        f"{videos[1]:,}"
    )
    for line in chosen.tally.lines():
        console.print(f"left out, {line}", style="yellow")
    steps = config.epochs * batches_per_epoch(len(chosen.training), config.batch_size)
    if steps < _FEW_STEPS:
        console.print(
            f"only {steps} steps of {config.batch_size} questions: a smaller --set batch_size= will learn more, with "
            "--set lr= smaller by as much",
            style="yellow",
        )
    listed = [asdict(unfit) for unfit in chosen.left_out]
    told = {"left_out": len(listed), "reasons": chosen.tally.counts, "questions": listed}
    write_atomically(out / LEFT_OUT, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def _some(held_out: LabelledSet, config: FinetuneConfig) -> LabelledSet | None:
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


def _encoder(base: SavedConfig) -> Encoder:
    return Encoder.from_pretrained(resolve(base.encoder))


def _learner(
    folder: Path, base: SavedConfig, config: FinetuneConfig, processes: Processes
) -> tuple[VideoLanguageModel, Prompter]:
    source = resolve(base.llm)
    device = torch.device("cpu") if config.sharded else processes.device  # a shard at a time goes further
    dtype = dtype_for(config, processes.device)
    llm = load_llm(base.llm, source, legacy=base.legacy, dtype=dtype, device=device)
    torch.manual_seed(config.seed)
    model = saved.build(llm, base, bias=config.video_bias, std=config.init_std)
    if not config.from_scratch:
        model.load_adapter_state_dict(saved.read_adapter(folder))
    limits = [length for length in (window(llm), config.max_tokens) if length is not None]
    prompter = prompter_for(load_tokenizer(base.llm, source), base, min(limits, default=None))
    return prepare(model, config, processes), prompter


def _parents(
    folder: Path, chosen: Selection, source: Source, config: FinetuneConfig, memory: MemoryBank | None
) -> dict[str, str]:
    """Hashes of what a run is made of: another adapter or other questions would be another run."""
    digest = hashlib.sha256()
    for part in (chosen.training, chosen.held_out):
        for q in part:
            told = [q.id, source.clip(q).id, q.question.model_dump_json(), q.description]
            digest.update(json.dumps(told).encode() + b"\0")
        digest.update(b"\0")
    adapter = "none" if config.from_scratch else sha256(folder / saved.ADAPTER)[:16]
    parents = {"adapter": adapter, "questions": digest.hexdigest()[:16]}
    return parents if memory is None else {**parents, "memory": memory.hash[:16]}


def _about(config: FinetuneConfig, model: str | Path, source: Source, chosen: Selection, result: TrainResult) -> str:
    """What the model card says of a run."""
    videos = [len({source.clip(q).name for q in part}) for part in (chosen.training, chosen.held_out)]
    accuracy = "not measured" if result.accuracy is None else f"{result.accuracy:.3f}"
    name = Path(model).resolve().name if Path(model).exists() else str(model)
    start = (
        f"from a random adapter, without pre-alignment (in the sizes of `{name}`)"
        if config.from_scratch
        else f"from the pre-aligned adapter `{name}`"
    )
    pictures = "as they are" if config.bridge == "raw" else "projected through the memory"
    share = "" if config.fraction == 1 else f" (a share of {config.fraction:g} of the training videos)"
    return (
        f"Fine-tuned on labelled videos, after TOPA (arXiv 2405.13911): `{source.data.name}` ({source.format}), "
        f"{len(chosen.training):,} questions about {videos[0]:,} videos{share}, pictures {pictures}, {start}. "
        f"{len(chosen.left_out):,} questions left out. Steps {result.steps}, {result.seconds:.0f} s, last loss "
        f"{result.loss:.3f}, right on {videos[1]:,} held-out videos {accuracy}.\n\n"
        f"```json\n{config.model_dump_json(indent=1)}\n```"
    )


def _save(
    out: Path,
    described: SavedConfig,
    model: VideoLanguageModel,
    result: TrainResult,
    memory: MemoryBank | None,
    card: str,
) -> None:
    for folder, state in ((out / "best", None), (out, model.adapter_state_dict())):
        if state is None and result.best is None:
            continue
        output_folder(folder)
        if memory is not None:
            memory.save(folder)
        saved.save(folder, described, load_file(out / BEST) if state is None else state, card)
