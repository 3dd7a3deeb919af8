"""The writer for OpenAI-compatible endpoints."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from ..core.errors import UsageError
from ..core.install import install_line
from .writer_prompt import find_object
from .writers import (
    OUTPUTS,
    BadContent,
    Message,
    Mode,
    Output,
    Permanent,
    Probe,
    TokenUsage,
    Transient,
    count_body,
    read_body,
)

DEFAULT_KEY = "OPENAI_API_KEY"
_MAX_MESSAGE = 300  # characters of an endpoint's message that errors quote
_FATAL_STATUSES = (401, 402, 403, 404, 405)  # no request can succeed until the user changes something
_RETRY_STATUSES = (408, 409, 425, 429)
_MAX_RETRY_AFTER = 3600.0  # seconds


class Endpoint:
    """A model behind a base URL. An async context manager, used inside one event loop.

    key_env: environment variable with the API key. schema: JSON schema of replies. max_tokens: maximum length of a
    reply, 1 or more. temperature: None for the endpoint's default. timeout: seconds per request.
    Raises UsageError for an invalid URL or an empty `key_env`.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key_env: str | None = None,
        schema: Mapping[str, Any],
        max_tokens: int = 8192,
        temperature: float | None = None,
        timeout: float = 300.0,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError(
                "the endpoint's URL can't be used: expected something like https://host/v1, without a user, a password "
                "or a query. Give it with --base-url, and a key through the variable that --key-env names."
            )
        self._key = _key(key_env)
        self.model = model
        self.max_tokens = max_tokens
        self.parameters: Mapping[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
        self._schema = dict(schema)
        self._temperature = temperature
        self._where = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}, model {model}"
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise UsageError(
                f"writing through an endpoint needs the openai package: {install_line('write')}"
            ) from error
        self._client = AsyncOpenAI(base_url=base_url, api_key=self._key or "none", timeout=timeout, max_retries=0)

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, messages: Sequence[Message], mode: Mode) -> str:
        """Send one request and return the unmodified body of the reply, which `read_body` parses after it is stored.

        Raises Transient or Permanent.
        """
        return await self._send(messages, mode.limit, self.max_tokens, self._format(mode.output, self._schema))

    async def probe(self) -> Probe:
        """Find the strictest JSON mode that the endpoint supports, with a few short requests.

        A mode is supported if the reply obeys a tiny schema and the real one is accepted. Raises Transient or
        Permanent.
        """
        limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        tiny = {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}},
            "required": ["ready"],
            "additionalProperties": False,
        }
        messages = [{"role": "user", "content": 'Reply with this JSON object and nothing else: {"ready": true}'}]
        tokens = TokenUsage()
        last: Permanent | None = None
        for output in OUTPUTS:
            for name in (limit, "max_completion_tokens"):
                try:
                    body = await self._send(messages, name, 1024, self._format(output, tiny))
                    limit = "max_completion_tokens" if name == "max_completion_tokens" else "max_tokens"
                    tokens = tokens + count_body(body)
                    if output == "text":
                        return Probe(Mode(output="text", limit=limit), tokens)
                    with contextlib.suppress(BadContent):
                        reply = _json(read_body(body))
                        if isinstance(reply, dict) and (output == "json_object" or set(reply) == {"ready"}):
                            # 16 tokens are enough to see whether the real schema is accepted.
                            body = await self._send(messages, limit, 16, self._format(output, self._schema))
                            return Probe(Mode(output=output, limit=limit), tokens + count_body(body))
                    break
                except Permanent as error:
                    if error.every:
                        raise
                    last = error
                    if name == "max_completion_tokens" or "max_completion_tokens" not in str(error):
                        break
        raise last or Permanent(f"{self._where}: answered no probe", every=True)

    def _format(self, output: Output, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        if output == "json_schema":
            return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": dict(schema)}}
        return {"type": "json_object"} if output == "json_object" else None

    async def _send(
        self, messages: Sequence[Message], limit: str, tokens: int, response_format: dict[str, Any] | None
    ) -> str:
        create: Any = self._client.chat.completions.with_raw_response.create
        with self._classified():
            reply = await create(**self._body(messages, limit, tokens, response_format))
            return str(reply.text)

    def _body(
        self, messages: Sequence[Message], limit: str, tokens: int, response_format: dict[str, Any] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": [dict(message) for message in messages], limit: tokens}
        if self._temperature is not None:
            body["temperature"] = self._temperature
        if response_format is not None:
            body["response_format"] = response_format
        return body

    @contextlib.contextmanager
    def _classified(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise Transient(f"{self._where}: no reply in time") from error
        except openai.APIStatusError as error:
            raise self._of_status(error.status_code, error.response.headers, error.response.text) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = self._safe(str(cause) or type(cause).__name__)
            raise Transient(f"{self._where}: {reason}", connected=False) from error

    def _of_status(self, status: int, headers: Mapping[str, str], body: str) -> Transient | Permanent:
        message = f"{self._where}: HTTP {status}: {self._safe(body)}"
        if "insufficient_quota" in body or status in _FATAL_STATUSES:
            advice = "Check the key, the model's name, the URL and the account, then run the same command again."
            return Permanent(f"{message}. {advice}", every=True)
        if status in _RETRY_STATUSES or status >= 500:
            return Transient(message, _wait(headers))
        return Permanent(message, every=False)

    def _safe(self, text: str) -> str:
        """Shorten an endpoint's message to one line and remove the API key, which some endpoints repeat."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_MAX_MESSAGE]


def _json(text: str) -> Any:
    """Parse a text that is JSON as a whole; JSON inside other text doesn't show that the endpoint enforces it."""
    try:
        return json.loads(text)
    except ValueError:
        return find_object(text.rpartition("</think>")[2]) if "</think>" in text else None


def _key(name: str | None) -> str | None:
    key = os.environ.get(name or DEFAULT_KEY)
    if name is not None and not key:
        raise UsageError(
            f"the environment variable {name} is empty; expected the endpoint's key in it. Export it first."
        )
    return key or None


def _wait(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, which is a number of seconds or a date."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else 0.0
