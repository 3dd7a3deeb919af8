"""NExT-QA's CSV: invented rows in the published form, with what is odd about real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals import questions
from topa.evals.datasets.nextqa import MAP
from topa.evals.questions import UnfitQuestion, VideoQuestion
from topa.tideos.tideo import Question

HEADER = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "train.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_rows_with_commas_quotes_and_unicode(tmp_path):
    path = table(
        tmp_path,
        "4010069381,369,640,480,why does the boy run to the door,3,6,CW,to eat,to sit,is tired,hears a bell,to sing",
        '77,10,1,1,"what does the man say, ""stop""?",0,12,TN,"wait, then go",“non”,小猫,a cat’s toy,"say ""no"""',
    )
    first, second = questions.read("nextqa", path, tmp_path)
    assert first == VideoQuestion(
        "4010069381_6",
        tmp_path / "4010069381.mp4",
        Question(
            question="why does the boy run to the door",
            kind="CW",
            options=("to eat", "to sit", "is tired", "hears a bell", "to sing"),
            answer=3,
        ),
    )
    assert second.id == "77_12"
    assert second.question.question == 'what does the man say, "stop"?'
    assert second.question.options == ("wait, then go", "“non”", "小猫", "a cat’s toy", 'say "no"')


def test_what_cannot_be_asked_is_named(tmp_path):
    rows = ["1,1,1,1,q,0,0,CW,a,b,a ,d,e", "1,1,1,1,q,0,1,CW,a,,c,d,e", "1,1,1,1,q,5,2,CW,a,b,c,d,e"]
    rows += ["1,1,1,1, ,0,3,CW,a,b,c,d,e", "1,1,1,1,q,,4,DL,a,b,c,d,e"]
    *unfit, asked = questions.read("nextqa", table(tmp_path, *rows), tmp_path)
    assert unfit == [
        UnfitQuestion("1_0", "1.mp4", "options repeat", "a"),
        UnfitQuestion("1_1", "1.mp4", "an option is empty"),
        UnfitQuestion("1_2", "1.mp4", "the answer is none of the options", "5 of 5"),
        UnfitQuestion("1_3", "1.mp4", "the question is empty"),
    ]
    assert (asked.question.answer, asked.question.kind) == (None, "DL")


@pytest.mark.parametrize("place", ["NExTVideo/1009/77.mp4", "1009/77.mp4", "77.mp4"])
def test_the_map_says_where_a_video_is(tmp_path, place):
    path = table(tmp_path, "77,1,1,1,q,0,0,CW,a,b,c,d,e")
    videos = tmp_path / "videos"
    (videos / place).parent.mkdir(parents=True)
    (videos / place).touch()
    (tmp_path / MAP).write_text(json.dumps({"77": "1009/77", "78": "1/78"}))
    (asked,) = questions.read("nextqa", path, videos)
    assert asked.video == videos / place


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    videos = tmp_path / "in" / "videos"
    videos.mkdir(parents=True)
    for outside in (tmp_path / "in" / "secret.mp4", tmp_path / "secret.mp4"):
        outside.touch()
    (videos / MAP).write_text(json.dumps({"77": "../secret", "78": str(tmp_path / "secret")}))
    rows = [f"{name},1,1,1,q,0,0,CW,a,b,c,d,e" for name in ("77", "78", "../secret")]
    assert [q.video for q in questions.read("nextqa", table(tmp_path, *rows), videos)] == [
        videos / "77.mp4",
        videos / "78.mp4",
        videos / "secret.mp4",
    ]


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        (HEADER.replace(",qid", ",id"), "1,1,1,1,q,0,0,CW,a,b,c,d,e", "line 1: found no column qid"),
        (HEADER, "1,1,1,1,q,0,0,CW,a,b", "line 2: found 10 columns; expected 13"),
        (HEADER, "1,1,1,1,q,hears a bell,0,CW,a,b,c,d,e", "line 2: found the answer 'hears a bell'; expected a number"),
        (HEADER, '1,1,1,1,"q,0,0,CW,a,b,c,d,e', "malformed CSV"),
    ],
)
def test_another_file_is_refused(tmp_path, header, row, words):
    with pytest.raises(InputError, match=words):
        list(questions.read("nextqa", table(tmp_path, row, header=header), tmp_path))


def test_a_map_that_is_none(tmp_path):
    (tmp_path / MAP).write_text("{")
    with pytest.raises(InputError, match=rf"{MAP}: can't be read"):
        list(questions.read("nextqa", table(tmp_path, "1,1,1,1,q,0,0,CW,a,b,c,d,e"), tmp_path))
