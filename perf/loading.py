"""What loading the annotations of benchmarks costs: `python perf/loading.py [--json FILE]`.

The files of each benchmark are made up at their published size, in their published form: the same number of records,
videos and texts, of about the same length; STAR's with situation graphs of 25 KB a record. Videos are empty files in
the official layout. Each loader then reads all records, in a process of its own, and the time of that is measured (by
the wall clock, and of the processor; files in the system's cache, imports done before).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from measure import save_figures

WORDS = (
    "the a person man woman boy girl dog puts takes opens closes holds moves looks at on under behind table door cup "
    "book red blue small large then while before after why how what does happen begins plays with and quickly"
)


class Maker:
    """Writes files. share: of the published number of records."""

    def __init__(self, folder: Path, share: float) -> None:
        self.folder = folder
        self.share = share
        self.rng = random.Random(0)
        self.pool = [" ".join(self.rng.choices(WORDS.split(), k=k)) for k in (4, 8, 9, 10, 12, 15) for _ in range(200)]

    def count(self, published: int) -> int:
        return max(4, round(published * self.share))

    def text(self) -> str:
        return self.rng.choice(self.pool)

    def options(self, number: int) -> list[str]:
        return [f"{self.text()}, {n}" for n in range(number)]

    def path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def videos(self, names: Iterable[str]) -> None:
        for name in names:
            self.path(name).touch()

    def list(self, name: str, items: Iterable[Any]) -> None:
        """A JSON list, one item in memory at a time."""
        with self.path(name).open("w") as file:
            for number, item in enumerate(items):
                file.write(("[" if not number else ", ") + (item if isinstance(item, str) else json.dumps(item)))
            file.write("]")

    def lines(self, name: str, items: Iterable[Any]) -> None:
        with self.path(name).open("w") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)

    def table(self, name: str, header: str, rows: Iterable[list[Any]]) -> None:
        with self.path(name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(rows)


def egoschema(make: Maker) -> str:
    names = [f"{make.rng.getrandbits(128):032x}" for _ in range(make.count(5031))]
    make.list(
        "questions.json",
        (
            {"q_uid": name, "google_drive_id": name, "question": make.text() * 3}
            | {f"option {n}": text * 3 for n, text in enumerate(make.options(5))}
            for name in names
        ),
    )
    make.path("subset_answers.json").write_text(json.dumps(dict.fromkeys(names[:500], 1)))
    make.videos(f"videos/{name}.mp4" for name in names)
    return "full"


NEXTQA = "video,frame_count,width,height,question,answer,qid,type"


def nextqa(make: Maker) -> str:
    names = [str(2_400_000_000 + n) for n in range(make.count(3870))]
    rows = (
        [make.rng.choice(names), 900, 640, 480, make.text(), n % 5, n, "CW", *make.options(5)]
        for n in range(make.count(34132))
    )
    make.table("train.csv", NEXTQA + ",a0,a1,a2,a3,a4", rows)
    make.path("map_vid_vidorID.json").write_text(json.dumps({name: f"{name[-3:]}/{name}" for name in names}))
    make.videos(f"NExTVideo/{name[-3:]}/{name}.mp4" for name in names)
    return "train"


def nextqa_open(make: Maker) -> str:
    rows = ([n // 10, 900, 640, 480, make.text(), make.text(), n, "TN"] for n in range(make.count(37523)))
    make.table("train.csv", NEXTQA, rows)
    return "train"


def star(make: Maker, split: str = "val", published: int = 7098) -> str:
    names = [f"V{n:04d}" for n in range(make.count(5000))]
    graphs = [json.dumps(graph(make.rng)) for _ in range(50)]
    items = (
        json.dumps(
            {
                "question_id": f"Interaction_T1_{n}",
                "question": make.text(),
                "video_id": make.rng.choice(names),
                "start": n % 20 + 0.3,
                "end": n % 20 + 9.1,
                "answer": "The closet/cabinet.",
                "question_program": [{"function": "Situations", "value_input": []}] * 4,
                "choices": [
                    {"choice_id": k, "choice": text, "choice_program": [{"function": "Equal", "value_input": ["x"]}]}
                    for k, text in enumerate(["The closet/cabinet.", *make.options(3)])
                ],
            }
        )[:-1]
        + f', "situations": {make.rng.choice(graphs)}}}'
        for n in range(make.count(published))
    )
    make.list(f"STAR_{split}.json", items)
    make.videos(f"Charades_v1_480/{name}.mp4" for name in names)
    return split


def star_train(make: Maker) -> str:
    return star(make, "train", 45731)


def graph(rng: random.Random) -> dict[str, Any]:
    """Key frames with relations, labels and boxes: 25 KB as JSON."""
    frames: dict[str, Any] = {}
    while len(json.dumps(frames)) < 25_000:
        frames[f"{rng.randrange(999999):06d}"] = {
            "actions": [f"a{rng.randrange(157):03d}" for _ in range(6)],
            "rel_pairs": [["o000", f"o{rng.randrange(37):03d}"] for _ in range(12)],
            "rel_labels": [f"r{rng.randrange(24):03d}" for _ in range(12)],
            "bbox": [[rng.uniform(0, 480) for _ in range(4)] for _ in range(6)],
            "bbox_labels": [f"o{rng.randrange(37):03d}" for _ in range(6)],
        }
    return frames


def tvqa(make: Maker) -> str:
    names = [f"met_s{n // 1000:02d}e{n // 40 % 25:02d}_seg{n % 2:02d}_clip_{n:05d}" for n in range(make.count(17435))]
    lines = (
        {f"a{k}": text for k, text in enumerate(make.options(5))}
        | {"answer_idx": n % 5, "q": make.text(), "qid": n, "show_name": "How I Met You Mother"}
        | {"ts": f"{n % 40}.21-{n % 40 + 8}.49", "vid_name": make.rng.choice(names)}
        for n in range(make.count(122_039))
    )
    make.lines("tvqa_train.jsonl", lines)
    for name in names:
        make.path(f"frames_hq/met_frames/{name}/x").parent.mkdir(exist_ok=True)
    make.videos(f"tvqa_subtitles/{name}.srt" for name in names)
    return "train"


def mvbench(make: Maker) -> str:
    from topa.evals.datasets.mvbench import TASKS

    for task, folder in TASKS.items():
        names = [f"{task}_{n}.mp4" for n in range(make.count(200))]
        items = (
            {
                "video": name,
                "question": make.text(),
                "candidates": options,
                "answer": options[1],
                "start": 1.0,
                "end": 9,
            }
            for name in names
            for options in [make.options(4)]
        )
        make.list(f"json/{task}.json", items)
        make.videos(f"video/{folder}/{name}" for name in names)
    return "test"


def msrvtt_captions(make: Maker) -> str:
    count = make.count(10_000)
    told = {
        "videos": [
            {"video_id": f"video{n}", "id": n, "category": n % 20, "split": "train", "url": "https://x/" + "y" * 30}
            | {"start time": 1.5, "end time": 12.0}
            for n in range(count)
        ],
        "sentences": [
            {"caption": make.text(), "video_id": f"video{n % count}", "sen_id": n} for n in range(20 * count)
        ],
    }
    make.path("MSRVTT_data.json").write_text(json.dumps(told))
    make.videos(f"videos/all/video{n}.mp4" for n in range(count))
    return "train"


def vatex_captions(make: Maker) -> str:
    items = (
        {
            "videoID": f"v{n:09d}_000001_000011",
            "enCap": [make.text() for _ in range(10)],
            "chCap": ["一个男人" * 5] * 10,
        }
        for n in range(make.count(25_991))
    )
    make.list("vatex_training_v1.0.json", items)
    return "train"


def videomme_rows(make: Maker) -> Iterator[dict[str, Any]]:
    for n in range(make.count(2700)):
        yield {
            "video_id": f"{n // 3:03d}",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Biology & Medicine",
            "videoID": f"v{n // 3:09d}",
            "question_id": f"{n // 3:03d}-{n % 3}",
            "task_type": "Counting Problem",
            "question": make.text(),
            "options": [f"{letter}. {make.text()}" for letter in "ABCD"],
            "answer": "B",
        }


def videomme(make: Maker) -> str:
    make.list("Video-MME.json", videomme_rows(make))
    make.videos(f"data/v{n:09d}.mp4" for n in range(make.count(900)))
    return "test"


def videomme_parquet(make: Maker) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(videomme_rows(make))), make.path("videomme/test-00000-of-00001.parquet"))
    return "test"


def perception(make: Maker) -> str:
    told = {
        f"video_{v}": {
            "metadata": {"split": "valid", "video_id": f"video_{v}", "frame_rate": 29.97, "num_frames": 800},
            "mc_question": [
                {"id": n, "question": make.text(), "options": make.options(3), "answer_id": n % 3, "area": "Physics"}
                | {"reasoning": "Descriptive", "tag": ["motion", "collision"]}
                for n in range(4)
            ],
        }
        for v in range(make.count(19_140) // 4)
    }
    make.path("mc_question_valid.json").write_text(json.dumps(told))
    make.videos(f"videos/{name}.mp4" for name in told)
    return "valid"


def intentqa(make: Maker) -> str:
    header = NEXTQA.replace("video,", "video_id,") + ",a0,a1,a2,a3,a4,action,lemma,lemma_id"
    rows = (
        [n // 4, 900, 640, 480, make.text(), n % 5, n, "TN", *make.options(5), "left", "leave", 1]
        for n in range(make.count(12_119))
    )
    make.table("train.csv", header, rows)
    return "train"


def activitynet_qa(make: Maker) -> str:
    names = [f"{n // 10:011d}" for n in range(make.count(32_000))]
    asked = ({"video_name": v, "question": make.text(), "question_id": f"v_{v}_{n}"} for n, v in enumerate(names))
    make.list("train_q.json", asked)
    told = ({"answer": "yes", "type": n % 9, "question_id": f"v_{v}_{n}"} for n, v in enumerate(names))
    make.list("train_a.json", told)
    make.videos(f"videos/v_{name}.mp4" for name in dict.fromkeys(names))
    return "train"


def word_answers(make: Maker, published: int, videos: int) -> str:
    items = (
        {"answer": "man", "category_id": 3, "id": n, "question": make.text(), "video_id": n % videos}
        for n in range(make.count(published))
    )
    make.list("train_qa.json", items)
    return "train"


def msvd_qa(make: Maker) -> str:
    return word_answers(make, 30_933, 1200)


def msrvtt_qa(make: Maker) -> str:
    return word_answers(make, 158_581, 6513)


def own(make: Maker) -> str:
    lines = (
        {"video": f"v{n % 5000}.mp4", "question": make.text(), "options": make.options(4), "answer": n % 4}
        for n in range(make.count(50_000))
    )
    make.lines("questions.jsonl", lines)
    return "all"


FILES: dict[str, tuple[str, Callable[[Maker], str]]] = {
    "EgoSchema, all": ("egoschema", egoschema),
    "NExT-QA, train": ("nextqa", nextqa),
    "NExT-QA open, train": ("nextqa-open", nextqa_open),
    "STAR, val": ("star", star),
    "STAR, train": ("star", star_train),
    "TVQA, train": ("tvqa", tvqa),
    "MVBench, 20 tasks": ("mvbench", mvbench),
    "MSR-VTT, the whole file": ("msrvtt-captions", msrvtt_captions),
    "VATEX, train": ("vatex-captions", vatex_captions),
    "Video-MME, JSON": ("videomme", videomme),
    "Video-MME, Parquet": ("videomme", videomme_parquet),
    "Perception Test, valid": ("perception", perception),
    "IntentQA, train": ("intentqa", intentqa),
    "ActivityNet-QA, train": ("activitynet-qa", activitynet_qa),
    "MSVD-QA, train": ("msvd-qa", msvd_qa),
    "MSRVTT-QA, train": ("msrvtt-qa", msrvtt_qa),
    "own questions, 50,000": ("own", own),
}


def load(name: str, folder: Path, split: str, rounds: int) -> dict[str, float]:
    """All records, read again and again in this process."""
    from topa.evals.catalogue import BENCHMARKS

    benchmark = BENCHMARKS.load(name)
    if name == "videomme":
        import pyarrow.parquet  # noqa: F401
    taken, spent, records = [], [], 0
    for _ in range(rounds):
        began, before = time.perf_counter(), time.process_time()
        records = sum(1 for _ in benchmark.read(folder, split))
        taken.append(time.perf_counter() - began)
        spent.append(time.process_time() - before)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return {
        "records": records,
        "seconds": taken[0],
        "best_seconds": min(taken),
        "processor_seconds": spent[0],
        "memory_mb": int(peak.split()[1]) / 1024,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = (
        "| files | records | MB | first load, s | of the processor | best load, s |\n|---|---:|---:|---:|---:|---:|\n"
    )
    return head + "".join(
        f"| {row['files']} | {row['records']:,} | {row['mb']:,.1f} | {row['seconds']:.2f} "
        f"| {row['processor_seconds']:.2f} | {row['best_seconds']:.2f} |\n"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the published records: less is a look, no figures")
    parser.add_argument("--only", choices=sorted({name for name, _ in FILES.values()}))
    parser.add_argument("--folder", type=Path, help="where to put some GB for a while; a temporary folder by default")
    parser.add_argument("--load", nargs=3, help="one benchmark, folder and split, in this process")
    given = parser.parse_args()
    if given.load:
        name, folder, split = given.load
        print(json.dumps(load(name, Path(folder), split, given.rounds)))
        return
    rows = []
    for title, (name, write) in FILES.items():
        if given.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            make = Maker(Path(folder), given.share)
            split = write(make)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
            command = [sys.executable, __file__, "--load", name, folder, split, "--rounds", str(given.rounds)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows.append({"files": title, "benchmark": name, "mb": size, **found})
        print(as_table(rows[-1:]).splitlines()[-1], flush=True)
    print(as_table(rows))
    if given.json:
        save_figures(given.json, rows)


if __name__ == "__main__":
    main()
