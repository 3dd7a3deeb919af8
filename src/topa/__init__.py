"""topa: gives a frozen language model eyes without showing it a single video.

`topa.load(folder)` gives an engine with `.ask` and `.caption`; `topa.Library.open(folder)` a library of indexed videos;
everything else is a stage of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.answer import Answer
    from .inference.engine import Topa
    from .library.library import Library
    from .training.pretrained import load

__all__ = ["Answer", "Library", "Topa", "__version__", "load"]

__version__ = "0.1.0"

_HOMES = {
    "Answer": "inference.answer",
    "Library": "library.library",
    "Topa": "inference.engine",
    "load": "training.pretrained",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: `import topa` and `topa --help` stay instant, without torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'topa' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
