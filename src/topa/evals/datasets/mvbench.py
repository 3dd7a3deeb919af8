"""MVBench: 20 JSON lists in `json/`, one for each task.

Source: Li et al., CVPR 2024; huggingface.co/datasets/OpenGVLab/MVBench (under MIT). The videos come from eleven data
sets, each under its own terms; those of fine_grained_pose (NTU RGB+D) are not redistributed. 20 x 200 questions. Of
each item:

    video        a file, or a folder of frames, in the folder of the task
    question     text
    candidates   2 to 5 texts
    answer       the text of the right one
    start, end   seconds, in five of the tasks: the question is about this part
    fps          of a folder of frames

Files are looked for in `json/`, videos in `video/` and its folders as published, those folders themselves, and `data`.
An id is the task and the place in its list, from 0. The task is the question's kind; papers report each, and the mean
over all questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, items, located
from ..published import choice
from ..submissions import mvbench

FPS = 3.0
"""Of folders of frames that don't say otherwise."""
_CHARADES, _CLEVRER, _PERCEPTION = "star/Charades_v1_480", "clevrer/video_validation", "perception/videos"
_PARTS = ("action_sequence", "action_prediction", "object_interaction", "action_localization", "episodic_reasoning")
_FRAMES = "episodic_reasoning"
TASKS = {
    "action_sequence": _CHARADES,
    "action_prediction": _CHARADES,
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": _CLEVRER,
    "object_interaction": _CHARADES,
    "object_shuffle": _PERCEPTION,
    "moving_direction": _CLEVRER,
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": _PERCEPTION,
    "moving_count": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "state_change": _PERCEPTION,
    "fine_grained_pose": "nturgbd",
    "character_order": _PERCEPTION,
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "counterfactual_inference": _CLEVRER,
}
"""The tasks in the order of the paper, and where their videos lie."""

_Value = str | int | float


class _MvbenchQuestion(Struct, gc=False):
    video: str
    question: str
    candidates: list[_Value]
    answer: _Value | None = None
    start: float | None = None
    end: float | None = None
    fps: float | None = None


def _read(data: Path, split: str) -> Iterator[Example]:
    paths = {task: located(data, [f"{task}.json"], f"the {task} of MVBench", ("json", "")) for task in TASKS}
    videos = VideoFiles(data)
    for task, path in paths.items():
        yield from _task(task, path, videos)


def _task(task: str, path: Path, videos: VideoFiles) -> Iterator[Example]:
    def build(item: _MvbenchQuestion) -> Example:
        name = item.video.strip("/")
        part = task in _PARTS
        return choice(
            task,
            f"{TASKS[task]}/{name}",
            videos.find(*(f"{root}{name}" for root in (f"video/{TASKS[task]}/", f"{TASKS[task]}/", "video/", ""))),
            item.question,
            [str(option) for option in item.candidates],
            None if item.answer is None else str(item.answer),
            kind=task,
            start=item.start if part else None,
            end=item.end if part else None,
            fps=(item.fps or FPS) if task == _FRAMES else None,
        )

    fields = "video, question, candidates and answer"
    for number, example in enumerate(items(path, _MvbenchQuestion, build, f"a question of MVBench ({task})", fields)):
        yield replace(example, id=f"{task}_{number}")


BENCHMARK = Benchmark("mvbench", "MVBench", "choice", {"test": 4000}, _read, macro=True, submission=mvbench)
