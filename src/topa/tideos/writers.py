"""The interface of writers: one request, one unmodified reply, three classes of errors.

Whatever the writer, a reply is the body of a chat completion in OpenAI's format.
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
    """A retry may succeed. wait: seconds that the endpoint asks for, or 0. connected: False without a connection."""

    def __init__(self, message: str, wait: float = 0.0, *, connected: bool = True) -> None:
        super().__init__(message)
        self.wait = wait
        self.connected = connected


class Permanent(TopaError):
    """The same request will fail again. every: so will all others, because of the key, the model or the account."""

    def __init__(self, message: str, *, every: bool) -> None:
        super().__init__(message)
        self.every = every


class BadContent(TopaError):
    """A paid reply holds no usable text: a refusal, cut off, or empty."""


class Mode(BaseModel):
    """How to talk to an endpoint. output: its JSON mode. limit: the name of its parameter for the reply's length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: Output
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class TokenUsage:
    """Tokens in and out, and their cost in the currency of the prices; all 0 or more."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out, self.cost + other.cost)

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True)
class Probe:
    """The result of probing an endpoint, and the tokens that it used."""

    mode: Mode
    tokens: TokenUsage


class Writer(Protocol):
    """A model that writes replies. An async context manager, opened once.

    model: its name. max_tokens: maximum length of a reply. parameters: everything else that its replies depend on.
    """

    model: str
    max_tokens: int
    parameters: Mapping[str, Any]

    async def __aenter__(self) -> Writer: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    async def probe(self) -> Probe:
        """Find out how the model can be constrained to JSON. Raises Transient or Permanent."""
        ...

    async def ask(self, messages: Sequence[Message], mode: Mode) -> str:
        """Send one request and return the unmodified body of the reply. Raises Transient or Permanent."""
        ...


def read_body(body: str) -> str:
    """Return the text of a reply's body. Raises BadContent: not a completion, a refusal, cut off, or empty."""
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


def count_body(body: str) -> TokenUsage:
    """Return the tokens that a reply's body reports, without a cost; zeros if it reports none."""
    try:
        usage = json.loads(body)["usage"]
        return TokenUsage(max(0, int(usage["prompt_tokens"])), max(0, int(usage["completion_tokens"])))
    except (ValueError, LookupError, TypeError, OverflowError):
        return TokenUsage()


def read_mode(text: str) -> Mode | None:
    """Parse a stored mode; None if it is malformed."""
    try:
        return Mode.model_validate_json(text)
    except ValidationError:
        return None
