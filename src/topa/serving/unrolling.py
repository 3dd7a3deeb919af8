"""A text that grows, told in pieces: what was told is never taken back.

Reads what the worker says after each token, gives the pieces that HTTP sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..inference.continuous import Finish, Spoken
from .types import Piece, Token, Usage

_BROKEN = "\ufffd"  # what a tokenizer makes of a character that has begun


class Unrolling:
    """One text. words: token ids to text. prompt: tokens of the prompt. stop: texts that end it and are no part of it.
    logprobs: whether tokens are told, too."""

    def __init__(
        self,
        words: Callable[[Sequence[int]], str],
        word: Callable[[int], str],
        prompt: int,
        stop: Sequence[str] = (),
        *,
        logprobs: bool = False,
    ) -> None:
        self._words = words
        self._word = word
        self._prompt = prompt
        self._stop = tuple(stop)
        self._logprobs = logprobs
        self.text = ""
        """What was told."""
        self.tokens: list[Token] = []
        self._counted = 0  # tokens of it that were told

    def take(self, spoken: Sequence[Spoken], finish: Finish | None) -> Piece | None:
        """What is new, now that so many tokens have been spoken; None where nothing can be told yet. The last piece has
        a finish, and comes early where a stop text does."""
        ids = [one.token for one in spoken]
        text = self._words(ids)
        ends = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            text, finish = text[: min(ends)], "stop"
        elif finish is None:
            text = text[: self._safe(text)]
        if finish is None and (len(text) <= len(self.text) or not text.startswith(self.text)):
            return None
        new = text[len(self.text) :] if text.startswith(self.text) else ""
        self.text += new
        told = self._told(spoken, whole=finish is not None, stopped=bool(ends)) if self._logprobs else ()
        self.tokens += told
        usage = None if finish is None else Usage(self._prompt, len(spoken))
        return Piece(new, told, finish, usage)

    def _safe(self, text: str) -> int:
        """How much of it no later token changes: no character that has only begun, nothing that may begin a stop."""
        end = len(text.rstrip(_BROKEN))
        for stop in self._stop:
            for length in range(min(len(stop) - 1, end), 0, -1):
                if text[:end].endswith(stop[:length]):
                    end -= length
                    break
        return end

    def _told(self, spoken: Sequence[Spoken], *, whole: bool, stopped: bool) -> tuple[Token, ...]:
        """Tokens whose text has been told and that weren't yet. whole: no more come; stopped: those
        that are left belong to a stop."""
        told = []
        while self._counted < len(spoken):
            one, ids = spoken[self._counted], [own.token for own in spoken]
            before, after = self._words(ids[: self._counted]), self._words(ids[: self._counted + 1])
            if not (whole or self.text.startswith(after)):
                break
            if stopped and len(before) >= len(self.text):
                break
            added = after[len(before) :] if after.startswith(before) else self._word(one.token)
            self._counted += 1
            top = tuple((self._word(token), logprob) for token, logprob in one.top)
            told.append(Token(added, one.logprob or 0.0, added.encode(), top))
        return tuple(told)
