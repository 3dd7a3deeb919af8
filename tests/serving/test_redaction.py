"""Messages say which file, and not where it lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.serving.redaction import redact

PART = st.text(st.characters(codec="utf-8", exclude_characters="/\n\0", exclude_categories=["Cs"]), min_size=1)
NAMED = st.from_regex(r"dir_([a-z0-9é._()@+,-]|['\"]\w){0,12}( [a-z0-9(.-]{1,8}){0,2}[a-z0-9]", fullmatch=True)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("/tmp/uploads-x/7/vid_0: found a video of 9 s", "vid_0: found a video of 9 s"),
        ("see '/home/ann/My Videos/a party.mp4' and \"/var/log/x\"", "see 'a party.mp4' and \"x\""),
        ("/home/ann's/b:c (2020)/x.mp4: bad", "x.mp4: bad"),
        ("[Errno 2] No such file or directory: '/a/b/c'", "[Errno 2] No such file or directory: 'c'"),
        ("/tmp/a.mp4 and /var/log/x", "a.mp4 and x"),
        ("//tmp//a.mp4, (/a/b)", "a.mp4, (b)"),
        ("/tmp/uploads-1/: full", "uploads-1: full"),
        ("/tmp/uploads-1/", "uploads-1"),
        ("path=/a/b.mp4 PATH:/usr/bin/x", "path=b.mp4 PATH:x"),
        ("file:///etc/passwd file:/etc/shadow", "passwd shadow"),
        ("{'path': '/a/b'}\n/c/d", "{'path': 'b'}\nd"),
        ("/é/ü/ñ.mp4", "ñ.mp4"),
    ],
)
def test_paths_become_their_last_part(message, expected) -> None:
    assert redact(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        "found mp4/mkv of 16/9, 30 frames/s; expected video/mp4 and/or more",
        "fetched http://host/a/b.mp4 and https://[::1]/x/y?z=q",
        "Send it to POST /v1/videos, or ask GET /v1/videos/vid_0.",
        "a / b, found 3 / 4",
        "",
    ],
)
def test_what_is_no_path_stays(message) -> None:
    assert redact(message) == message


@given(st.lists(NAMED, min_size=1, max_size=4), st.sampled_from(["{}: found it", "at '{}'.", "in {}, found x", "{}"]))
def test_no_folder_is_told(folders, sentence) -> None:
    told = redact(sentence.format("/" + "/".join([*folders, "video.mp4"])))
    assert told == sentence.format("video.mp4")


@given(PART)
def test_any_text_is_taken(text) -> None:
    assert len(redact(text)) <= len(text)
