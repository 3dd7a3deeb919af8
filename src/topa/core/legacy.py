"""Find topa's files in folders without a record: made before there were records, or copied without hidden files.

The folders' own manifests, settings and catalogues say what topa wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

_CARD = ("card.json", "card.md", "card.html")
_SET = ("tideos.jsonl", "quality.json", *_CARD)
_REPORT = ("report.json", "report.html")
_VIDEOS = ("questions.jsonl", "stories.jsonl", "videos/micro-*.mp4")
_STORE = ("run.json", "failed.json", "manifest.json", "index.safetensors", "features-*.safetensors", "captions.sqlite*")
_MODEL = ("config.json", "adapter.safetensors", "memory.safetensors", "captions.safetensors", "shift.safetensors")
_RUN = (
    "run.json",
    "metrics.jsonl",
    "result.json",
    "best.safetensors",
    "tracking.json",
    "left-out.json",
    "tideos.jsonl",
)
_MARKS: tuple[tuple[str, frozenset[str], tuple[str, ...]], ...] = (
    ("demo.json", frozenset({"config", "scale"}), ("demo.json", "tideos.jsonl", *_REPORT, *_VIDEOS)),
    ("run.json", frozenset({"format", "config", "paths"}), _STORE),
    (
        "run.json",
        frozenset({"kind", "settings", "steps"}),
        (*_RUN, "checkpoints/.unfinished/*", "projected/*.safetensors"),
    ),
    (
        "run.json",
        frozenset({"benchmark", "split", "protocol", "records"}),
        ("run.json", "predictions.jsonl*", "baselines/*.jsonl*", "submission.json", "captions.json", *_REPORT),
    ),
    ("config.json", frozenset({"llm", "llm_identity", "encoder_identity"}), _MODEL),
    ("catalogue.json", frozenset({"settings", "contents", "files"}), ("catalogue.json", "manifest.json")),
    ("reproduced.json", frozenset({"recipe", "rows"}), ("reproduced.json", "reproduced.md")),
    ("stories.jsonl", frozenset({"id", "video", "scenes", "changes", "events", "description"}), _VIDEOS),
)
"""(file, keys of the JSON object in it or in its first line, patterns of the files that topa wrote beside it)."""
_MANIFEST = frozenset({"format", "kind", "counts", "config", "parents", "files", "versions"})
_DEPTH = 2  # folders between a marker file and the files that its patterns name


def inherited_names(folder: Path) -> dict[str, str | None]:
    """Return the files of a folder that topa wrote, with their SHA-256 if a manifest has it.

    Model cards (README.md) are left out: users are meant to edit them.
    """
    names: dict[str, str | None] = {}
    if not folder.is_dir():
        return names
    try:
        inside = [path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    except OSError:
        return names
    place, prefix = folder, ""
    for _ in range(_DEPTH + 1):
        for mark, keys, patterns in _MARKS:
            if keys <= _first_object(place / mark).keys():
                allowed_patterns = [p for p in patterns if p.count("/") == prefix.count("/")]
                names |= {name: None for name in inside if any(fnmatchcase(prefix + name, p) for p in allowed_patterns)}
        prefix, place = f"{place.name}/{prefix}", place.parent
    if _head_contains(folder / "ledger.sqlite", b"CREATE TABLE calls", 1 << 16):
        names |= {name: None for name in inside if name in _SET or name.startswith("ledger.sqlite")}
    manifest = _first_object(folder / "manifest.json")
    if manifest.keys() >= _MANIFEST and isinstance(manifest["files"], dict):
        names |= {"manifest.json": None} | {name: str(digest) for name, digest in manifest["files"].items()}
        if manifest["kind"] == "tideos":
            names |= {name: None for name in inside if name in _CARD}
    indexes = [name for name in inside if name.endswith(".jsonl.index")]
    names |= {name: None for name in indexes if _head_contains(folder / name, b'"line_ends"', 1 << 12)}
    return {name: digest for name, digest in names.items() if name in inside}


def _first_object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file or in its first line; an empty one if there is none."""
    if not path.is_file():
        return {}
    try:
        text = path.read_bytes() if path.suffix == ".json" else path.open("rb").readline()
        body = json.loads(text)
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _head_contains(path: Path, mark: bytes, size: int) -> bool:
    """Whether the first `size` bytes of a file contain a mark; False if the file can't be read."""
    try:
        with path.open("rb") as file:
            return mark in file.read(size)
    except OSError:
        return False
