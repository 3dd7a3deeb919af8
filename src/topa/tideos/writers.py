"""What every writer is to the flow: one request, one reply as it came, three classes of errors.

A reply is the body of a chat completion in OpenAI's form, whoever wrote it: one form to keep, to count and to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from ..core.errors import TopaError

Message = Mapping[str, str]
Output = Literal["json_schema", "json_object", "text"]
OUTPUTS: tuple[Output, ...] = ("json_schema", "json_object", "text")


class Transient(TopaError):
    """It may work a moment later. `wait`: seconds that the endpoint asked for, 0 where it didn't. `connected`: whether
    there was an endpoint at all."""

    def __init__(self, message: str, wait: float = 0.0, *, connected: bool = True) -> None:
        super().__init__(message)
        self.wait = wait
        self.connected = connected


class Permanent(TopaError):
    """The same request will fail again. `every`: so will all others (the key, the model, the account)."""

    def __init__(self, message: str, *, every: bool) -> None:
        super().__init__(message)
        self.every = every


class BadContent(TopaError):
    """A reply came, and was paid for, but holds no usable text: a refusal, cut off, empty."""


class Mode(BaseModel):
    """How this endpoint is spoken to: how it is held to JSON, and its name for the limit of a reply's length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: Output
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class Counted:
    """Tokens of one reply, as the endpoint says, 0 where it doesn't."""

    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)


@dataclass(frozen=True)
class Probe:
    """What probing found, and what it took."""

    mode: Mode
    tokens: Counted


class Writer(Protocol):
    """Whoever writes. An async context manager, opened once.

    `model`: its name. `max_tokens`: the length of its longest reply. `parameters`: what else its replies depend on.
    """

    model: str
    max_tokens: int
    parameters: Mapping[str, Any]

    async def __aenter__(self) -> Writer: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    async def probe(self) -> Probe:
        """Find out how it can be held to JSON. Raises Transient or Permanent."""
        ...

    async def ask(self, messages: Sequence[Message], mode: Mode) -> str:
        """Send one request: the body of the reply as it came. Raises Transient or Permanent."""
        ...


def read_body(body: str) -> str:
    """The text of a reply's body. Raises BadContent: not a completion, a refusal, cut off, empty."""
    try:
        choice = json.loads(body)["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadContent("the body is not a chat completion") from error
    if refusal or finish == "content_filter":
        raise BadContent("refused")
    if finish == "length":
        raise BadContent("cut off at the limit of its length")
    if not isinstance(text, str) or not text.strip():
        raise BadContent("empty")
    return text


def count_body(body: str) -> Counted:
    """The tokens that a reply's body says it took; zeros where it says nothing usable."""
    try:
        usage = json.loads(body)["usage"]
        return Counted(max(0, int(usage["prompt_tokens"])), max(0, int(usage["completion_tokens"])))
    except (ValueError, LookupError, TypeError, OverflowError):
        return Counted()


def read_mode(text: str) -> Mode | None:
    """A mode that was noted; None where it can't be read."""
    try:
        return Mode.model_validate_json(text)
    except ValidationError:
        return None
