"""Subtitles as they are found: both forms, encodings, tags, and what is subtitle_text when."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.core.errors import InputError
from topa.features.subtitles import WORDS, Cue, find_subtitles, read_subtitles, subtitle_excerpt, subtitle_text

SRT = """1
00:00:01,500 --> 00:00:04,000
<font color="#ffffff">Hello, <b>dear</b> friend.</font>
- Déjà vu?

2
01:02:03,250 --> 01:02:05,1
{\\an8}<i>Rain falls.</i>

3
00:00:05,000 --> 00:00:06,000

4
00:00:03,000 --> 00:00:05,500
5 < 6 &amp; tea
"""
CUES = (
    Cue(1.5, 4.0, "Hello, dear friend. - Déjà vu?"),
    Cue(3.0, 5.5, "5 < 6 & tea"),
    Cue(3723.25, 3725.1, "Rain falls."),
)


def written(folder: Path, text: str | bytes, name: str = "a.srt", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_srt_in_every_encoding(tmp_path, encoding, ending) -> None:
    assert read_subtitles(written(tmp_path, SRT.replace("\n", ending), encoding=encoding)) == CUES


def test_vtt(tmp_path) -> None:
    text = (
        "WEBVTT - a title\nKind: captions\n\nNOTE 00:00 --> is no cue\nin a note\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.500 --> 00:04.000 align:start position:0%\n<v Ann>Hello</v> <00:00:02.000><c.loud>there</c>\n\n"
        "01:00:00.000 --> 01:00:01.000\nLater&nbsp;on\n"
    )
    found = read_subtitles(written(tmp_path, text, "a.vtt"))
    assert found == (Cue(1.5, 4.0, "Hello there"), Cue(3600.0, 3601.0, "Later on"))
    assert read_subtitles(written(tmp_path, "WEBVTT\n", "b.vtt")) == ()


def test_cues_without_an_empty_line_between_them(tmp_path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:02,000 --> 00:00:03,000\ntwo\n42\n"
    assert read_subtitles(written(tmp_path, text)) == (Cue(1.0, 2.0, "one"), Cue(2.0, 3.0, "two 42"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\n00:00:01,000 --> soon\nx\n", "line 2: found '00:00:01,000 --> soon'; expected 00:01:02,500 -->"),
        ("1\n00:00:01,000 --> 00:00:02,000\nx\n\n2\n00:00:09 -> 3 --> x\ny\n", "line 6: found"),
        ("1\n00:00:05,000 --> 00:00:02,000\nx\n", "line 2: .* expected an end that isn't before its start"),
        ("just a text\n", "found no time stamps; expected subtitles"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, text, told) -> None:
    with pytest.raises(InputError, match=f"a.srt.*{told}"):
        read_subtitles(written(tmp_path, text))


def test_no_file_and_an_empty_one(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone.srt: can't be read .*; expected subtitles"):
        read_subtitles(tmp_path / "gone.srt")
    assert read_subtitles(written(tmp_path, "\n")) == ()


def test_what_is_said() -> None:
    assert subtitle_text(CUES) == "Hello, dear friend. - Déjà vu? 5 < 6 & tea Rain falls."
    assert subtitle_text(CUES, start=0.0, end=1.5) == ""
    assert subtitle_text(CUES, start=4.0, end=10.0) == "5 < 6 & tea"
    assert subtitle_text(CUES, end=3.5) == "Hello, dear friend. - Déjà vu? 5 < 6 & tea"
    assert subtitle_text(CUES, start=100.0) == "Rain falls."
    assert subtitle_text(CUES, [3.2, 3.4]) == "Hello, dear friend. - Déjà vu? 5 < 6 & tea"
    assert subtitle_text(CUES, [0.0, 4.0]) == "5 < 6 & tea"
    assert subtitle_text(CUES, []) == ""
    assert subtitle_text([Cue(0, 1, "a"), Cue(1, 2, "a"), Cue(2, 3, "b"), Cue(3, 4, "a")]) == "a b a"


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)), max_size=20))
def test_written_cues_are_read_back(tmp_path_factory, spans) -> None:
    def stamp(ms: int) -> str:
        return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    text = "".join(f"{n}\n{stamp(a)} --> {stamp(a + d)}\ncue {n}\n\n" for n, (a, d) in enumerate(spans))
    found = read_subtitles(written(tmp_path_factory.mktemp("srt"), text + "\n"))
    expected = sorted((a / 1000, (a + d) / 1000) for a, d in spans)
    assert [(cue.start, cue.end) for cue in found] == [pytest.approx(span) for span in expected]
    for cue in found:
        assert cue.text in subtitle_text(found, start=cue.start, end=cue.end + 0.001)


def test_subtitles_beside_a_video(tmp_path):
    video = tmp_path / "a.mp4"
    assert find_subtitles(video) is None
    assert find_subtitles(tmp_path / "nowhere" / "a.mp4") is None
    for name in ("b.srt", "ab.srt", "a.mp4", "a.txt", "a.part 2.mp4", "a.part 2.srt", "a.b.en.srt"):
        (tmp_path / name).touch()
    assert find_subtitles(video) is None
    assert find_subtitles(tmp_path / "a.part 2.mp4") == tmp_path / "a.part 2.srt"
    for name in ("a.fr.vtt", "a.en.vtt", "a.en.srt", "a.VTT", "a.srt"):
        (tmp_path / name).touch()
    for expected in ("a.srt", "a.VTT", "a.en.srt", "a.en.vtt", "a.fr.vtt"):
        found = find_subtitles(video)
        assert found == tmp_path / expected
        found.unlink()


def test_a_model_is_told_so_many_words():
    cues = [Cue(n, n + 1, f"word {n}") for n in range(100)]
    assert subtitle_excerpt(cues, [0.0, 2.5]) == "word 0 word 2"
    assert subtitle_excerpt(cues, start=1, end=3) == "word 1 word 2"
    assert subtitle_excerpt(cues).split() == [w for n in range(WORDS // 2) for w in ("word", str(n))]
