"""Models to answer with: the default one, saved ones, and those that TOPA's authors released.

Used by the command line and by `topa.load`.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.artifacts import output_folder, own_version
from ..core.calibration import seconds_per_pass
from ..core.command import typed
from ..core.embedded import PAPER_ENCODER, fingerprint, resolve
from ..core.errors import ArtifactMismatch, OutputError, UsageError
from ..core.formatting import rough_duration
from ..core.locks import exclusive
from ..core.printable import Hint, Note, Printout
from ..core.progress import console
from ..features.encoder import identify
from ..inference.engine import Topa
from ..memory.bank import FILES as MEMORY
from ..memory.bank import MemoryBank
from ..microworld import effort
from ..models import saved
from ..models.released import import_adapter
from ..models.saved import SavedConfig
from .align import align
from .config import DEFAULT_RECIPE, read_recipe
from .loop import Watch
from .verbs import ImportCheckpointConfig


def import_checkpoint(config: ImportCheckpointConfig) -> Printout[SavedConfig]:
    """Write a released adapter as a saved model; see `models.released.import_adapter`.

    Its memory, in the space of its encoder, is copied into the model. Without one, or for an adapter that was
    fine-tuned on videos, pictures are read as they are.
    Raises what the importer raises, and ArtifactMismatch for a memory of another encoder.
    """
    out, memory, encoder = config.out, config.memory, config.encoder or PAPER_ENCODER
    output_folder(out, *saved.FILES, *([] if memory is None else MEMORY))
    identity = identify(resolve(encoder))
    bank = None if memory is None else MemoryBank.load(memory)
    if bank is not None and bank.encoder != identity:
        raise ArtifactMismatch(
            f"{memory}: is of {bank.encoder}, the adapter of {identity}. Build the memory with --encoder {encoder}, or "
            "name the memory's encoder here."
        )
    console.print(f"reading {config.backbone} once, to know it again; it stays where it is")
    saved_config, state = import_adapter(
        config.backbone,
        config.adapter,
        encoder=encoder,
        encoder_identity=identity,
        family=config.family,
        prompt_length=config.prompt_length,
        rope_theta=config.rope_theta,
    )
    if bank is not None:
        bank.save(out)
        saved_config = saved_config.model_copy(update={"bridge": "projected"})
    source = f"Released by TOPA's authors ({config.adapter.name}), converted"
    about = f"{source}; behaves like their code, see docs/fidelity.md."
    trainable = f"Trainable: {sum(t.numel() for t in state.values()):,}"
    saved.save(out, saved_config, state, saved.card(saved_config, trainable, about))
    shape = f"{saved_config.llm_layers} layers of width {saved_config.llm_width}, {saved_config.frames} frames"
    raw = "note: without a memory, pictures are read as they are; zero-shot adapters need --memory DIR"
    text = [
        f"imported: {out} ({shape})",
        *([Note(raw)] if saved_config.bridge == "raw" else []),
        Hint(f"next:     {typed('ask', 'VIDEO', 'QUESTION', '--model', out)}"),
    ]
    return Printout(saved_config, text)


def cache_folder() -> Path:
    """Return the folder of what topa makes on first use: $TOPA_CACHE, or topa in the user's cache folder."""
    if folder := os.environ.get("TOPA_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "topa"


def default_model(*, show: bool = True) -> Path:
    """Return the folder of the micro model, aligned on first use and cached."""
    folder = cache_folder() / f"microworld-{own_version()}-{fingerprint()}"
    if (folder / saved.CONFIG).is_file():
        return folder
    try:
        with exclusive(
            output_folder(cache_folder()), wait=True
        ):  # two first uses at once: the second takes the first's
            if not (folder / saved.CONFIG).is_file():
                config = read_recipe(DEFAULT_RECIPE)
                seconds = effort.alignment(config.microworld_tideos, config.epochs) * seconds_per_pass()
                console.print(f"first use: aligning the micro model, {rough_duration(seconds)}; kept in {folder}")
                align(config, folder, watch=Watch(show))
    except OutputError as error:
        raise OutputError(f"{error} The cache folder can be set with TOPA_CACHE.") from error
    return folder


def encoder_of(model: str | Path | None) -> str:
    """Return the identity of the encoder of a saved model, or of the micro model; no weights are read.

    Raises ArtifactError where this isn't a saved model.
    """
    if model is None:
        return identify(resolve(read_recipe(DEFAULT_RECIPE).encoder))
    return saved.read_config(saved.fetch(model)).encoder_identity


def load(
    name: str | Path | None = None, *, revision: str | None = None, device: str | None = None, show: bool = True
) -> Topa:
    """Load the engine of a saved model, or of the micro model, which knows only the micro world.

    name: a folder, or a model on the hub: `org/name` or `org/name@revision`. revision: the same, beside the name.
    device: a GPU where there is one. Raises what `Topa.from_pretrained` raises.
    """
    if name is None:
        if revision is not None:
            raise UsageError(f"load: found revision={revision!r} without a name; expected both, or neither.")
        name = default_model(show=show)
    return Topa.from_pretrained(name, revision=revision, device=device, resolve=resolve)
