"""What an aligned LLM is asked, as plain strings: the one place where their wording lives.

`prompts.prompt` turns them into token ids. The micro LLM's recipe uses the same strings, so that the micro LLM
knows them the way a real LLM knows English.
"""

from __future__ import annotations

from dataclasses import dataclass

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Templates:
    """The wording of the three tasks. `{...}` are filled in; the frame slots follow `video`.

    A whole prompt reads: instruction, `video`, frame slots, body, target.
    """

    choose: str = "Choose the right answer.\nVideo:"
    answer: str = "Answer the question.\nVideo:"
    describe: str = "Describe the video.\nVideo:"
    question: str = "\nQuestion: {question}"
    options: str = "\nOptions:"
    option: str = " ({letter}) {option}"
    reply: str = "\nAnswer:"
    choice: str = " ({letter})"
    description: str = "\nDescription:"

    def choice_body(self, question: str, options: tuple[str, ...]) -> str:
        """Write everything between the frames and the chosen letter."""
        option_lines = "".join(self.option.format(letter=LETTERS[i], option=o) for i, o in enumerate(options))
        return self.question.format(question=question) + self.options + option_lines + self.reply

    def open_body(self, question: str) -> str:
        """Write everything between the frames and a free answer."""
        return self.question.format(question=question) + self.reply


TOPA = Templates()


def subtitled(question: str, subtitles: str) -> str:
    """Put subtitles before a question, where there are any."""
    return f"Subtitles: {subtitles}\n{question}" if subtitles else question
