"""Text that grows token by token, given out in pieces: what was given out is never taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .generator import FinishReason, SampledToken, decode

_INCOMPLETE = "\ufffd"  # what a tokenizer makes of a character that has only begun


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token of an answer, or an option that was chosen as a whole. logprob: natural logarithm of its probability.
    bytes: of the text that it adds, UTF-8 that may end within a character. top: the likeliest in its place with their
    log-probabilities, best first."""

    text: str
    logprob: float
    bytes: bytes
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """What a text has grown by. tokens: those whose text is given out with it, where they are wanted. finish: why the
    text ended, None but in the last piece."""

    text: str
    tokens: tuple[TokenText, ...] = ()
    finish: FinishReason | None = None


class IncrementalDetokenizer:
    """Turns the tokens of one text into pieces. stop: texts that end it and are no part of it. logprobs: whether pieces
    carry their tokens."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), *, logprobs: bool = False) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._logprobs = logprobs
        self.text = ""
        """What was given out."""
        self.tokens: list[TokenText] = []
        self._counted = 0  # tokens of it that were given out

    def append(self, sampled: Sequence[SampledToken], finish: FinishReason | None) -> TextPiece | None:
        """Return what is new, now that these are all tokens; None where nothing can be given out yet. The last piece
        has a finish, and comes early where a stop text does."""
        text = self._text([one.token for one in sampled])
        ends = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            text, finish = text[: min(ends)], "stop"
        elif finish is None:
            text = text[: self._settled(text)]
        if finish is None and (len(text) <= len(self.text) or not text.startswith(self.text)):
            return None
        new = text[len(self.text) :] if text.startswith(self.text) else ""
        self.text += new
        tokens: tuple[TokenText, ...] = ()
        if self._logprobs:
            tokens = self._given_out(sampled, whole=finish is not None, stopped=bool(ends))
        self.tokens += tokens
        return TextPiece(new, tokens, finish)

    def _text(self, ids: Sequence[int]) -> str:
        return decode(self._tokenizer, ids)

    def _settled(self, text: str) -> int:
        """How much of a text no later token changes: no character that has only begun, nothing that may begin a
        stop."""
        end = len(text.rstrip(_INCOMPLETE))
        for stop in self._stop:
            for length in range(min(len(stop) - 1, end), 0, -1):
                if text[:end].endswith(stop[:length]):
                    end -= length
                    break
        return end

    def _given_out(self, sampled: Sequence[SampledToken], *, whole: bool, stopped: bool) -> tuple[TokenText, ...]:
        """Tokens whose text has been given out just now. whole: no more come; stopped: those that are left belong to a
        stop text."""
        found = []
        ids = [one.token for one in sampled]
        while self._counted < len(sampled):
            one = sampled[self._counted]
            before, after = self._text(ids[: self._counted]), self._text(ids[: self._counted + 1])
            if not (whole or self.text.startswith(after)):
                break
            if stopped and len(before) >= len(self.text.rstrip()):
                break
            added = after[len(before) :] if after.startswith(before) else self._word(one.token)
            self._counted += 1
            top = tuple((self._word(token), logprob) for token, logprob in one.top)
            found.append(TokenText(added, one.logprob or 0.0, added.encode(), top))
        return tuple(found)

    def _word(self, token: int) -> str:
        return str(self._tokenizer.decode([token], skip_special_tokens=False))
