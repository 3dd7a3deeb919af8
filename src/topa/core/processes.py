"""The processes of a distributed run, by accelerate: started by its launcher, by torchrun, or a single one.

Training divides each step among them, evaluation the questions.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import NoReturn

import torch
from accelerate import PartialState
from torch import Tensor

from .devices import chosen_device, default_device
from .errors import UsageError
from .progress import console

_TIMEOUT = timedelta(days=2)  # the others wait while the first process encodes a large set


class Processes:
    """The process group. rank: of this process. of: number of processes. device: where this process computes."""

    def __init__(self) -> None:
        device = chosen_device()
        if started_by_launcher() and device is not None and ":" in device:
            raise UsageError(
                f"--device {device}: found one GPU for {os.environ['WORLD_SIZE']} processes; each takes its own. Leave "
                "it out, and choose GPUs with CUDA_VISIBLE_DEVICES, or leave out --processes."
            )
        options = {"timeout": _TIMEOUT, "cpu": device == "cpu" or not torch.cuda.is_available()}
        self._state = PartialState(**(options if started_by_launcher() else {}))
        self.rank, self.of = int(self._state.process_index), int(self._state.num_processes)
        alone = device is not None and not started_by_launcher()
        self.device: torch.device = default_device() if alone else self._state.device
        console.quiet = console.quiet or not self.first

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Block until all processes have reached this point."""
        self._state.wait_for_everyone()

    def add_up(self, values: Tensor) -> None:
        """Sum values over all processes, in place. values: float32 [N] on `device`."""
        if self.of > 1:
            torch.distributed.all_reduce(values)


def started_by_launcher() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that prints results."""
    return int(os.environ.get("RANK", "0")) == 0


def launch(number: int, arguments: list[str]) -> NoReturn:
    """Replace this process by torchrun, which runs `topa` with these arguments in `number` processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    os.execv(sys.executable, [*command, "-m", "topa.cli", *arguments])  # noqa: S606 - no shell is involved
