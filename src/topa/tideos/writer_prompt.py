"""The prompt for writers, and the parsing of replies into Tideos.

`VERSION` changes with every change of the wording or of the reply's schema: it is part of a ledger's configuration, so
that replies to different prompts never mix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from ..core.registry import unknown
from .prompt_file import DEFAULT_FORM, SLOT, ReplyForm, read_prompt
from .seeds import Seed
from .tideo import Text

VERSION = "1"

_SEEDS = {
    "howto100m": "The title of an instructional video from the web:",
    "webvid": "The caption of a short clip of stock footage:",
    "ego4d": "A scene that somebody recorded with a camera worn on the head:",
    "wordnet": "An object, with its meaning. It has to play a part in what happens:",
    "own": "What the video is about:",
}
_VIEWS = {
    "howto100m": "Show the steps of the work in their order, from what lies ready to the finished result.",
    "webvid": "Keep to one place and a few seconds; show how things and people move, and how the background looks.",
    "ego4d": "Everything is seen by the wearer of the camera: hands, tools, and what is in reach.",
    "wordnet": "Invent an everyday situation in which the object is used, moved or changed.",
    "own": "Invent what is not said so that it fits what is said.",
}
_TASK = """\
Imagine a video and write it down as text. Nobody will film it: the text has to hold all that there is to see.

{about}
{seed}

{view}

Write:
- frames: 5 to 15 frames in order of time, evenly spread over the video. Each has a caption, one sentence on the whole
  picture as somebody would describe that single picture, and objects: 1 to 6 captions of single things or persons in
  it, a few words each, with colour, material, place or state. Something must change from frame to frame. Use no names
  of persons, no sounds, and no words such as "frame", "camera" or "video".
- description: one dense paragraph of 3 to 6 sentences on the whole video, from beginning to end.
- questions: 5 questions that can be answered from the frames alone, one of each kind: descriptive (what is there, how
  it looks), temporal (what comes before, after, first or last), causal (why or how something happens), counting (how
  many, how often), intention (what somebody wants to reach). Each has exactly five options, one of them right and
  the others wrong but plausible, of similar length; answer, the index of the right option from 0 to 4, varied from
  question to question; and open_answer, the same answer in words without the options.

Reply with one JSON object and nothing else, of this form:
{{"frames": [{{"caption": "...", "objects": ["...", "..."]}}], "description": "...",
"questions": [{{"kind": "descriptive", "question": "...", "options": ["...", "...", "...", "...", "..."],
"answer": 2, "open_answer": "..."}}]}}"""
UNKNOWN_KIND = "questions.kind"
"""Prefix of the problem of a reply whose questions are of an undeclared kind."""
_MAX_NAME, _MAX_NAMES = 40, 5  # characters of a field or kind in a reply, and number of kinds, that messages quote
_RETRY = "(An earlier reply could not be used: {problem}. Keep to what is asked, and be brief.)"
_REPAIR = "That reply can't be used: {problem}. Reply again with the whole corrected JSON object and nothing else."


class _ReplyPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReplyFrame(_ReplyPart):
    """One frame of a reply."""

    caption: Text
    objects: Annotated[list[Text], Field(min_length=1, max_length=12)]


class ReplyQuestion(_ReplyPart):
    """One question of a reply: distinct options, the index of the right one, and the answer as free text.

    The kinds and the number of options are those of a `ReplyForm`.
    """

    kind: str
    question: Text
    options: list[Text]
    answer: int
    open_answer: Annotated[Text, Field(serialization_alias="answer_text")]

    @model_validator(mode="after")
    def _different(self) -> ReplyQuestion:
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"options repeat: {self.options}")
        return self


class ReplyContent(_ReplyPart):
    """A parsed reply: 5 to 15 frames, a description, 3 to 10 questions."""

    frames: Annotated[list[ReplyFrame], Field(min_length=5, max_length=15)]
    description: Text
    questions: Annotated[list[ReplyQuestion], Field(min_length=3, max_length=10)]


@lru_cache
def _reply_model(kinds: tuple[str, ...], options: int) -> type[ReplyContent]:
    """Return the schema of a reply whose questions are of these kinds and have this many options."""
    kind: Any = Literal[kinds]
    question: Any = create_model(
        "ReplyQuestion",
        __base__=ReplyQuestion,
        kind=(kind, ...),
        options=(Annotated[list[Text], Field(min_length=options, max_length=options)], ...),
        answer=(Annotated[int, Field(ge=0, le=options - 1)], ...),
    )
    return create_model(
        "ReplyContent",
        __base__=ReplyContent,
        questions=(Annotated[list[question], Field(min_length=3, max_length=10)], ...),
    )


class ReplyError(ValueError):
    """A reply is no Tideo. The message says why, so that the writer can repair it; `reason` is the class of problem."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class WriterPrompt:
    """How seeds become prompts. template: a user's own prompt, with {seed} in place of the seed's text; None for
    topa's. form: the schema of replies."""

    template: str | None = None
    form: ReplyForm = DEFAULT_FORM

    @classmethod
    def from_file(cls, path: Path) -> WriterPrompt:
        """Read a user's own prompt and its declarations. Raises InputError; see `read_prompt`."""
        return cls(*read_prompt(path))

    @property
    def identity(self) -> str:
        """Identify the prompt: its version, and a hash of the user's own template."""
        if self.template is None:
            return VERSION
        text = json.dumps([self.template, self.declaration]) if self.declaration else self.template
        return f"{VERSION}+{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def declaration(self) -> dict[str, Any]:
        """The reply schema for a run's configuration, where it differs from that of topa's own prompt."""
        if (self.form.names, self.form.options) == (DEFAULT_FORM.names, DEFAULT_FORM.options):
            return {}
        return {"kinds": list(self.form.names), "options": self.form.options}

    def render(self, seed: Seed) -> str:
        """Return the exact prompt for a seed. Raises UsageError for an unknown kind of seed."""
        if self.template is not None:
            return self.template.replace(SLOT, seed.text)
        if seed.kind not in _SEEDS:
            raise unknown("kind of seed", seed.kind, _SEEDS)
        return _TASK.format(about=_SEEDS[seed.kind], view=_VIEWS[seed.kind], seed=seed.text)

    def retry(self, problem: str) -> str:
        """Return what to append to a prompt whose reply had no text to repair: refused, cut off or empty."""
        return _RETRY.format(problem=problem)

    def repair(self, problem: str) -> str:
        """Return the message that answers an unusable reply."""
        return _REPAIR.format(problem=problem)


