"""From a recipe to a model that answers: the stages of pre-alignment in their order.

Used by `topa align`, by the demo, and wherever the default model is needed for the first time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from .core.artifacts import output_folder, own_version
from .core.errors import ArtifactMismatch, OutputError, UsageError
from .core.progress import console
from .core.registry import Registry
from .features.encode import encode_tideos
from .features.encoder import Encoder, identify
from .features.frames import FrameFeatures
from .features.store import FeatureStore
from .inference.engine import Topa
from .memory.bank import MemoryBank, build
from .microworld.paths import fingerprint, resolve
from .models import saved
from .models.base import identity, load_llm, load_tokenizer, window
from .models.released import RELEASED_ENCODER, Family, import_adapter
from .models.saved import SavedConfig
from .models.topa_model import VideoLanguageModel
from .prompts.prompt import Prompter
from .tideos.jsonl import read_jsonl, write_jsonl
from .tideos.tideo import Tideo
from .training.align import AlignResult
from .training.align import align as train
from .training.config import AlignConfig, read_recipe
from .training.data import AlignmentSet, Labels
from .training.warm_start import warm_start

DEFAULT_RECIPE = "microworld"
WRITERS = Registry("writer", {"microworld": "topa.microworld.writer:write_tideos"})
"""Functions (count, seed) -> Tideos."""
HELD_OUT_SEED = 1_000_003


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tideos with the features of their frames, in the same order."""

    tideos: tuple[Tideo, ...]
    features: tuple[FrameFeatures, ...]

    def pairs(self) -> tuple[list[str], torch.Tensor]:
        """Every frame's caption with its feature: N texts, [N, D]."""
        captions = [frame.caption for tideo in self.tideos for frame in tideo.frames]
        return captions, torch.cat([f.values[f.valid] for f in self.features])

    def alignment_set(self, frames: int) -> AlignmentSet:
        """What training reads."""
        return AlignmentSet.make(self.features, [Labels(t.description, t.questions) for t in self.tideos], frames)


def save_tideos(tideos: Iterable[Tideo], path: Path) -> None:
    """Write JSON Lines."""
    write_jsonl(tideos, path)


def read_tideos(path: Path) -> tuple[Tideo, ...]:
    """Read JSON Lines. Raises InputError that names the line."""
    return tuple(read_jsonl(path))


def encode(tideos: Sequence[Tideo], encoder: Encoder, config: AlignConfig, out: Path, *, show: bool = True) -> Corpus:
    """Features of all Tideos, from `out` where they were encoded before, by the same encoder from the same texts.

    Raises ArtifactMismatch where `out` holds features of something else.
    """
    texts = hashlib.sha256("".join(t.model_dump_json(include={"id", "frames"}) for t in tideos).encode()).hexdigest()
    if not (out / "manifest.json").is_file():
        encode_tideos(tideos, encoder, out, fusion=config.fusion, parents={"tideos": texts}, show=show)
    store = FeatureStore.open(out)
    store.expect(encoder.identity, "text")
    fusion = store.manifest.config.get("fusion", config.fusion)
    if fusion != config.fusion:
        raise ArtifactMismatch(
            f"{out}: features are of fusion '{fusion}'; expected '{config.fusion}'. Encode again into another folder, "
            f"or align with --set fusion={fusion}."
        )
    missing = [t.id for t in tideos if t.id not in store]
    if missing:
        raise ArtifactMismatch(
            f"{out}: has no features for {len(missing)} Tideos ({', '.join(missing[:3])}...). "
            "Encode them again into another folder."
        )
    other = [t.id for t in tideos if len(store[t.id]) != len(t.frames)]
    if other or store.manifest.parents.get("tideos", texts) != texts:
        example = f" ({other[0]} has another number of frames)" if other else ""
        raise ArtifactMismatch(
            f"{out}: features were made of other texts{example}; expected those of these Tideos. "
            "Encode them again into another folder."
        )
    return Corpus(tuple(tideos), tuple(store[t.id] for t in tideos))


def make_memory(corpus: Corpus, rows: int, seed: int) -> MemoryBank:
    """A memory of the corpus' frames, with their captions."""
    return build(corpus.features, [[f.caption for f in t.frames] for t in corpus.tideos], rows, seed)


