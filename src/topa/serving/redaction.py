"""Error messages as clients may read them: they name files, but not where on the server these are."""

from __future__ import annotations

import re

# A slash that begins a path: not inside a word (mp4/mkv), a relative path or a URL. Folders may have spaces, quotes and
# colons in their names, as long as these don't look like the sentence's own. The API's paths stay.
_PATH = re.compile(
    r"""(?: \bfile:/+ | (?<![\w./\]~*:-])/+ | (?<=:)/(?!/) ) (?! (?: v1 | openapi\.json )\b | \s | / )
        (?: (?: [^/\n:'"] | :(?!\s) | ['"](?=\w) )* [^/\s:='"([{] /+ )*""",
    re.VERBOSE | re.IGNORECASE,
)


def redact(message: str) -> str:
    """Return a message with each absolute path shortened to its last part."""
    return _PATH.sub(_last_part, message)


def _last_part(match: re.Match[str]) -> str:
    """Return nothing where a file's name follows, and the last folder where the path ends with a slash."""
    following = match.string[match.end() : match.end() + 1]
    if following and not following.isspace() and following not in "'\":;,)":
        return ""
    return match[0].rstrip("/").rpartition("/")[2]