def reply_schema(form: ReplyForm = DEFAULT_FORM) -> dict[str, Any]:
    """Return the JSON schema of a reply in strict form: every field required, no others, no references."""
    schema = _reply_model(form.names, form.options).model_json_schema()
    strict: dict[str, Any] = _strict(schema, schema.get("$defs", {}))
    return strict


def _strict(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_strict(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _strict(definitions[node["$ref"].rpartition("/")[2]], definitions)
    # Not every strict mode supports minLength; empty texts are rejected when the reply is parsed.
    body = {
        key: {name: _strict(value, definitions) for name, value in node[key].items()}
        if key == "properties"
        else _strict(node[key], definitions)
        for key in node
        if key not in ("$defs", "title", "description", "minLength")
    }
    if body.get("type") == "object":
        body["required"] = list(body["properties"])
        body["additionalProperties"] = False
    return body


def read_reply(text: str, form: ReplyForm = DEFAULT_FORM) -> ReplyContent:
    """Parse the reply in a writer's text, which may be in a code block or among other text. Raises ReplyError."""
    model = _reply_model(form.names, form.options)
    try:
        if text.startswith("{") and text.rstrip().endswith("}"):
            with suppress(ValidationError):  # the text is JSON as a whole: parse and validate in one pass
                return model.model_validate_json(text)
        body = find_object(text)
        if body is None:
            raise ReplyError("it holds no whole JSON object", "no whole JSON object")
        return model.model_validate(body)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        unknown_kinds = _unknown_kinds(error)
        if unknown_kinds:
            problem = f"{UNKNOWN_KIND}: found {unknown_kinds}; expected {', '.join(form.names)}"
            raise ReplyError(problem, problem) from error
        where = ".".join(map(_safe_name, first["loc"])) or "the object"
        more = f", and {len(others)} more" if others else ""
        fields = ".".join(_safe_name(part) for part in first["loc"] if isinstance(part, str)) or "the object"
        reason = f"{fields}: {first['type'].replace('_', ' ')}"
        raise ReplyError(f"{where}: {first['msg'][:300]}{more}", reason) from error


def _safe_name(part: str | int) -> str:
    """Return a field's name, which the writer may have invented, in printable form."""
    name = str(part)[:_MAX_NAME]
    return name if name.isprintable() else repr(name)


def _unknown_kinds(error: ValidationError) -> str:
    """Return the undeclared kinds of a reply's questions; "" if there are none."""
    names = {
        repr(str(detail["input"])[:_MAX_NAME])
        for detail in error.errors(include_url=False)
        if detail["type"] == "literal_error" and detail["loc"][0] == "questions" and detail["loc"][-1] == "kind"
    }
    return ", ".join(sorted(names)[:_MAX_NAMES])


def find_object(text: str) -> dict[str, Any] | None:
    """Return the longest JSON object in a text, or None."""
    longest = max(_objects(text), key=lambda item: item[0], default=None)
    return None if longest is None else longest[1]


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            body, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield end - start, body
        start = text.find("{", end)


class _TideoRecord(BaseModel):
    """A Tideo built from the parts of a reply, for serialisation."""

    id: str
    frames: list[ReplyFrame]
    description: str
    questions: list[ReplyQuestion]
    source: dict[str, Any]


def tideo_line(content: ReplyContent, seed: Seed, source: Mapping[str, Any]) -> str:
    """Return the Tideo of a reply as a line of JSON. source: its origin, to which the seed's kind is added."""
    # No validation: a reply's schema is stricter than a Tideo's.
    line = _TideoRecord.model_construct(
        id=seed.id,
        frames=content.frames,
        description=content.description,
        questions=content.questions,
        source={**source, "seed_kind": seed.kind},
    )
    return line.model_dump_json(by_alias=True)
