"""lmms-eval's side of the seam, without lmms-eval: documents, a task, and requests as the harness makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topa.microworld.writer import MicroVideo


@dataclass
class Request:
    args: tuple[Any, ...]
    idx: int = 0


class Task:
    """Named `toys`, with one split; its documents name their video, options and answer."""

    def __init__(self, docs: Sequence[dict[str, Any]]) -> None:
        self.docs = list(docs)

    @property
    def datasets(self) -> dict[str, dict[str, Any]]:
        return {"toys": {"test": self.docs}}

    def doc_to_visual(self, doc: dict[str, Any]) -> Any:
        return doc["visual"]

    def doc_to_target(self, doc: dict[str, Any]) -> Any:
        return doc["answer"]

    def likelihoods(self) -> list[Request]:
        return [
            Request((doc["question"], f" {option}", self.doc_to_visual, number, "toys", "test"), at)
            for number, doc in enumerate(self.docs)
            for at, option in enumerate(doc["options"])
        ]

    def openly(self, **settings: Any) -> list[Request]:
        return [
            Request((doc["question"], dict(settings), self.doc_to_visual, number, "toys", "test"))
            for number, doc in enumerate(self.docs)
        ]


def docs_of(videos: Sequence[MicroVideo]) -> list[dict[str, Any]]:
    return [
        {"visual": [str(video.path)], "question": q.question, "options": list(q.options), "answer": q.answer}
        for video in videos
        for q in video.questions
    ]


def broken(folder: Path) -> Path:
    path = folder / "broken.mp4"
    path.write_bytes(b"not a video")
    return path
