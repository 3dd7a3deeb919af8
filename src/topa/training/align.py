"""The verb `align`: the stages of pre-alignment in their order, from Tideos to a saved model.

Used by `topa align`, by the demo, and wherever the default model is needed for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from ..core.artifacts import MANIFEST, link_file, output_folder, sha256
from ..core.command import typed
from ..core.embedded import resolve
from ..core.errors import ArtifactMismatch, InputError, UsageError
from ..core.printable import Hint, Printout
from ..core.processes import Processes, is_first, launch_several
from ..core.progress import console, track
from ..core.registry import Registry
from ..features.encode import encode
from ..features.encode_video import encode_frames
from ..features.encoder import Encoder, feature_width, identify
from ..features.run import FILES as STORE
from ..features.store import FeatureStore
from ..features.verbs import EncodeConfig
from ..memory.bank import FILES as MEMORY
from ..memory.bank import MemoryBank, build_from_store
from ..models import saved
from ..models.base import empty_llm, identity, load_llm, load_tokenizer, window
from ..models.saved import SavedConfig
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from ..tideos.index import SUFFIX, TideoFile
from ..tideos.jsonl import write_jsonl
from ..tideos.tideo import Tideo
from .config import AlignConfig
from .data import AlignmentSet, StoredSet, batches_per_epoch
from .estimate import RunCost, cost_lines, estimate, measure_speed
from .loop import BEST, TrainResult, Watch, train
from .loop import FILES as TRAINING
from .prepare import dtype_for, prepare
from .runfile import RUN, expect_run
from .trackers import check_trackers
from .verbs import AlignRunConfig
from .warm_start import warm_start

TIDEOS = "tideos.jsonl"
FEATURES = "features"
WRITERS = Registry("writer", {"microworld": "topa.microworld.writer:write_tideos"})
"""Functions (count, seed) -> Tideos."""
MICRO_LLM = "microworld/llm"
HELD_OUT_SEED = 1_000_003
_COMPARED = 64  # Tideos whose features are encoded again where it isn't clear what they were made of
_ROUNDING = 5e-3  # between features of one text: half precision, and other batches


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tideos, in memory or in a file, with the store of their frames' features."""

    tideos: Sequence[Tideo]
    ids: Sequence[str]
    store: FeatureStore

    def part(self, places: range, frames: int) -> StoredSet:
        """Select some of them as samples of training, `frames` frames each."""
        return StoredSet(self.tideos, self.ids, self.store, frames, places)

    def alignment_set(self, frames: int) -> AlignmentSet:
        """Read all of them into memory."""
        return self.part(range(len(self.ids)), frames).in_memory()

    def pairs(self, places: range | None = None, max_frames: int = 50_000) -> tuple[list[str], torch.Tensor]:
        """Return captions of frames with their features, N texts and [N, D]: of all Tideos, or of an even sample with
        about `max_frames` frames."""
        places = range(len(self.ids)) if places is None else places
        frames = self.store.manifest.counts["rows"] * len(places) // max(1, len(self.store))
        sample = places[:: max(1, frames // max_frames)]
        captions = [frame.caption for i in sample for frame in self.tideos[i].frames]
        return captions, torch.cat([self.store.rows(self.ids[i]) for i in sample])


def open_corpus(tideos: Path, config: AlignConfig, features: Path, *, show: bool = True) -> Corpus:
    """Open the Tideos of a file with their features, which are encoded into `features` where that holds no store.

    Raises ArtifactMismatch where it holds features of something else.
    """
    if not (features / MANIFEST).is_file():
        encode_config = EncodeConfig(inputs=(tideos,), out=features, encoder=config.encoder, fusion=config.fusion)
        encode(encode_config, show=show)
    store = FeatureStore.open(features)
    store.expect(identify(resolve(config.encoder)), "text")
    fusion = store.manifest.config.get("fusion", config.fusion)
    if fusion != config.fusion:
        raise ArtifactMismatch(
            f"{features}: features are of fusion '{fusion}'; expected '{config.fusion}'. Encode again into another "
            f"folder, or align with --set fusion={fusion}."
        )
    corpus = Corpus(file := TideoFile.open(tideos, show=show), file.ids, store)
    missing = [name for name in corpus.ids if name not in store]
    if missing:
        raise ArtifactMismatch(
            f"{features}: has no features for {len(missing)} Tideos ({', '.join(missing[:3])}...). "
            "Encode them again into another folder."
        )
    if store.manifest.parents.get("tideos_file") != sha256(tideos):
        _expect_texts(corpus, config, show=show)
    return corpus


def _expect_texts(corpus: Corpus, config: AlignConfig, *, show: bool) -> None:
    """Features that were made of another file may still be those of these texts: of a part of it, or with other
    questions. All numbers of frames are compared, and the features of some, which are encoded again."""
    store = corpus.store
    number = len(corpus.ids)
    wrong = ""
    for i, tideo in enumerate(track(corpus.tideos, "comparing texts", number, show=show)):
        if store.length(corpus.ids[i]) != len(tideo.frames):
            wrong = f"{tideo.id} has another number of frames"
            break
    sample = range(0, number, max(1, number // _COMPARED))
    if not wrong:
        encoder = Encoder.from_pretrained(resolve(config.encoder))
        for i in sample:
            rows = encode_frames(corpus.tideos[i].frames, encoder, config.fusion)
            if (store.rows(corpus.ids[i]) - rows).abs().max() > _ROUNDING:
                wrong = f"those of {corpus.ids[i]} differ"
                break
    if wrong:
        raise ArtifactMismatch(
            f"{store.path}: features were made of other texts ({wrong}); expected those of these Tideos. "
            "Encode them again into another folder."
        )
    console.print(f"{store.path}: was made of another file; the features of {len(sample)} Tideos fit these texts")


def make_memory(corpus: Corpus, rows: int, seed: int, places: range | None = None) -> MemoryBank:
    """Make a memory of the frames of a corpus, or of a part of it, with their captions."""
    ids = corpus.ids if places is None else [corpus.ids[i] for i in places]
    at = {name: i for i, name in enumerate(corpus.ids)}
    return build_from_store(
        corpus.store, rows, seed, ids=ids, captions=lambda name: [f.caption for f in corpus.tideos[at[name]].frames]
    )


def new_model(
    config: AlignConfig,
    encoder: str,
    width: int,
    pairs: Callable[[], tuple[list[str], Tensor]],
    processes: Processes | None = None,
) -> tuple[VideoLanguageModel, SavedConfig]:
    """Make the recipe's LLM with an untrained adapter, and its saved config.

    encoder, width: identity and D of the features it will read. The adapter is drawn from the run's seed; with
    `warm_start` its projector is fitted to `pairs` of captions and features, [N, D].
    """
    processes = processes or Processes()
    device = torch.device("cpu") if config.sharded else processes.device  # a shard at a time goes further
    llm = load_llm(
        config.llm,
        resolve(config.llm),
        bits=config.bits or None,
        dtype=dtype_for(config, processes.device),
        device=device,
    )
    saved_config = SavedConfig(
        llm=config.llm,
        llm_layers=llm.config.num_hidden_layers,
        llm_width=llm.config.hidden_size,
        llm_identity=identity(llm),
        encoder=config.encoder,
        encoder_identity=encoder,
        feature_width=width,
        frames=config.frames,
        tokens_per_frame=config.tokens_per_frame,
        adapter=config.adapter,
        lora_rank=config.lora_rank if config.adapter == "lora" else None,
        prompt_length=config.prompt_length,
        adapted_layers=config.adapted_layers,
        fusion=config.fusion,
        temperature=config.temperature,
        protocol=config.protocol,
    )
    model = _adapted(llm, config, width)
    if config.warm_start:
        fit = warm_start(model, load_prompter(config, llm), *pairs(), config.warm_start)
        console.print(f"warm start: the projector explains {fit:.0%} of the captions' words")
    return prepare(model, config, processes), saved_config


def _adapted(llm: PreTrainedModel, config: AlignConfig, width: int) -> VideoLanguageModel:
    torch.manual_seed(config.seed)
    return VideoLanguageModel(
        llm,
        width,
        frames=config.frames,
        tokens_per_frame=config.tokens_per_frame,
        prompt_length=config.prompt_length,
        bias=config.video_bias,
        adapted_layers=config.adapted_layers,
        prompt_std=config.init_std,
        temporal_std=config.init_std,
        lora_rank=config.lora_rank if config.adapter == "lora" else None,
    )


def load_prompter(config: AlignConfig, llm: PreTrainedModel) -> Prompter:
    """Load the prompter of the recipe's language model; prompts are no longer than it can read."""
    tokenizer = load_tokenizer(config.llm, resolve(config.llm, weights=False))
    limits = [length for length in (window(llm), config.max_tokens) if length is not None]
    return Prompter(tokenizer, config.tokens_per_frame, window=min(limits, default=None))


def card(config: AlignConfig, saved_config: SavedConfig, result: TrainResult, model: VideoLanguageModel) -> str:
    """Write the model card of an aligned adapter."""
    accuracy = "not measured" if result.accuracy is None else f"{result.accuracy:.3f}"
    about = (
        "Aligned on text only, after TOPA (arXiv 2405.13911): no video was seen. "
        f"{config.microworld_tideos or 'Own'} Tideos; steps {result.steps}, {result.seconds:.0f} s, last loss "
        f"{result.loss:.3f}, right on held-out Tideos {accuracy}.\n\n```json\n{config.model_dump_json(indent=1)}\n```"
    )
    return saved.card(saved_config, str(model.parameter_report()), about)


def align(
    config: AlignConfig,
    out: Path,
    *,
    tideos: Path | None = None,
    features: Path | None = None,
    watch: Watch | None = None,
    accept_changes: bool = False,
) -> TrainResult:
    """Run all stages of a recipe into `out`: Tideos, features, memory, alignment, a saved model. Resumes.

    tideos: JSON Lines, or a set of `topa generate`, where the recipe doesn't write micro world Tideos; of them the
    last `validation` ones, a tenth at most, are held out. features: a store that `topa encode` made of them. In several
    processes the first one writes. The model is the adapter after the last step; the best on held-out Tideos is
    `out/best`. Raises UsageError where no Tideos are given, and what the stages raise.
    """
    processes, watch = Processes(), watch or Watch()
    output_folder(out, *run_files(None if features else FEATURES), *([] if tideos else [TIDEOS, f"{TIDEOS}{SUFFIX}"]))
    path, folder = _tideo_file(config, out, tideos), features or out / FEATURES
    # What is wrong with the request is reported before hours of encoding.
    check_trackers(watch.trackers)
    expect_run(out, "align", config, accept_changes=accept_changes)
    load_tokenizer(config.llm, resolve(config.llm, weights=False))
    if processes.first:
        if tideos is None and not path.is_file():
            write_jsonl(_written(config), path)
        open_corpus(path, config, folder, show=watch.show)
    processes.wait()  # for what the first one has written
    corpus = open_corpus(path, config, folder, show=False)
    if tideos is not None and corpus.tideos[0].source.get("writer") != "microworld":
        _note_size(config, len(corpus.ids))
    training, testing = _split(config, len(corpus.ids), own=tideos is not None)
    model, saved_config = new_model(
        config, corpus.store.encoder, corpus.store.width, lambda: corpus.pairs(training), processes
    )
    console.print(str(model.parameter_report()))
    result = train(
        model,
        load_prompter(config, model.llm),
        corpus.part(training, config.frames),
        config,
        out,
        held_out=corpus.part(testing, config.frames).in_memory() if testing else None,
        parents={"features": corpus.store.manifest.hash},
        watch=watch,
        accept_changes=accept_changes,
        processes=processes,
    )
    if processes.first:
        memory = make_memory(corpus, config.memory_rows, config.seed, training)
        save_models(out, saved_config, model, result, memory, card(config, saved_config, result, model))
    return result


def plan(config: AlignConfig, *, tideos: Path | None = None, processes: int = 1) -> RunCost:
    """Estimate what `align` would do: no weights are loaded, nothing is encoded, nothing is written but the
    index of the Tideos. Raises UsageError where no Tideos are given, and what reading them and the LLM's configuration
    raises."""
    corpus: Sequence[Tideo]
    if tideos is None:
        _tideo_file(config, Path(), None)
        corpus = list(_written(config))
    else:
        corpus = TideoFile.open(_tideo_file(config, Path(), tideos))
        _note_size(config, len(corpus))
    training, _ = _split(config, len(corpus), own=tideos is not None)
    llm = empty_llm(config.llm, resolve(config.llm, weights=False))
    model = _adapted(llm, config, feature_width(resolve(config.encoder, weights=False)))
    dtype = dtype_for(config, Processes().device)
    return estimate(
        model,
        load_prompter(config, llm),
        corpus,
        training,
        config,
        frames=config.frames,
        compute=dtype.itemsize,
        bits=config.bits or 8 * dtype.itemsize,
        processes=processes,
    )


def run_files(features: str | None, *, parts: bool = False) -> tuple[str, ...]:
    """What a run and the models that it leaves write into its folder. features: the folder of the store in it, if there
    is one; parts: of several stores."""
    stores = [] if features is None else [f"{features}/{'part-*/' if parts else ''}{name}" for name in STORE]
    models = [*saved.FILES, *MEMORY, *(f"best/{name}" for name in (*saved.FILES, *MEMORY))]
    return (RUN, *TRAINING, *models, *stores)


def save_models(
    out: Path,
    saved_config: SavedConfig,
    model: VideoLanguageModel,
    result: TrainResult,
    memory: MemoryBank | None,
    about: str,
) -> None:
    """Save the current adapter in `out`, and the best on held-out samples in `out/best`, both with the memory."""
    files = [] if memory is None else [*memory.save(out).files, MANIFEST]
    if result.best is not None:
        best = output_folder(out / "best")
        for name in files:
            link_file(out / name, best / name)
        saved.save(best, saved_config, load_file(out / BEST), about)
    saved.save(out, saved_config, model.adapter_state_dict(), about)


def _tideo_file(config: AlignConfig, out: Path, tideos: Path | None) -> Path:
    if tideos is None:
        if not config.microworld_tideos:
            raise UsageError("align: found no Tideos; expected --tideos FILE, or a recipe that writes its own.")
        return out / TIDEOS
    path = tideos / TIDEOS if tideos.is_dir() else tideos
    if not path.is_file():
        raise InputError(f"{path}: can't be read: found nothing there; expected Tideos as JSON Lines. Check the name.")
    return path


def _note_size(config: AlignConfig, number: int) -> None:
    """Print what the recipe was made for, where these Tideos are few for it, or its models are toys."""
    notes = []
    if config.llm == MICRO_LLM:
        notes.append(
            f"{MICRO_LLM} is a toy that knows the words of the micro world alone: on texts about anything else it "
            "learns nothing. Recipes of real models are in docs/tutorials/align.md"
        )
    expected = config.expected_tideos
    if expected is not None and 2 * number < expected:
        steps = [config.epochs * batches_per_epoch(count, config.batch_size) for count in (number, expected)]
        more = typed("generate", "--seeds", "SEEDS", "--base-url", "URL", "--model", "NAME", "--out", "tideos")
        notes.append(
            f"{number:,} Tideos, of {expected:,} that the recipe was made for: {steps[0]:,} steps in place of "
            f"{steps[1]:,}, and a memory of as many fewer captions. Expect worse answers, and believe the accuracy on "
            f"held-out Tideos, where there are enough of them. More Tideos: {more}"
        )
    for note in notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _written(config: AlignConfig) -> Iterator[Tideo]:
    """Yield the Tideos of a recipe that writes its own, those held out at the end."""
    write = WRITERS.load(config.writer)
    yield from write(config.microworld_tideos, config.seed)
    yield from write(config.validation, config.seed + HELD_OUT_SEED)


def _split(config: AlignConfig, number: int, *, own: bool) -> tuple[range, range]:
    """Return the numbers of Tideos for training, and of those held out."""
    held = min(config.validation, number // 10) if own else config.validation
    return range(number - held), range(number - held, number)


def run(config: AlignRunConfig) -> Printout[TrainResult] | None:
    """Align as `topa align` does, in several processes where `processes` says so. None in all of them but the first.

    Raises as `align` does.
    """
    launch_several(config.processes)
    result = align(
        config.read_recipe(),
        config.out,
        tideos=config.tideos,
        features=config.features,
        watch=Watch(trackers=config.track),
        accept_changes=config.accept_changes,
    )
    return Printout(result, _text(config.out, result), result.as_json()) if is_first() else None


def dry_run(config: AlignRunConfig) -> Printout[RunCost]:
    """Say what `run` would take, and how fast the device here is. Raises as `plan` does."""
    cost = plan(config.read_recipe(), tideos=config.tideos, processes=config.processes or 1)
    device, speed = measure_speed(cost)
    data = {**cost.as_json(), "device": device, "operations_per_second": speed}
    return Printout(cost, cost_lines(cost, device, speed), data)


def _text(out: Path, result: TrainResult) -> Iterator[str | Hint]:
    accuracy = "" if result.accuracy is None else f", right on held-out Tideos {result.accuracy:.3f}"
    yield f"aligned: {out} ({result.steps} steps, {result.seconds:.0f} s, loss {result.loss:.3f}{accuracy})"
    yield Hint(f"look:    {typed('runs', out, '--out', out / 'report')}")
    yield Hint(f"next:    {typed('ask', 'VIDEO', 'QUESTION', '--model', out)}")
