"""The default device for models: CPU or one of the GPUs.

The choice holds for the whole process, as with `torch.set_default_device`; an explicit `device=` argument wins.
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
_device = AUTO


def choose_device(name: str) -> None:
    """Set the default device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.

    Raises UsageError for an unknown name or a device that this machine doesn't have.
    """
    global _device
    name = name.strip().lower()
    if not _NAME.fullmatch(name) or (name not in (AUTO, "cpu") and name not in devices()):
        raise UsageError(
            f"--device {name!r}: {'is no device' if not _NAME.fullmatch(name) else 'is not there'}; expected one of "
            f"this machine's: {', '.join(devices())}. Leave it out to have a GPU where there is one."
        )
    _device = name


def chosen_device() -> str | None:
    """Return the device that the user chose, or None for auto."""
    return None if _device == AUTO else _device


def default_device() -> torch.device:
    """Return the chosen device, or by default the first CUDA GPU if there is one, else the CPU."""
    import torch

    return torch.device(chosen_device() or ("cuda" if torch.cuda.is_available() else "cpu"))


def devices() -> tuple[str, ...]:
    """Return the names that `choose_device` accepts on this machine."""
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
    """Restore the default device when the block ends."""
    global _device
    before = _device
    try:
        yield
    finally:
        _device = before
