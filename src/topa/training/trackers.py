"""Trackers that people watch runs with: TensorBoard, Weights & Biases, trackio. All of them write to this machine only.

Opened by the training loop's main process, beside `metrics.jsonl`, which is written always.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ..core.artifacts import write_atomically
from ..core.errors import UsageError
from ..core.install import install_line
from ..core.progress import console
from ..core.registry import unknown

PROJECT = "topa"
"""The project that all runs are in, for trackers that know projects."""
IDENTITY = "tracking.json"
"""The file of a run folder that holds the name by which trackers know the run again when it goes on."""


class _Tracker(Protocol):
    def log(self, row: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class Trackers:
    """Several trackers as one. A tracker that fails is left out from then on, with a warning: training goes on."""

    def __init__(self, opened: Mapping[str, _Tracker]) -> None:
        self._opened = dict(opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Log the numbers of a row of `metrics.jsonl` at a step; see `flatten`."""
        numbers = flatten(row)
        for name, tracker in list(self._opened.items()):
            try:
                tracker.log(numbers, step)
            except Exception as error:  # whatever a library for looking on raises, it isn't worth the run
                self._drop(name, error)

    def close(self) -> None:
        """Finish writing. Closing twice does nothing."""
        while self._opened:
            name, tracker = self._opened.popitem()
            try:
                tracker.close()
            except Exception as error:
                self._drop(name, error)

    def _drop(self, name: str, error: Exception) -> None:
        self._opened.pop(name, None)
        console.print(f"warning: {name} failed and is left out ({error}); metrics.jsonl goes on", markup=False)


def open_trackers(
    names: Sequence[str], folder: Path, run: str, settings: Mapping[str, Any], *, step: int = 0
) -> Trackers:
    """Open trackers by name for the run of a folder, shown as `run`.

    step: the one that the run goes on from; what TensorBoard holds of later ones is forgotten. TensorBoard's files are
    in `folder/tensorboard`. W&B's are in `folder/wandb`, and stay there unless WANDB_MODE says otherwise. trackio keeps
    all runs together on this machine, in TRACKIO_DIR or its own cache.
    Raises UsageError for an unknown name, where a library isn't installed, or where trackio is set up to upload.
    """
    check_trackers(names)
    opened: dict[str, _Tracker] = {}
    try:
        for name in dict.fromkeys(names):
            try:
                opened[name] = _OPENERS[name](folder, run, settings, step)
            except ImportError as error:
                raise UsageError(f"{name} isn't installed: {install_line('track')}") from error
    except BaseException:
        Trackers(opened).close()
        raise
    return Trackers(opened)


def check_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown name, or where a library isn't installed, before any work is done."""
    for name in names:
        if name not in _OPENERS:
            raise unknown("tracker", name, _OPENERS)
        if find_spec(name) is None:
            raise UsageError(f"{name} isn't installed: {install_line('track')}")


def flatten(row: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the numbers of a row: {"held_out": {"loss": 1}, "gates": [.1], "first_layer": 3} gives
    "held_out/loss" and "gates/layer_03". What is no number, and the step itself, is left out."""
    first = row.get("first_layer", 0)
    numbers = {key: value for key, value in row.items() if key not in ("step", "first_layer")}
    return dict(_flat(numbers, "", first))


def _flat(value: Any, name: str, first: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}/{key}" if name else str(key), first)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value, first):
            yield from _flat(inner, f"{name}/layer_{number:02}", first)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


class _TensorBoard:
    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        settings_lines = "\n".join(f"    {key} = {json.dumps(value, default=str)}" for key, value in settings.items())
        self._writer.add_text("settings", f"{run}\n\n{settings_lines}", step)

    def log(self, row: Mapping[str, float], step: int) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any], step: int) -> None:
        # Read when wandb is imported: without it, failures would be reported over the network, offline or not.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        # No console output, source code, command line, host, user or load: of a run only what is logged is kept.
        private = wandb.Settings(
            silent=True,
            host="",
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
        )
        mode: Any = os.environ.get("WANDB_MODE", "offline")  # wandb checks it itself
        self._run = wandb.init(
            project=PROJECT,
            name=run,
            id=_identity(folder),
            resume="allow",
            dir=str(folder),
            mode=mode,
            config=dict(settings),
            settings=private,
        )

    def log(self, row: Mapping[str, float], step: int) -> None:
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any], step: int) -> None:
        for variable in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
            if os.environ.get(variable):
                raise UsageError(
                    f"{variable} is set: trackio would upload the run. Here it logs to this machine only: unset "
                    f"{variable}, and upload afterwards with trackio sync."
                )
        import trackio

        self._finish = trackio.finish
        with _hushed():
            self._run = trackio.init(
                project=PROJECT,
                # Runs go on by their name, so two folders of one name must differ.
                name=f"{run}-{_identity(folder)}",
                resume="allow",
                config=json.loads(json.dumps(dict(settings), default=str)),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    def log(self, row: Mapping[str, float], step: int) -> None:
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        with _hushed():
            self._finish()


_OPENERS: dict[str, Callable[[Path, str, Mapping[str, Any], int], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WandB,
    "trackio": _Trackio,
}
TRACKERS = tuple(_OPENERS)
"""The names of the trackers."""


def _hushed() -> contextlib.AbstractContextManager[object]:
    """Silence trackio, which prints its steps on stdout, where results go."""
    return contextlib.redirect_stdout(io.StringIO())


def _identity(folder: Path) -> str:
    """Return the id of the run of a folder: drawn once, then stored in it."""
    path = folder / IDENTITY
    try:
        return str(json.loads(path.read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        suffix = secrets.token_hex(4)
        write_atomically(path, json.dumps({"id": suffix}) + "\n")
        return suffix
