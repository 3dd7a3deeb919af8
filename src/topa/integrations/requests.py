"""What lmms-eval asks, put together again: it sends an option at a time, and a document has several.

Reads the harness's requests (`Instance`s, by their attributes alone), gives `Document`s and `OpenQuestion`s to
`answering`. Nothing of the harness is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import UsageError

Datasets = Mapping[str, Mapping[str, Any]]
"""Task to split to documents, by number: the harness's `task_dict`."""
_TOKENS = 80  # of an answer where the task sets no limit
_LIKELIHOOD = ("context", "continuation", "doc_to_visual", "doc_id", "task", "split")


class HarnessRequest(Protocol):
    """What is read of an `Instance`."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Context, continuation or settings, doc_to_visual, number of the document, task, split."""
        ...

    @property
    def idx(self) -> int:
        """Which of a document's options."""
        ...


@dataclass(frozen=True, slots=True)
class About:
    """What a request is about. name: for messages. video: the file. fault: why it can't be had, "" where it can."""

    name: str
    video: str
    fault: str


@dataclass(frozen=True, slots=True)
class Document:
    """A question with its options. requests: for each option, which requests ask for it: several where the harness
    repeats them, or pads. right: tells the numbers of the right options; none where they can't be known."""

    about: About
    question: str
    options: tuple[str, ...]
    requests: tuple[tuple[int, ...], ...]
    right: Callable[[], set[int]]


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question that is answered in words. until: texts that end an answer and aren't part of it; max_tokens: of an
    answer; sampled: the task asks for sampling, which it doesn't get."""

    about: About
    question: str
    until: tuple[str, ...]
    max_tokens: int
    sampled: bool


def documents(requests: Sequence[HarnessRequest], datasets: Datasets) -> list[Document]:
    """Requests for likelihoods by document, options in the order of their numbers.

    Raises UsageError for a request that isn't about one video.
    """
    known: dict[tuple[str, str, Any], About] = {}
    grouped: dict[tuple[Any, ...], dict[tuple[int, str], list[int]]] = {}
    first: dict[tuple[Any, ...], HarnessRequest] = {}
    for number, request in enumerate(requests):
        context, said, _, *place = _parts(request)
        key = (context, *place)
        text = said(_document(request, datasets)) if callable(said) else said
        grouped.setdefault(key, {}).setdefault((request.idx, str(text).strip()), []).append(number)
        first.setdefault(key, request)
    found = []
    for key, asked in grouped.items():
        request, options = first[key], sorted(asked)
        found.append(
            Document(
                _about(request, datasets, known),
                key[0].strip(),
                tuple(text for _, text in options),
                tuple(tuple(asked[option]) for option in options),
                _right(request, datasets, options),
            )
        )
    return found


def open_questions(requests: Sequence[HarnessRequest], datasets: Datasets) -> list[OpenQuestion]:
    """Requests for answers in words, one each. Raises UsageError for a request that isn't about one video."""
    known: dict[tuple[str, str, Any], About] = {}
    found = []
    for request in requests:
        context, settings, *_ = _parts(request)
        until = settings.get("until") or ()
        found.append(
            OpenQuestion(
                _about(request, datasets, known),
                context.strip(),
                tuple(end for end in ([until] if isinstance(until, str) else until) if end),
                int(settings.get("max_new_tokens") or _TOKENS),
                bool(settings.get("do_sample")) or float(settings.get("temperature") or 0) > 0,
            )
        )
    return found


def _parts(request: HarnessRequest) -> tuple[Any, ...]:
    if len(request.args) != len(_LIKELIHOOD):
        raise UsageError(
            f"lmms-eval: found a request with {len(request.args)} parts, expected {', '.join(_LIKELIHOOD)}. It is not "
            "about a video, as those of the metric acc_mutual_info aren't: leave the metric or the task out."
        )
    return request.args


def _document(request: HarnessRequest, datasets: Datasets) -> Any:
    *_, number, task, split = request.args
    return datasets[task][split][number]


def _about(request: HarnessRequest, datasets: Datasets, known: dict[tuple[str, str, Any], About]) -> About:
    *_, to_visual, number, task, split = request.args
    key = (task, split, number)
    if key not in known:
        known[key] = _look_up(f"{task}, document {number}", to_visual, _document(request, datasets))
    return known[key]


def _look_up(name: str, to_visual: Callable[[Any], Any] | None, document: Any) -> About:
    try:
        visuals = None if to_visual is None else to_visual(document)
    except (OSError, SystemExit) as error:  # tasks of the harness that miss a file leave the program
        return About(name, "", str(error) or "the task found no video")
    given = visuals if isinstance(visuals, list | tuple) else [] if visuals is None else [visuals]
    if len(given) != 1 or not isinstance(given[0], str | Path):
        kinds = ", ".join(sorted({type(visual).__name__ for visual in given})) or "nothing to see"
        raise UsageError(
            f"lmms-eval: {name}: found {len(given)} visuals ({kinds}); expected the path of one video. topa reads "
            "videos: leave the task out."
        )
    return About(name, str(given[0]), "")


def _right(request: HarnessRequest, datasets: Datasets, options: Sequence[tuple[int, str]]) -> Callable[[], set[int]]:
    """Asks the task that the request came from, which the harness hands over with `doc_to_visual`."""

    def find() -> set[int]:
        target = getattr(getattr(request.args[2], "__self__", None), "doc_to_target", None)
        gold = None if target is None else target(_document(request, datasets))
        wanted = {str(g).strip() if isinstance(g, str) else g for g in (gold if isinstance(gold, list) else [gold])}
        return {at for at, (number, text) in enumerate(options) if number in wanted or text in wanted}

    return find
