"""Models to answer with: the default one, saved ones, and those that TOPA's authors released.

Used by the command line and by `topa.load`.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.artifacts import output_folder, own_version
from ..core.calibration import seconds_per_pass
from ..core.embedded import PAPER_ENCODER, fingerprint, resolve
from ..core.errors import ArtifactMismatch, OutputError, UsageError
from ..core.formatting import rough_duration
from ..core.locks import exclusive
from ..core.progress import console
from ..features.encoder import identify
from ..inference.engine import Topa
from ..memory.bank import FILES as MEMORY
from ..memory.bank import MemoryBank
from ..microworld import effort
from ..models import saved
from ..models.released import Family, import_adapter
from ..models.saved import SavedConfig
from .align import align
from .config import read_recipe
from .loop import Watch

DEFAULT_RECIPE = "microworld"


def import_checkpoint(
    backbone: str,
    adapter: Path,
    out: Path,
    *,
    encoder: str = PAPER_ENCODER,
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
    output_folder(out, *saved.FILES, *([] if memory is None else MEMORY))
    identity = identify(resolve(encoder))
    bank = None if memory is None else MemoryBank.load(memory)
    if bank is not None and bank.encoder != identity:
        raise ArtifactMismatch(
            f"{memory}: is of {bank.encoder}, the adapter of {identity}. Build the memory with --encoder {encoder}, or "
            "name the memory's encoder here."
        )
    console.print(f"reading {backbone} once, to know it again; it stays where it is")
    config, state = import_adapter(
        backbone,
        adapter,
        encoder=encoder,
        encoder_identity=identity,
        family=family,
        prompt_length=prompt_length,
        rope_theta=rope_theta,
    )
    if bank is not None:
        bank.save(out)
        config = config.model_copy(update={"bridge": "projected"})
    about = f"Released by TOPA's authors ({adapter.name}), converted; behaves like their code, see docs/fidelity.md."
    saved.save(out, config, state, saved.card(config, f"Trainable: {sum(t.numel() for t in state.values()):,}", about))
    return config


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
