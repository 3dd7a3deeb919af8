"""Subtitles: what is said in a video, and when. Reads `.srt` and `.vtt` files as they are found in the wild.

What is read of a cue is its two time stamps and its words: tags of fonts, colours, voices and positions are left out.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError

WORDS = 120
"""Most words of subtitles that are read with one question."""
_KINDS = (".srt", ".vtt")
_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_CUE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?")
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}|\{/?[biusyBIUSY]\}")
_NOTES = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Cue:
    """Words on the screen from `start` to `end`, in seconds. text: one line, without tags; never empty."""

    start: float
    end: float
    text: str


def read_subtitles(path: str | Path) -> tuple[Cue, ...]:
    """Read the cues of a `.srt` or `.vtt` file, by their start; cues without words are left out.

    UTF-8 and UTF-16, with or without a byte order mark; other bytes are read as Latin-1. Raises InputError where there
    is no file, or a cue's time stamps can't be understood, with its line.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); expected subtitles. Look at the path.") from error
    lines = _text(raw).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cues = [cue for cue in _cues(lines, path) if cue.text]
    empty = lines[0].startswith("WEBVTT") or not any(line.strip() for line in lines)
    if not empty and not any("-->" in line for line in lines):
        raise InputError(f"{path}: found no time stamps; expected subtitles (.srt or .vtt). Give another file.")
    return tuple(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def subtitle_text(
    cues: Sequence[Cue], times: Sequence[float] | None = None, *, start: float | None = None, end: float | None = None
) -> str:
    """Return the words at some times, or in a part of the video: each cue once, in order, joined by blanks.

    times: seconds of frames. start, end: of the part; None for the video's own. A cue is on the screen from its start
    to its end; one that only touches the part doesn't count. With neither, everything.
    """
    if times is not None:
        cues_in_range = [cue for cue in cues if any(cue.start <= time < cue.end or time == cue.start for time in times)]
    else:
        first, last = start or 0.0, float("inf") if end is None else end
        cues_in_range = [cue for cue in cues if cue.start < last and (cue.end > first or cue.start == cue.end == first)]
    # Karaoke and live captions repeat what stands there already.
    return " ".join(cue.text for n, cue in enumerate(cues_in_range) if not n or cue.text != cues_in_range[n - 1].text)


def subtitle_excerpt(
    cues: Sequence[Cue], times: Sequence[float] | None = None, *, start: float | None = None, end: float | None = None
) -> str:
    """Return the first `WORDS` words of `subtitle_text`, which a model reads beside a question."""
    return " ".join(subtitle_text(cues, times, start=start, end=end).split()[:WORDS])


def find_subtitles(video: str | Path) -> Path | None:
    """The subtitles beside a video: NAME.srt or NAME.vtt for NAME.mp4, else the first NAME.LANGUAGE.srt (or .vtt) of
    the alphabet; None where there are none. Upper and lower case in the ending make no difference."""
    video = Path(video)
    stem = video.stem + "."
    try:
        beside = sorted(video.parent.iterdir())
    except OSError:
        return None
    own = [p for p in beside if p.suffix.lower() in _KINDS and p.name.startswith(stem) and p.is_file()]
    # "a.en.srt" is of a.mp4; "a.part 2.srt", where there is a "a.part 2.mp4", is of that one.
    others = {p.stem for p in beside if p.suffix.lower() not in _KINDS and p != video}
    own = [p for p in own if p.stem == video.stem or (p.stem.count(".") == stem.count(".") and p.stem not in others)]
    return min(own, key=lambda p: (p.stem != video.stem, p.stem, _KINDS.index(p.suffix.lower())), default=None)


def _text(raw: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if encoding is None and b"\0" in raw[:256]:
        encoding = "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    for name in (encoding, "utf-8", "latin-1"):
        if name is not None:
            try:
                return raw.decode(name)
            except UnicodeDecodeError:
                continue
    raise AssertionError("unreachable: every byte is Latin-1")


def _cues(lines: Sequence[str], path: Path) -> list[Cue]:
    cues: list[Cue] = []
    words: list[str] | None = None
    span: tuple[float, float] | None = None
    note = False

    def close() -> None:
        if span is not None and words is not None:
            cues.append(Cue(*span, " ".join(" ".join(words).split())))

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            close()
            words, span, note = None, None, False
        elif note or (span is None and _NOTES.match(line)):
            note = True
        elif "-->" in line and (match := _CUE.fullmatch(line)) is not None:
            if words:
                # No empty line before it: what stands above is the number of this cue.
                words = words[:-1] if words[-1].strip().isdecimal() else words
            close()
            span, words = _span(match), []
            if span[1] < span[0]:
                raise _malformed(path, number, line, "an end that isn't before its start")
        elif "-->" in line and span is None:
            raise _malformed(path, number, line, "00:01:02,500 --> 00:01:04,000")
        elif words is not None:
            words.append(_bare(line))
    close()
    return cues


def _span(match: re.Match[str]) -> tuple[float, float]:
    parts = match.groups()
    return _seconds(*parts[:4]), _seconds(*parts[4:])


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + (int(fraction) / 10 ** len(fraction) if fraction else 0.0)


def _bare(line: str) -> str:
    return html.unescape(_TAG.sub("", line)).replace("\u200b", "").replace("\N{NO-BREAK SPACE}", " ")


def _malformed(path: Path, number: int, line: str, expected: str) -> InputError:
    text = " ".join(line.split())[:100]
    return InputError(
        f"{path}, line {number}: found {text!r}; expected {expected}. Correct the line or remove the cue."
    )
