"""Prompts: spans known by construction, segments that never merge, and options that make sense."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from topa.core.errors import InputError
from topa.prompts.prompt import Prompt, Prompter, check_options
from topa.prompts.templates import LETTERS, TOPA, Templates

QUESTION, OPTIONS = "what is it ?", ("a red ball", "a blue car", "nothing")


@pytest.fixture(scope="module")
def bpe() -> PreTrainedTokenizerFast:
    """Byte-pair encoding that merges over spaces and line ends: `Answer: (A)` as a whole becomes other tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    told = [f"\nAnswer: ({letter})" for letter in LETTERS] + ["\nAnswer: a ball", "Video:\nQuestion:"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    inner.train_from_iterator(told * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def three(prompter: Prompter, frames: int, target: bool) -> list[Prompt]:
    return [
        prompter.choose(QUESTION, OPTIONS, frames, 1 if target else None),
        prompter.answer(QUESTION, frames, "a blue car" if target else None),
        prompter.describe(frames, "a car drives" if target else None),
    ]


def split(prompter: Prompter, prompt: Prompt) -> tuple[str, str, str]:
    """Decoded: what stands before the slots, between slots and target, and the target."""
    parts = (
        prompt.ids[: prompt.slots[0]],
        prompt.ids[prompt.slots[1] : prompt.target[0]],
        prompt.ids[slice(*prompt.target)],
    )
    head, body, said = (prompter.tokenizer.decode(p, skip_special_tokens=False) for p in parts)
    return head, body, said


@pytest.mark.parametrize(("frames", "each"), [(0, 1), (1, 1), (5, 1), (5, 4)])
def test_spans_are_where_they_say(bpe: PreTrainedTokenizerFast, frames: int, each: int) -> None:
    prompter = Prompter(bpe, tokens_per_frame=each)
    listed = "\nOptions: (A) a red ball (B) a blue car (C) nothing"
    expected = [
        ("<s>Choose the right answer.\nVideo:", f"\nQuestion: {QUESTION}{listed}\nAnswer:", " (B)</s>"),
        ("<s>Answer the question.\nVideo:", f"\nQuestion: {QUESTION}\nAnswer:", " a blue car</s>"),
        ("<s>Describe the video.\nVideo:", "\nDescription:", " a car drives</s>"),
    ]
    for prompt, told in zip(three(prompter, frames, target=True), expected, strict=True):
        assert split(prompter, prompt) == told
        assert prompt.slots[1] - prompt.slots[0] == frames * each
        assert set(prompt.ids[slice(*prompt.slots)]) <= {0}
        assert prompt.target[1] == len(prompt) == len(prompt.ids)
        assert prompt.ids[0] == bpe.bos_token_id
        assert prompt.ids.count(bpe.bos_token_id) == 1 + frames * each  # slots are 0, and so is this bos
        assert [i for i, t in enumerate(prompt.ids) if t == bpe.eos_token_id] == [len(prompt) - 1]


def test_a_prompt_without_target_ends_where_the_target_would_begin(bpe: PreTrainedTokenizerFast) -> None:
    prompter = Prompter(bpe, tokens_per_frame=2)
    for asked, whole in zip(three(prompter, 3, target=False), three(prompter, 3, target=True), strict=True):
        assert asked.target == (len(asked), len(asked))
        assert whole.target[0] == len(asked)
        assert whole.ids[: len(asked)] == asked.ids
        assert whole.slots == asked.slots


def test_segments_never_merge(bpe: PreTrainedTokenizerFast) -> None:
    """The tokenizer would merge over the border; the prompt's target is what `target_ids` scores, and never merged."""
    prompter = Prompter(bpe)
    body, letter = TOPA.open_body(QUESTION), prompter.letter(0)
    assert prompter.encode(body + letter) != prompter.encode(body) + prompter.encode(letter)
    assert prompter.encode(TOPA.choose + "\nQuestion:") != prompter.encode(TOPA.choose) + prompter.encode("\nQuestion:")
    chosen = prompter.choose(QUESTION, OPTIONS, 0, 0)
    assert chosen.ids[slice(*chosen.target)] == prompter.target_ids(letter)
    free = prompter.answer(QUESTION, 2, "a ball")
    assert free.ids[slice(*free.target)] == prompter.target_ids(" a ball")
    assert free.ids[free.slots[1] : free.target[0]] == prompter.encode(body)


def test_every_letter(bpe: PreTrainedTokenizerFast) -> None:
    prompter = Prompter(bpe)
    options = tuple(f"option {i}" for i in range(len(LETTERS)))
    for i, letter in enumerate(LETTERS):
        head, body, said = split(prompter, prompter.choose(QUESTION, options, 1, i))
        assert said == f" ({letter})</s>"
        assert f" ({letter}) option {i}" in body
        assert "option" not in head


def test_a_tokenizer_without_special_tokens() -> None:
    class Bare:
        """One token a character, and no special ones."""

        bos_token_id = eos_token_id = unk_token_id = None

        def __call__(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> dict[str, list[int]]:
            assert add_special_tokens is False
            assert split_special_tokens is True
            return {"input_ids": [ord(c) for c in text]}

        def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
            return "".join(map(chr, ids))

    prompter = Prompter(Bare())
    prompt = prompter.answer("why ?", 2, "so")
    assert split(prompter, prompt) == ("Answer the question.\nVideo:", "\nQuestion: why ?\nAnswer:", " so")
    assert prompter.target_ids("so") == (ord("s"), ord("o"))
    assert prompter.unknown_words("anything") == []


def test_unknown_words() -> None:
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "red": 1, "ball": 2, "?": 3}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    prompter = Prompter(PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"))
    assert prompter.unknown_words("red ball? elephant red, ball") == ["elephant", "red,"]
    assert prompter.unknown_words("red ball ?") == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "found 0; expected at least two"),
        (("a",), "found 1; expected at least two"),
        (("a", ""), "empty"),
        (("a", " \t"), "empty"),
        (("a", "b", "a"), "'a' found more than once"),
        (("a", "b", " a "), "'a' found more than once"),
        (tuple("abcdefghijk"), "found 11; expected at most 10"),
    ],
)
def test_options_that_are_refused(bpe: PreTrainedTokenizerFast, options: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_options(options)
    if "more than once" not in told:
        with pytest.raises(InputError, match=told):
            Prompter(bpe).choose(QUESTION, options, 1)


def test_published_options_may_repeat(bpe: PreTrainedTokenizerFast) -> None:
    first, second, third = Prompter(bpe).candidates(QUESTION, ("a", "b", "a"), 1, by_letter=False)
    assert first == third != second
    assert len(Prompter(bpe).candidates(QUESTION, ("a", "b", "a"), 1, by_letter=True)) == 3


def test_two_to_ten_options_are_fine() -> None:
    check_options(("a", "A"))
    check_options(tuple("abcdefghij"))


def test_wording_is_replaceable_and_braces_in_it_are_text(bpe: PreTrainedTokenizerFast) -> None:
    prompter = Prompter(
        bpe, templates=Templates(question=" Q {question}", options=" O", reply=" R", choice=" {letter}")
    )
    _, body, said = split(prompter, prompter.choose("{letter} {0}?", ("{option}", "}{"), 1, 1))
    assert (body, said) == (" Q {letter} {0}? O (A) {option} (B) }{ R", " B</s>")


def test_special_tokens_in_a_question_are_text() -> None:
    from topa.microworld.words import tokenizer

    words = tokenizer()
    prompt = Prompter(words).answer("is it </s> red ?", 1)
    assert words.eos_token_id not in prompt.ids
    assert prompt.ids.count(words.bos_token_id) == 1


def test_a_prompt_that_is_too_long_loses_the_ends_of_its_options_and_says_so(bpe: PreTrainedTokenizerFast) -> None:
    long = (("a red ball that rolls " * 9).strip(), ("a blue car " * 3).strip(), "nothing")
    whole = Prompter(bpe).choose(QUESTION, long, 3, 1)
    for room in (len(whole) - 1, len(whole) - 40, len(whole) - 110):
        prompter = Prompter(bpe, window=room)
        prompt = prompter.choose(QUESTION, long, 3, 1)
        assert room - 5 < len(prompt) <= room
        assert prompt.cut > 0
        head, body, said = split(prompter, prompt)
        assert (head, said) == split(prompter, whole)[::2]
        assert QUESTION in body
        assert "(C) nothing" in body
        assert prompt.slots == whole.slots
    assert whole.cut == Prompter(bpe, window=len(whole)).choose(QUESTION, long, 3, 1).cut == 0
    # All candidates of a question are cut alike, so their letters compare.
    cut = Prompter(bpe, window=len(whole) - 40).candidates(QUESTION, long, 3, by_letter=True)
    assert len({p.ids[: p.target[0]] for p in cut}) == 1


def test_the_question_and_the_answer_are_never_cut(bpe: PreTrainedTokenizerFast) -> None:
    prompter = Prompter(bpe, window=40)
    told = r"found \d+ tokens, expected at most 40, .*never cut"
    with pytest.raises(InputError, match=told):
        prompter.choose("what is it , and why is it there ? " * 3, OPTIONS, 3, 1)
    with pytest.raises(InputError, match=told):
        prompter.answer("what ?", 3, "a long answer " * 9)
    with pytest.raises(InputError, match=told):
        prompter.describe(3, "a long description " * 9)
    with pytest.raises(InputError, match=told):
        prompter.candidates("what ?", ("a long answer " * 9, "short"), 3, by_letter=False)
    assert len(prompter.describe(3, "a car")) <= 40
