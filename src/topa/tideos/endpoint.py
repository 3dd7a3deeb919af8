"""The writer behind any endpoint that speaks OpenAI's protocol."""

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
    Counted,
    Message,
    Mode,
    Output,
    Permanent,
    Probe,
    Transient,
    count_body,
    read_body,
)

DEFAULT_KEY = "OPENAI_API_KEY"
_SAID = 300  # characters of an endpoint's own words that are passed on
_STOPS = (401, 402, 403, 404, 405)  # nothing that is asked can succeed until the user changes something
_AGAIN = (408, 409, 425, 429)
_WAIT = 3600.0  # seconds; the longest Retry-After that is believed


class Endpoint:
    """A model behind a base URL. Opened and used inside one event loop; an async context manager.

    `max_tokens`: the length of a reply, 1 or more. `timeout`: seconds for one request. `temperature`: None leaves it
    to the endpoint. Raises UsageError for a URL or a key's variable that can't be meant.
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
        """Send one request: the body of the reply as it came.

        Raises Transient or Permanent. The body isn't looked into: that is `read_body`'s work, after it was kept.
        """
        return await self._send(messages, mode.limit, self.max_tokens, self._format(mode.output, self._schema))

    async def probe(self) -> Probe:
        """Find the strictest way in which this endpoint can be held to JSON, with a few short requests.

        A way counts when a tiny schema is obeyed and the real one isn't refused. Raises Transient or Permanent.
        """
        limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        tiny = {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}},
            "required": ["ready"],
            "additionalProperties": False,
        }
        asked = [{"role": "user", "content": 'Reply with this JSON object and nothing else: {"ready": true}'}]
        tokens = Counted()
        last: Permanent | None = None
        for output in OUTPUTS:
            for name in (limit, "max_completion_tokens"):
                try:
                    body = await self._send(asked, name, 1024, self._format(output, tiny))
                    limit = "max_completion_tokens" if name == "max_completion_tokens" else "max_tokens"
                    tokens = tokens + count_body(body)
                    if output == "text":
                        return Probe(Mode(output="text", limit=limit), tokens)
                    with contextlib.suppress(BadContent):
                        found = _json(read_body(body))
                        if isinstance(found, dict) and (output == "json_object" or set(found) == {"ready"}):
                            # 16 tokens are enough to learn whether the real schema is accepted.
                            body = await self._send(asked, limit, 16, self._format(output, self._schema))
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
        said = f"{self._where}: HTTP {status}: {self._safe(body)}"
        if "insufficient_quota" in body or status in _STOPS:
            advice = "Check the key, the model's name, the URL and the account, then run the same command again."
            return Permanent(f"{said}. {advice}", every=True)
        if status in _AGAIN or status >= 500:
            return Transient(said, _wait(headers))
        return Permanent(said, every=False)

    def _safe(self, text: str) -> str:
        """An endpoint's own words, short, on one line, and without the key that some of them repeat."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_SAID]


def _json(text: str) -> Any:
    """A text that is JSON as a whole; what merely holds some doesn't show that the endpoint is held to it."""
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
    """Seconds of a Retry-After, which is a number of seconds or a date."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _WAIT) if seconds == seconds else 0.0
