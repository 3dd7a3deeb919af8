"""Pieces of a text: together they are the text, and none is ever taken back."""

from __future__ import annotations

import pytest

from topa.inference.detokenizer import IncrementalDetokenizer
from topa.inference.generator import SampledToken

BYTES = "a ball é 漢 at last".encode()


class Bytes:
    """A tokenizer with a token per byte."""

    def decode(self, ids, *, skip_special_tokens: bool) -> str:
        return bytes(ids).decode(errors="replace")


def unroll(ids, finish="stop", stop=(), **more):
    text = IncrementalDetokenizer(Bytes(), stop, **more)
    pieces = []
    sampled = [SampledToken(id, -float(id), ((id, -float(id)),)) for id in ids]
    for end in range(1, len(ids) + 1):
        piece = text.append(sampled[:end], finish if end == len(ids) else None)
        if piece is not None:
            pieces.append(piece)
            if piece.finish is not None:
                break
    return text, pieces


def test_pieces_add_up_and_never_hold_half_a_character():
    unrolling, pieces = unroll(BYTES)
    assert "".join(piece.text for piece in pieces) == unrolling.text == BYTES.decode()
    assert all("\ufffd" not in piece.text and piece.text for piece in pieces)
    assert len(pieces) >= len(BYTES.decode().replace(" ", ""))  # a blank may come with what follows it
    assert [piece.finish for piece in pieces if piece.finish] == ["stop"]


def test_a_text_that_ends_within_a_character_is_told_as_it_is():
    _, pieces = unroll("é".encode()[:1], "length")
    assert [piece.text for piece in pieces] == ["\ufffd"]


@pytest.mark.parametrize(
    ("stop", "left"), [(("at",), "a ball é 漢 "), (("last", "漢 a"), "a ball é "), (("ball é!",), None)]
)
def test_a_stop_is_no_part_of_the_text_and_no_beginning_of_it_is_told(stop, left):
    unrolling, pieces = unroll(BYTES, "length", stop)
    told = "".join(piece.text for piece in pieces)
    assert told == unrolling.text == (BYTES.decode() if left is None else left)
    assert pieces[-1].finish == ("length" if left is None else "stop")


def test_words_before_punctuation_move_together():
    """Word-level tokenizers put a blank before a full stop, which the tidied text doesn't have."""
    vocabulary = ["a", "ball", ".", "red"]

    class Words:
        def decode(self, ids, *, skip_special_tokens: bool) -> str:
            return " ".join(vocabulary[i] for i in ids)

    text = IncrementalDetokenizer(Words())
    pieces = [text.append([SampledToken(i) for i in range(n)], "stop" if n == 4 else None) for n in (1, 2, 3, 4)]
    assert [piece.text for piece in pieces] == ["a", " ball", ".", " red"]


def test_tokens_are_told_once_with_the_text_they_add():
    unrolling, pieces = unroll(b"abc", logprobs=True)
    assert [token.text for piece in pieces for token in piece.tokens] == ["a", "b", "c"]
    assert [token.logprob for token in unrolling.tokens] == [-97.0, -98.0, -99.0]
    assert unrolling.tokens[1].top == (("b", -98.0),)
    unrolling, _ = unroll(BYTES, logprobs=True)
    assert len(unrolling.tokens) == len(BYTES)
    unrolling, _ = unroll(b"one two", stop=("two",), logprobs=True)
    assert "".join(token.text for token in unrolling.tokens) == "one"
