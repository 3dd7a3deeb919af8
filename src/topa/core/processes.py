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

from .progress import console

_PATIENCE = timedelta(days=2)  # others wait while the first process encodes a large set


class Processes:
    """rank: of this process; of: how many there are; device: where this one computes."""

    def __init__(self) -> None:
        several = {"timeout": _PATIENCE, "cpu": not torch.cuda.is_available()}
        self._state = PartialState(**(several if started_by_launcher() else {}))
        self.rank, self.of = int(self._state.process_index), int(self._state.num_processes)
        self.device: torch.device = self._state.device
        console.quiet = not self.first

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
