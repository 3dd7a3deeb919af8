"""topa in lmms-eval: `--model topa`. The harness finds this class through `lmms_manifest`.

    context of the task ──→ an open question, whole; an empty one asks for a description
    options of a document ─→ one question with these options, compared by the protocol

Losses are mean losses: the harness takes the option with the lowest one, whatever its interface calls them
(lmms-eval 0.7.3, `ConfigurableTask.process_results`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms
from loguru import logger

from ..core.errors import UsageError
from ..core.processes import started_by_launcher
from ..inference.engine import Topa
from ..training.pretrained import load
from .answering import HarnessAnswerer
from .requests import HarnessRequest, documents, open_questions

_AUTO = 16  # questions at a time where the harness is told to find out itself


class TopaModel(lmms):  # type: ignore[misc]
    """A saved model as lmms-eval's. Arguments are those of `--model_args`, and what the harness adds.

    pretrained: a folder, an id on the hub, or an engine; the micro model by default. protocol: `selection`, `logits` or
    `similarity`; by default as the model was aligned to. batch_size: questions at a time, a number or "auto" (at most
    max_batch_size). device: by default a GPU where there is one, each process of several its own.
    Raises UsageError for an unknown protocol or a batch size that is none, and what `topa.load` raises.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str | Path | Topa = "",
        protocol: str | None = None,
        batch_size: int | str = 1,
        device: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = _number(batch_size, max_batch_size)
        if device is None and started_by_launcher() and torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        engine = pretrained if isinstance(pretrained, Topa) else load(pretrained or None, device=device)
        self._answerer = HarnessAnswerer(engine, protocol, self.batch_size, logger.warning)

    @property
    def engine(self) -> Topa:
        """What answers."""
        return self._answerer.engine

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.engine.model.device

    def loglikelihood(self, requests: Sequence[HarnessRequest]) -> list[GenerationResult]:
        """For each request (context, continuation, doc_to_visual, document, task, split), the mean loss of its
        continuation, and whether the continuation is what greedy decoding answers. All requests of a document, and all
        documents about a video, share one reading of it.

        The pair comes in a GenerationResult, as its `text`: lmms-eval 0.7.3 makes a string of any other answer that
        isn't one, and can't compare strings.
        A document whose video can't be read is warned of, and no right option of it has the lowest loss. Raises
        UsageError for a task that isn't about videos.
        """
        asked = documents(requests, self.task_dict)
        answers: dict[int, GenerationResult] = {}
        for document, losses in zip(asked, self._first().losses(asked), strict=True):
            for numbers, loss in zip(document.requests, losses, strict=True):
                answers |= {number: GenerationResult(loss) for number in numbers}
        return [answers[number] for number in range(len(requests))]

    def generate_until(self, requests: Sequence[HarnessRequest]) -> list[str]:
        """The greedy answer to each request (context, settings, doc_to_visual, document, task, split). Of the settings
        `until` and `max_new_tokens` count. An answer about a video that can't be read is empty, and warned of.

        Raises UsageError for a task that isn't about videos.
        """
        return self._first().texts(open_questions(requests, self.task_dict))

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused: raises NotImplementedError."""
        raise NotImplementedError(
            f"topa: found {len(requests)} requests of several rounds (generate_until_multi_round); topa answers one "
            "question at a time. Leave the task out."
        )

    def _first(self) -> HarnessAnswerer:
        """With a bar in one process only: the harness tells its rank after it has made the model."""
        self._answerer.show = self.rank == 0
        return self._answerer


def _number(given: int | str, most: int | None) -> int:
    if str(given).startswith("auto"):
        return most or _AUTO
    if not str(given).isdecimal() or int(given) < 1:
        raise UsageError(f"batch_size: found {given!r}; expected a number from 1 on, or auto.")
    return int(given)
