"""The processes of a run: which one this is, and what they tell each other. By accelerate, started by its launcher,
by torchrun, or alone.

Used by training, where each takes its share of a step, and by evaluation, where each takes its share of the questions.
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

_PATIENCE = timedelta(days=2)  # others wait while the first process encodes a large set


class Processes:
    """rank: of this process; of: how many there are; device: where this one computes."""

    def __init__(self) -> None:
        chosen = chosen_device()
        if started_by_launcher() and chosen is not None and ":" in chosen:
            raise UsageError(
                f"--device {chosen}: found one GPU for {os.environ['WORLD_SIZE']} processes; each takes its own. Leave "
                "it out, and choose GPUs with CUDA_VISIBLE_DEVICES, or leave out --processes."
            )
        several = {"timeout": _PATIENCE, "cpu": chosen == "cpu" or not torch.cuda.is_available()}
        self._state = PartialState(**(several if started_by_launcher() else {}))
        self.rank, self.of = int(self._state.process_index), int(self._state.num_processes)
        alone = chosen is not None and not started_by_launcher()
        self.device: torch.device = default_device() if alone else self._state.device
        console.quiet = console.quiet or not self.first

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        self._state.wait_for_everyone()

    def add_up(self, values: Tensor) -> None:
        """The sum over all processes, in place and equal in all of them. float32 [N], on `device`."""
        if self.of > 1:
            torch.distributed.all_reduce(values)


def started_by_launcher() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that prints results."""
    return int(os.environ.get("RANK", "0")) == 0


def launch(number: int, arguments: list[str]) -> NoReturn:
    """Become torchrun, which runs `topa` with these arguments in so many processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    os.execv(sys.executable, [*command, "-m", "topa.cli", *arguments])  # noqa: S606 - no shell is involved
