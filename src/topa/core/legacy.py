"""Folders that hold no record of topa's files: made before there were records, or copied without hidden files.

What is topa's in them is what their own manifests, settings and catalogues say.
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
"""A file, the keys of the JSON object in it (or in its first line), and what topa has put beside it then."""
_MANIFEST = frozenset({"format", "kind", "counts", "config", "parents", "files", "versions"})
_DEPTH = 2  # folders from a mark to a file that it speaks of


def inherited_names(folder: Path) -> dict[str, str | None]:
    """The files of a folder that topa has written, with their SHA-256 where a manifest has it.

    A model card isn't among them: it is there to be written on.
    """
    found: dict[str, str | None] = {}
    if not folder.is_dir():
        return found
    try:
        inside = [path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    except OSError:
        return found
    place, prefix = folder, ""
    for _ in range(_DEPTH + 1):
        for mark, keys, patterns in _MARKS:
            if keys <= _first_object(place / mark).keys():
                wanted = [p for p in patterns if p.count("/") == prefix.count("/")]
                found |= {name: None for name in inside if any(fnmatchcase(prefix + name, p) for p in wanted)}
        prefix, place = f"{place.name}/{prefix}", place.parent
    if _is_ledger(folder / "ledger.sqlite"):
        found |= {name: None for name in inside if name in _SET or name.startswith("ledger.sqlite")}
    manifest = _first_object(folder / "manifest.json")
    if manifest.keys() >= _MANIFEST and isinstance(manifest["files"], dict):
        found |= {"manifest.json": None} | {name: str(digest) for name, digest in manifest["files"].items()}
        if manifest["kind"] == "tideos":
            found |= {name: None for name in inside if name in _CARD}
    found |= {name: None for name in inside if name.endswith(".jsonl.index") and _is_index(folder / name)}
    return {name: digest for name, digest in found.items() if name in inside}


def _first_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file, or in its first line; an empty one where there is none."""
    if not path.is_file():
        return {}
    try:
        text = path.read_bytes() if path.suffix == ".json" else path.open("rb").readline()
        body = json.loads(text)
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _is_ledger(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"CREATE TABLE calls" in file.read(1 << 16)
    except OSError:
        return False


def _is_index(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"line_ends"' in file.read(1 << 12)
    except OSError:
        return False
