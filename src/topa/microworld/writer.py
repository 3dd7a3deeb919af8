"""The micro world as a source of data, with the interfaces of real data.

`write_tideos` yields Tideos as any writer does; `make_videos` writes mp4 files, `questions.jsonl` and `stories.jsonl`,
as a labelled data set has them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.artifacts import output_folder, write_atomically
from ..core.progress import track
from ..tideos.tideo import Question, TextFrame, Tideo
from . import language
from .questions import Balance
from .render import FPS, SECONDS_PER_SCENE, write_video
from .world import Story, write_story

QUESTIONS_PER_STORY = 6
FILES = ("questions.jsonl", "stories.jsonl", "videos/micro-*.mp4")
"""The files that `make_videos` writes."""


def write_tideos(count: int, seed: int, questions: int = QUESTIONS_PER_STORY) -> Iterator[Tideo]:
    """Yield `count` Tideos with up to `questions` balanced questions each. Equal arguments give equal Tideos."""
    rng = random.Random(f"tideos {seed}")
    balance = Balance(rng)
    for number in range(count):
        story = write_story(rng)
        yield Tideo(
            id=f"micro-{seed}-{number:06d}",
            frames=tuple(
                TextFrame(caption=language.caption(s, rng), objects=language.object_captions(s, rng))
                for s in story.scenes
            ),
            description=language.description(story),
            questions=balance.choose(story, questions),
            source={"writer": "microworld", "seed": seed, "number": number},
        )


@dataclass(frozen=True, slots=True)
class MicroVideo:
    """A rendered story. captions: one per scene. events: (seconds, aspect) of each change."""

    id: str
    path: Path
    captions: tuple[str, ...]
    description: str
    questions: tuple[Question, ...]
    events: tuple[tuple[float, str], ...]


def make_videos(
    out: Path, count: int, seed: int, questions: int = QUESTIONS_PER_STORY, *, show: bool = True
) -> list[MicroVideo]:
    """Render `count` stories to `out/videos/*.mp4`, with `out/questions.jsonl` and `out/stories.jsonl`.

    `questions.jsonl` has one question per line, `stories.jsonl` the scenes, changes, event times and captions of each
    video. Raises OutputError if `out` can't be written.
    """
    rng = random.Random(f"videos {seed}")
    balance = Balance(rng)
    output_folder(out, *FILES)
    output_folder(out / "videos")
    videos: list[MicroVideo] = []
    question_rows: list[dict[str, object]] = []
    story_rows: list[dict[str, object]] = []
    for number in track(range(count), "rendering videos", count, show=show):
        story = write_story(rng)
        name = f"micro-{seed}-{number:06d}"
        path = out / "videos" / f"{name}.mp4"
        write_video(story, path, seed=rng.randrange(1 << 30))
        video = MicroVideo(
            name,
            path,
            tuple(language.caption(s, rng) for s in story.scenes),
            language.description(story),
            balance.choose(story, questions),
            story.event_times(duration(story)),
        )
        videos.append(video)
        file = f"videos/{path.name}"
        story_rows.append(
            {
                "id": name,
                "video": file,
                **asdict(story),
                "events": video.events,
                "description": video.description,
                "captions": video.captions,
            }
        )
        question_rows += [{"id": f"{name}-{i}", "video": file, **q.model_dump()} for i, q in enumerate(video.questions)]
    for filename, rows in (("questions.jsonl", question_rows), ("stories.jsonl", story_rows)):
        write_atomically(out / filename, "".join(json.dumps(row) + "\n" for row in rows))
    return videos


def duration(story: Story) -> float:
    """Return the length of a story's video in seconds."""
    return round(len(story.scenes) * SECONDS_PER_SCENE * FPS) / FPS
