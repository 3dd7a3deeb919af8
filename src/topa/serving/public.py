"""Messages of errors as clients may read them: they name files, and say nothing of where on the server these lie."""

from __future__ import annotations

import re

# A slash that begins a path: not inside a word (mp4/mkv), a relative path or a URL. Folders may have spaces, quotes and
# colons in their names, as long as these don't look like the sentence's own. The API's paths stay.
_PATH = re.compile(
    r"""(?: \bfile:/+ | (?<![\w./\]~*:-])/+ | (?<=:)/(?!/) ) (?! v1\b | \s | / )
        (?: (?: [^/\n:'"] | :(?!\s) | ['"](?=\w) )* [^/\s:='"([{] /+ )*""",
    re.VERBOSE | re.IGNORECASE,
)


def public(message: str) -> str:
    """A message in which each absolute path has become its last part."""
    return _PATH.sub(_last, message)


def _last(found: re.Match[str]) -> str:
    """Nothing, where the name of a file follows; the last folder, where the path ends with a slash."""
    behind = found.string[found.end() : found.end() + 1]
    if behind and not behind.isspace() and behind not in "'\":;,)":
        return ""
    return found[0].rstrip("/").rpartition("/")[2]