def new_model(
    encoder: Encoder, config: AlignConfig, pairs: tuple[list[str], torch.Tensor]
) -> tuple[VideoLanguageModel, SavedConfig]:
    """The recipe's LLM with an adapter to be trained, and what will be written down about it.

    The adapter is drawn from the run's seed; with `warm_start` its projector is fitted to `pairs` of captions and
    features, [N, D].
    """
    llm = load_llm(config.llm, resolve(config.llm), bits=config.bits or None)
    described = SavedConfig(
        llm=config.llm,
        llm_layers=llm.config.num_hidden_layers,
        llm_width=llm.config.hidden_size,
        llm_identity=identity(llm),
        encoder=config.encoder,
        encoder_identity=encoder.identity,
        feature_width=encoder.width,
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
    torch.manual_seed(config.seed)
    model = VideoLanguageModel(
        llm,
        encoder.width,
        frames=config.frames,
        tokens_per_frame=config.tokens_per_frame,
        prompt_length=config.prompt_length,
        bias=config.video_bias,
        adapted_layers=config.adapted_layers,
        prompt_std=config.init_std,
        temporal_std=config.init_std,
        lora_rank=described.lora_rank,
    )
    if config.warm_start:
        fit = warm_start(model, load_prompter(config, llm), *pairs, config.warm_start)
        console.print(f"warm start: the projector explains {fit:.0%} of the captions' words")
    return model, described


def load_prompter(config: AlignConfig, llm: PreTrainedModel) -> Prompter:
    """The prompts of the recipe's language model, no longer than it can read."""
    tokenizer = load_tokenizer(config.llm, resolve(config.llm))
    return Prompter(tokenizer, config.tokens_per_frame, window=window(llm))


def card(config: AlignConfig, described: SavedConfig, result: AlignResult, model: VideoLanguageModel) -> str:
    """The model card of an aligned adapter."""
    accuracy = "not measured" if result.accuracy is None else f"{result.accuracy:.3f}"
    about = (
        "Aligned on text only, after TOPA (arXiv 2405.13911): no video was seen. "
        f"{config.microworld_tideos or 'Own'} Tideos; steps {result.steps}, {result.seconds:.0f} s, last loss "
        f"{result.loss:.3f}, right on held-out Tideos {accuracy}.\n\n```json\n{config.model_dump_json(indent=1)}\n```"
    )
    return saved.card(described, str(model.parameter_report()), about)


def import_checkpoint(
    backbone: str,
    adapter: Path,
    out: Path,
    *,
    encoder: str = RELEASED_ENCODER,
    memory: Path | None = None,
    family: Family | None = None,
    prompt_length: int | None = None,
    rope_theta: float = 10000.0,
) -> SavedConfig:
    """A released adapter as a saved model in `out`; see `models.released.import_adapter`.

    encoder: the one its features were made with. memory: a memory in that encoder's space, copied into the model;
    without one, or for an adapter that was fine-tuned on videos, pictures are read as they are.
    Raises what the importer raises, and ArtifactMismatch for a memory of another encoder.
    """
    console.print(f"reading {backbone} once, to know it again; it stays where it is")
    config, state = import_adapter(
        backbone,
        adapter,
        encoder=encoder,
        encoder_identity=identify(resolve(encoder)),
        family=family,
        prompt_length=prompt_length,
        rope_theta=rope_theta,
    )
    output_folder(out)
    if memory is not None:
        bank = MemoryBank.load(memory)
        if bank.encoder != config.encoder_identity:
            raise ArtifactMismatch(
                f"{memory}: is of {bank.encoder}, the adapter of {config.encoder_identity}. Build the memory with "
                f"--encoder {encoder}, or name the memory's encoder here."
            )
        bank.save(out)
        config = config.model_copy(update={"bridge": "projected"})
    about = f"Released by TOPA's authors ({adapter.name}), converted; behaves like their code, see docs/fidelity.md."
    saved.save(out, config, state, saved.card(config, f"Trainable: {sum(t.numel() for t in state.values()):,}", about))
    return config


def align(
    config: AlignConfig, out: Path, *, tideos: Path | None = None, features: Path | None = None, show: bool = True
) -> AlignResult:
    """All stages of a recipe into `out`: Tideos, features, memory, alignment, a saved model. Running it again resumes.

    tideos: JSON Lines, where the recipe doesn't write micro world Tideos. features: a store that `encode` made of them.
    Raises UsageError where neither is given, and what the stages raise.
    """
    output_folder(out)
    if tideos is None and not config.microworld_tideos:
        raise UsageError("align: found no Tideos; expected --tideos FILE, or a recipe that writes its own.")
    if tideos is not None:
        everything = list(read_tideos(tideos))
        held = min(config.validation, len(everything) // 10)
        written, held_out = everything[: len(everything) - held], everything[len(everything) - held :]
    else:
        write = WRITERS.load(config.writer)
        written = list(write(config.microworld_tideos, config.seed))
        held_out = list(write(config.validation, config.seed + HELD_OUT_SEED))
        save_tideos(written, out / "tideos.jsonl")
    encoder = Encoder.from_pretrained(resolve(config.encoder))
    corpus = encode([*written, *held_out], encoder, config, features or out / "features", show=show)
    training = Corpus(corpus.tideos[: len(written)], corpus.features[: len(written)])
    testing = Corpus(corpus.tideos[len(written) :], corpus.features[len(written) :])
    memory = make_memory(training, config.memory_rows, config.seed)
    model, described = new_model(encoder, config, training.pairs())
    console.print(str(model.parameter_report()))
    result = train(
        model,
        load_prompter(config, model.llm),
        training.alignment_set(config.frames),
        config,
        out,
        held_out=testing.alignment_set(config.frames) if testing.tideos else None,
        show=show,
    )
    memory.save(out)
    saved.save(out, described, model.adapter_state_dict(), card(config, described, result, model))
    return result


def cache_folder() -> Path:
    """Where topa keeps what it makes on first use: $TOPA_CACHE, or topa in the user's cache folder."""
    if given := os.environ.get("TOPA_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "topa"


def default_model(*, show: bool = True) -> Path:
    """The folder of the micro model, aligned on first use (about a minute) and cached."""
    folder = cache_folder() / f"microworld-{own_version()}-{fingerprint()}"
    if not (folder / saved.CONFIG).is_file():
        console.print(f"first use: aligning the micro model, about a minute; kept in {folder}")
        try:
            align(read_recipe(DEFAULT_RECIPE), folder, show=show)
        except OutputError as error:
            raise OutputError(f"{error} The cache folder can be set with TOPA_CACHE.") from error
    return folder


def load(folder: str | Path | None = None, *, show: bool = True) -> Topa:
    """An engine: of a saved model, or of the micro model, which knows only the micro world.

    Raises what `Topa.from_pretrained` raises.
    """
    return Topa.from_pretrained(folder or default_model(show=show), resolve=resolve)
