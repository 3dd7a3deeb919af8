"""Small invented files in the forms in which the data sets are published, with what is odd about real ones.

Each writer puts the files of one benchmark into a folder and gives the split, and the ids that must come out, in order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ODD = 'What did she say, «"ja»", or 猫 “n°”?'


@dataclass(frozen=True)
class Written:
    """What a loader must find. file: the main one, below the folder."""

    split: str
    ids: tuple[str, ...]
    file: str


def as_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def as_lines(path: Path, values: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


def as_csv(path: Path, header: str, rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def video(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def egoschema(folder: Path) -> Written:
    ids = ("0074f737-11cb-497d-8d07-77c3a8127391", "001934bb-81bd-4cd8-a574-0472ef3f6678", "u3", "u4")
    items = [
        {"q_uid": name, "question": ODD if n == 1 else f"what does c do {n}?", "google_drive_id": "x"}
        | {f"option {k}": f"C does {k}, twice." for k in range(5)}
        for n, name in enumerate(ids)
    ]
    items[2]["option 1"] = items[2]["option 0"]
    as_json(folder / "questions.json", items)
    as_json(folder / "subset_answers.json", {ids[3]: 4, ids[1]: 2})
    video(folder, f"videos/{ids[0]}.mp4")
    return Written("full", ids, "questions.json")


NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"


def nextqa(folder: Path) -> Written:
    rows = [
        [4010069381, 369, 640, 480, "why does the boy run to the door", 3, 6, "CW", *"abcde"],
        [4010069381, 369, 640, 480, ODD, 0, 7, "TN", "wait, then go", "“non”", "小猫", 'say "no"', "x"],
        [77, 1, 1, 1, "how many", 1, 0, "DC", "two", "one", "two", "four", "five"],
        [77, 1, 1, 1, "where", "", 1, "DL", *"abcde"],
        [77, 1, 1, 1, "where", 7, 2, "DL", *"abcde"],
        [77, 1, 1, 1, "where", 0, 2, "DL", *"abcde"],
    ]
    as_csv(folder / "nextqa" / "val.csv", NEXTQA, rows)
    as_json(folder / "nextqa" / "map_vid_vidorID.json", {"4010069381": "1009/4010069381"})
    video(folder, "NExTVideo/1009/4010069381.mp4")
    return Written("val", ("4010069381_6", "4010069381_7", "77_0", "77_1", "77_2", "77_2#2"), "nextqa/val.csv")


def nextqa_open(folder: Path) -> Written:
    rows = [
        [4010069381, 369, 640, 480, "how do they play", "strum the string", 6, "CH"],
        [4010069381, 369, 640, 480, ODD, "wait, then “go”", 7, "TN"],
        [77, 1, 1, 1, "how many", "", 0, "DC"],
    ]
    as_csv(folder / "test.csv", "video,frame_count,width,height,question,answer,qid,type", rows)
    as_json(folder / "add_reference_answer_test.json", {"4010069381": {"6": "pluck it"}})
    return Written("test", ("4010069381_6", "4010069381_7", "77_0"), "test.csv")


def star_item(name: str, **changes: Any) -> dict[str, Any]:
    told = {
        "question_id": name,
        "question": "Which object was tidied up by the person?",
        "video_id": "6H78U",
        "start": 11.1,
        "end": 19.6,
        "answer": "The closet/cabinet.",
        "question_program": [{"function": "Situations", "value_input": []}],
        "choices": [
            {"choice_id": 2, "choice": "The closet/cabinet.", "choice_program": []},
            {"choice_id": 0, "choice": 'The "blanket", the café\'s.'},
            {"choice_id": 1, "choice": "The table."},
            {"choice_id": 3, "choice": "The clothes."},
        ],
        "situations": {"000263": {"rel_pairs": [["o000", "o001"]], "bbox": [1.5e-3, 2, None, True]}},
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not ...}


def star(folder: Path) -> Written:
    twice = [
        {"choice_id": n, "choice": text} for n, text in enumerate(["The bag.", "The bag.", "The bed.", "The mat."])
    ]
    items = [
        star_item("Interaction_T1_13"),
        star_item("Sequence_T3_2", choices=twice, answer="The bag."),
        star_item("Prediction_T1_0", answer=..., video_id="other"),
        star_item("Feasibility_T2_5", answer="The moon."),
        star_item("Feasibility_T2_6", start=5.0, end=5.0),
    ]
    as_json(folder / "STAR_val.json", items)
    video(folder, "Charades_v1_480/6H78U.mp4")
    return Written("val", tuple(item["question_id"] for item in items), "STAR_val.json")


def tvqa_line(name: int, **changes: Any) -> dict[str, Any]:
    told = {f"a{n}": f"option {n}" for n in range(5)} | {
        "answer_idx": 4,
        "q": ODD,
        "qid": name,
        "show_name": "How I Met You Mother",
        "ts": "1.21-8.49",
        "vid_name": "met_s06e22_seg01_clip_02",
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not ...}


def tvqa(folder: Path) -> Written:
    lines = [
        tvqa_line(7),
        tvqa_line(8, ts="nan-nan", vid_name="s01e02_seg01_clip_00", show_name="The Big Bang Theory"),
        tvqa_line(9, a1="option 0", vid_name="castle_s01"),
        tvqa_line(10, ts="nan-8.5", answer_idx=..., vid_name="gone"),
        tvqa_line(11, ts="8.5-8.5"),
    ]
    as_lines(folder / "tvqa_val.jsonl", lines)
    video(folder, "frames_hq/met_frames/met_s06e22_seg01_clip_02/00001.jpg")
    video(folder, "frames_hq/bbt_frames/s01e02_seg01_clip_00/00001.jpg")
    video(folder, "castle_s01.mp4")
    video(folder, "tvqa_subtitles/castle_s01.srt")
    return Written("val", tuple(str(line["qid"]) for line in lines), "tvqa_val.jsonl")


def mvbench(folder: Path) -> Written:
    from topa.evals.datasets.mvbench import TASKS

    for task in TASKS:
        item = {"video": "a.mp4", "question": f"{task}?", "candidates": ["yes", "no"], "answer": "no"}
        item |= {"start": 3.0, "end": 7.5, "fps": 3.0, "accurate_start": 4, "accurate_end": 5}
        again = {"video": "clip_00", "question": ODD, "candidates": ["3", "4", "3"], "answer": "4"}
        as_json(folder / "json" / f"{task}.json", [item, again])
    video(folder, "video/star/Charades_v1_480/a.mp4")
    video(folder, "tvqa/frames_fps3_hq/clip_00/00001.jpg")
    return Written("test", tuple(f"{task}_{n}" for task in TASKS for n in range(2)), "json/action_count.json")


def msrvtt_captions(folder: Path) -> Written:
    names = ("video7010", "video7012", "video7011")
    videos = [
        {"video_id": n, "id": int(n[5:]), "category": 3, "split": "test", "start time": 1.5, "end time": 9, "url": "x"}
        for n in names
    ]
    sentences = [
        {"caption": f"{name} {k}: {ODD}", "video_id": name, "sen_id": k} for k in range(3) for name in names[:2]
    ]
    as_json(folder / "test_videodatainfo.json", {"info": {}, "videos": videos, "sentences": sentences})
    video(folder, "TestVideo/video7012.mp4")
    return Written("test", names, "test_videodatainfo.json")


def vatex_captions(folder: Path) -> Written:
    names = ("-_aaMGK6GGw_000057_000067", "x_y_000000_000010")
    items = [{"videoID": name, "enCap": [ODD, "A man, walking."], "chCap": ["一"]} for name in names]
    as_json(folder / "vatex_validation_v1.0.json", [*items, {"videoID": "z_000001_000011"}])
    return Written("val", (*names, "z_000001_000011"), "vatex_validation_v1.0.json")


def videomme_rows() -> list[dict[str, Any]]:
    told = {
        "video_id": "001",
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
        "url": "x",
        "videoID": "fFjv93ACGo8",
        "task_type": "Counting Problem",
        "question": ODD,
        "options": ["A. Apples.", "B. Candles, red.", "C. Berries.", "D. The three kinds are of the same number."],
        "answer": "C",
    }
    return [
        {**told, "question_id": "001-1"},
        {**told, "question_id": "001-2", "options": ["A. x", "B. x", "C. C. difficile", "D. y"], "answer": "A"},
        {**told, "question_id": "002-1", "options": ["one", "B. two", "three", "four"], "videoID": "o", "answer": None},
        {**told, "question_id": "002-2", "videoID": "o", "answer": "E", "duration": "long"},
    ]


def videomme(folder: Path) -> Written:
    as_json(folder / "Video-MME.json", videomme_rows())
    video(folder, "data/fFjv93ACGo8.mp4")
    video(folder, "subtitle/fFjv93ACGo8.srt")
    return Written("test", tuple(row["question_id"] for row in videomme_rows()), "Video-MME.json")


def perception(folder: Path) -> Written:
    def asked(number: int, **changes: Any) -> dict[str, Any]:
        told = {"id": number, "question": ODD, "options": ["one", "two, or", "three"], "answer_id": 2}
        told |= {"area": "Physics", "reasoning": "Predictive", "tag": ["motion", "collision"]}
        return {key: value for key, value in {**told, **changes}.items() if value is not ...}

    questions = {
        "video_10909": {"metadata": {"split": "valid"}, "mc_question": [asked(0), asked(3, area="Memory")]},
        "video_2": {"metadata": {}, "mc_question": []},
        "video_1": {"metadata": {}, "mc_question": [asked(0, answer_id=...), asked(1, options=["a", "a", "b"])]},
    }
    as_json(folder / "mc_question_valid.json", questions)
    video(folder, "videos/video_1.mp4")
    return Written("valid", ("video_10909_0", "video_10909_3", "video_1_0", "video_1_1"), "mc_question_valid.json")


def intentqa(folder: Path) -> Written:
    rows = [
        [13884124143, 853, 640, 360, "how did he manage", 4, 1, "CH", *"abcde", "left", "leave", 130],
        [7093500213, 1110, 640, 360, ODD, 1, 6, "TP", "a, b", "c", "d", "e", "f", "walking", "walk", 159],
        [7093500213, 1110, 640, 360, "why", 1, 7, "CW", "", "c", "d", "e", "f", "walking", "walk", 159],
    ]
    as_csv(folder / "test.csv", NEXTQA.replace("video,", "video_id,") + ",action,lemma,lemma_id", rows)
    return Written("test", ("13884124143_1", "7093500213_6", "7093500213_7"), "test.csv")


def activitynet_qa(folder: Path) -> Written:
    ids = ("v_PLqTX6ij52U_0", "v_PLqTX6ij52U_1", "v_x_0")
    questions = [{"video_name": n[2:-2], "question": ODD, "question_id": n} for n in ids]
    answers = [{"answer": "yes", "type": 3, "question_id": ids[1]}, {"answer": "7", "type": 7, "question_id": ids[0]}]
    as_json(folder / "dataset" / "test_q.json", questions)
    as_json(folder / "dataset" / "test_a.json", answers)
    video(folder, "all_test/v_x.mkv")
    return Written("test", ids, "dataset/test_q.json")


def msvd_qa(folder: Path) -> Written:
    items = [
        {"answer": "man", "category_id": 0, "id": 40932, "question": "who is talking, «sir»?", "video_id": 1451},
        {"category_id": 0, "id": 40933, "question": "What does it do?", "video_id": 1451, "answer": ""},
        {"answer": "two", "category_id": 0, "id": 40934, "question": "which ones", "video_id": 1452},
    ]
    as_json(folder / "test_qa.json", items)
    (folder / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15 vid1451\n-7KMZQEsJW4_205_208 vid1452\n")
    video(folder, "YouTubeClips/-4wsuPCjDBc_5_15.avi")
    return Written("test", ("40932", "40933", "40934"), "test_qa.json")


def msrvtt_qa(folder: Path) -> Written:
    rows = [
        [7010, "what is the video doing", "regard", 170859, 10],
        [7010, 'who says "stop, now"', "guy", 170860, 10],
        [7011, "how many 猫", "", 170861, 9],
    ]
    as_csv(folder / "test.csv", "video_id,question,answer,qid,type", rows)
    video(folder, "TestVideo/video7010.mp4")
    return Written("test", ("170859", "170860", "170861"), "test.csv")


def own(folder: Path) -> Written:
    lines = [
        {"video": "a.mp4", "question": ODD, "options": ["red", "blue"], "answer": "B", "id": 7},
        {"video": "in/b.mp4", "question": "what?", "answer": "a cat, grey", "start": 1, "end": 2.5},
        {"video": "a.mp4", "question": "which?", "options": ["red", "red", "blue"], "answer": "red"},
    ]
    as_lines(folder / "questions.jsonl", lines)
    return Written("all", ("7", "line-2", "line-3"), "questions.jsonl")


WRITERS: dict[str, Callable[[Path], Written]] = {
    "egoschema": egoschema,
    "nextqa": nextqa,
    "nextqa-open": nextqa_open,
    "star": star,
    "tvqa": tvqa,
    "mvbench": mvbench,
    "msrvtt-captions": msrvtt_captions,
    "vatex-captions": vatex_captions,
    "videomme": videomme,
    "perception": perception,
    "intentqa": intentqa,
    "activitynet-qa": activitynet_qa,
    "msvd-qa": msvd_qa,
    "msrvtt-qa": msrvtt_qa,
    "own": own,
}
