"""What a chat asks: its question and its video, from messages as OpenAI's clients send them."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import RequestError
from .schemas import MAX_QUESTION, ChatMessage, TextPart, VideoPart


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """What a chat asks. video: a reference. question: None for a caption. warnings: what of the chat isn't read."""

    video: str
    question: str | None
    warnings: tuple[str, ...]


def question_of(messages: list[ChatMessage]) -> ChatQuestion:
    """Return the question of the last message of the user, and the video of the last message that has one.

    Raises RequestError where there is no message of the user, no video, or several at once, or the question is too
    long.
    """
    last = next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), None)
    if last is None:
        raise RequestError(
            "messages: found none of the user; expected one with the question.", code="invalid_value", param="messages"
        )
    question = "\n".join(_texts(messages[last])).strip()
    if len(question) > MAX_QUESTION:
        raise RequestError(
            f"messages: found a question of {len(question)} characters; expected at most {MAX_QUESTION}. Shorten it.",
            code="invalid_value",
            param=f"messages.{last}.content",
        )
    return ChatQuestion(_video(messages), question or None, _warnings(messages, last))


def _texts(message: ChatMessage) -> list[str]:
    if message.content is None or isinstance(message.content, str):
        return [message.content or ""]
    return [part.text for part in message.content if isinstance(part, TextPart)]


def _video(messages: list[ChatMessage]) -> str:
    for number, message in reversed(list(enumerate(messages))):
        parts = message.content if isinstance(message.content, list) else []
        videos = [part.video_url.url for part in parts if isinstance(part, VideoPart)]
        if len(videos) > 1:
            raise RequestError(
                f"messages: found {len(videos)} videos in one; expected one video. Ask about them one by one.",
                code="invalid_value",
                param=f"messages.{number}.content",
            )
        if videos:
            return videos[0]
    raise RequestError(
        "messages: found no video; expected a part "
        '{"type": "video_url", "video_url": {"url": ..}} with an id, a data URI or an address. Add one.',
        code="no_video",
        param="messages",
    )


def _warnings(messages: list[ChatMessage], last: int) -> tuple[str, ...]:
    """Return what the user should know of the messages that aren't read: all but the last one of the user."""
    roles = {message.role for number, message in enumerate(messages) if number != last and any(_texts(message))}
    warnings = []
    if roles & {"system", "developer"}:
        warnings.append("system messages aren't read: the model knows the question and the video alone")
    if roles - {"system", "developer"}:
        warnings.append("other messages than the last one of the user aren't read: the model has no memory of a talk")
    return tuple(warnings)
