"""Where models compute: on the processor, or on one of the GPUs.

What is chosen here holds for the whole process, as with `torch.set_default_device`; whoever names a device in a call
gets that one. torch is imported only where a GPU is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import torch

AUTO = "auto"
_NAME = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_chosen = AUTO


def choose_device(name: str) -> None:
    """Set where models compute from now on: auto (a GPU where there is one), cpu, cuda, cuda:N, or mps.

    Raises UsageError for a name that means nothing, or a device that isn't there.
    """
    global _chosen
    name = name.strip().lower()
    if not _NAME.fullmatch(name) or (name not in (AUTO, "cpu") and name not in devices()):
        raise UsageError(
            f"--device {name!r}: {'is no device' if not _NAME.fullmatch(name) else 'is not there'}; expected one of "
            f"this machine's: {', '.join(devices())}. Leave it out to have a GPU where there is one."
        )
    _chosen = name


def chosen_device() -> str | None:
    """The device that was asked for; None where topa may choose."""
    return None if _chosen == AUTO else _chosen


def default_device() -> torch.device:
    """The device that was chosen, or else the first GPU of CUDA where there is one, or the processor."""
    import torch

    return torch.device(chosen_device() or ("cuda" if torch.cuda.is_available() else "cpu"))


def devices() -> tuple[str, ...]:
    """What `choose_device` takes on this machine."""
    import torch

    gpus = ("cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count())))
    return (
        AUTO,
        "cpu",
        *(gpus if torch.cuda.is_available() else ()),
        *(("mps",) if torch.backends.mps.is_available() else ()),
    )


@contextmanager
def restored_device() -> Iterator[None]:
    """A stretch of time after which the choice is what it was before."""
    global _chosen
    before = _chosen
    try:
        yield
    finally:
        _chosen = before
