"""One token a word; all that the micro world says is known, and nothing else is."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from topa.microworld.words import SPECIAL, vocabulary
from topa.microworld.writer import write_tideos
from topa.prompts.prompt import Prompter
from topa.prompts.templates import TOPA


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    token_ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return token_ids


def test_everything_said_is_known_and_comes_back(words: PreTrainedTokenizerFast) -> None:
    texts = {"small"}
    for tideo in write_tideos(600, seed=99):
        texts.add(tideo.description)
        for frame in tideo.frames:
            texts |= {frame.caption, *frame.objects}
        for question in tideo.questions:
            texts |= {question.question, *question.options}
    assert len(texts) > 3000
    for text in texts:
        encoded = ids(words, text)
        assert words.unk_token_id not in encoded, text
        assert words.decode(encoded) == text
        assert len(encoded) == len(text.split())


def test_every_prompt_is_known_behind_its_instruction(words: PreTrainedTokenizerFast) -> None:
    prompter = Prompter(words)
    for tideo in write_tideos(60, seed=98):
        for question in tideo.questions:
            prompts = (
                prompter.choose(question.question, question.options, 5, question.answer),
                prompter.answer(question.question, 5, question.answer_text),
                prompter.describe(5, tideo.description),
            )
            for prompt in prompts:
                assert words.unk_token_id not in prompt.ids[prompt.slots[1] :]


@pytest.mark.parametrize("instruction", [TOPA.choose, TOPA.answer, TOPA.describe])
def test_every_instruction_is_known(words: PreTrainedTokenizerFast, instruction: str) -> None:
    assert words.unk_token_id not in ids(words, instruction)


@pytest.mark.parametrize("text", ["elephant", "Red", "<video>", "10"])
def test_other_words_are_unknown(words: PreTrainedTokenizerFast, text: str) -> None:
    assert words.unk_token_id in ids(words, f"a red {text}")


def test_special_tokens(words: PreTrainedTokenizerFast) -> None:
    assert vocabulary()[: len(SPECIAL)] == list(SPECIAL)
    assert len(set(vocabulary())) == len(words)
    names = ("pad", "bos", "eos", "unk")
    assert [getattr(words, f"{n}_token_id") for n in names] == list(range(4))
    assert words.decode(ids(words, "a red ball </s>"), skip_special_tokens=True) == "a red ball"
