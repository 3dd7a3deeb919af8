"""What a search over a million frame vectors costs: `python perf/search.py [--json FILE]`.

Vectors have a cluster structure, as frames of videos have: scenes drawn around themes, frames around scenes; queries
lie near some of them. Exact: `topa.library.search.Search`, from the store on the disk; its moments are asserted to be
those of a plain float32 product first. Compressed: FAISS, an inverted file of 4-bit codes, with its candidates
rescored on the stored rows; measured, not part of topa. Each way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import save_figures
from torch.nn.functional import normalize

from topa.features.shard import NAME, Item, write_shard
from topa.features.store import FeatureStore, finish_store
from topa.library.contents import Contents, Video
from topa.library.search import Search

FRAMES, WIDTH, EACH = 1_000_000, 768, 200  # vectors; their width; frames of a video, one a second
THEMES, SCENE = 500, 10  # clusters of scenes; frames of a scene
QUERIES, TOP = 64, 10
SHARD = 1 << 16  # rows of a file, as topa writes them
PROBES = (4, 8, 16, 32, 64, 128)
RESCORED = 400  # candidates that are looked at exactly


def make(folder: Path, frames: int) -> None:
    """A store of frames / EACH videos, and queries beside it."""
    generator = torch.Generator().manual_seed(0)
    common = normalize(torch.randn(WIDTH, generator=generator), dim=0)
    themes = normalize(torch.randn(THEMES, WIDTH, generator=generator), dim=-1)

    def near(rows: torch.Tensor, share: float) -> torch.Tensor:
        other = normalize(torch.randn(rows.shape, generator=generator), dim=-1)
        return normalize(rows + share * other, dim=-1)

    files, queries, number = [], [], 0
    videos = frames // EACH
    each = max(1, min(SHARD // EACH, videos))
    for start in range(0, videos, each):
        items = []
        for _ in range(min(each, videos - start)):
            drawn = themes[torch.randint(0, THEMES, (EACH // SCENE,), generator=generator)]
            scenes = normalize(near(drawn, 0.8) + common, dim=-1)
            values = near(scenes.repeat_interleave(SCENE, dim=0), 0.3)
            items.append(Item(f"video-{number:06d}", values, torch.arange(EACH, dtype=torch.float64), number))
            number += 1
        # Words lie far from all pictures, and nearer to those that they describe.
        queries.append(normalize(near(items[0].values[:1], 1.0) - 0.7 * common, dim=-1))
        files.append(NAME.format(len(files)))
        write_shard(folder / files[-1], items, WIDTH)
    while len(queries) < QUERIES:
        queries.append(near(queries[len(queries) % len(files)], 0.8))
    np.save(folder / "queries.npy", torch.cat(queries[:QUERIES]).numpy())
    finish_store(folder, files, "synthetic", WIDTH, "image")


def opened(folder: Path) -> tuple[Contents, torch.Tensor]:
    store = FeatureStore.open(folder)
    videos = [Video(name, f"{name}.mp4", float(EACH), EACH) for name in store]
    return Contents([store], videos, folder), torch.from_numpy(np.load(folder / "queries.npy"))


def resident(field: str) -> float:
    """MB. VmHWM: the most there was, mapped pages of files with it; RssAnon: what the system can't take back."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


def exact(folder: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    contents, queries = opened(folder)
    before = resident("VmRSS")
    began = time.perf_counter()
    search = Search(contents)
    rows = [figure("exact", threads, "made ready, once", time.perf_counter() - began, "s")]
    began = time.perf_counter()
    search.moments(queries[:1], TOP)
    rows.append(figure("exact", threads, "first search", time.perf_counter() - began, "s"))
    seconds = []
    for number in range(rounds):
        began = time.perf_counter()
        search.moments(queries[number % QUERIES][None], TOP)
        seconds.append(time.perf_counter() - began)
    rows.append(figure("exact", threads, "one query, median", float(np.median(seconds)), "s"))
    rows.append(figure("exact", threads, "one query, slowest", max(seconds), "s"))
    together = []
    for _ in range(3):
        began = time.perf_counter()
        search.moments(queries, TOP)
        together.append(time.perf_counter() - began)
    rows.append(figure("exact", threads, f"{QUERIES} queries at once", min(together), "s"))
    rows.append(figure("exact", threads, "resident before", before, "MB"))
    rows.append(figure("exact", threads, "resident at most, mapped pages with it", resident("VmHWM"), "MB"))
    return [*rows, figure("exact", threads, "of its own", resident("RssAnon"), "MB")]


def checked(folder: Path) -> list[dict[str, Any]]:
    """The moments' best frames are those of a plain product. A scene is a moment: its best frame counts."""
    contents, queries = opened(folder)
    found = Search(contents).moments(queries[:8], TOP)
    numbers = {video.id: number for number, video in enumerate(contents.videos)}
    best = np.full((8, len(contents)), -np.inf, np.float32)
    for part in contents.rows():
        scores = queries[:8].numpy() @ part.values.astype(np.float32).T
        for row in range(8):
            np.maximum.at(best[row], part.video, scores[row])
    for row, own in enumerate(found):
        assert own[0].score == best[row].max() or abs(own[0].score - best[row].max()) < 1e-5
        lowest = own[-1].score
        missed = set(np.flatnonzero(best[row] > lowest + 1e-5).tolist()) - {numbers[m.video.id] for m in own}
        assert not missed, f"query {row}: videos {missed} score above {lowest}"
    return []


def compressed(folder: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    import faiss

    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    contents, _ = opened(folder)
    parts = list(contents.rows())
    values = [part.values for part in parts]
    ends = np.cumsum([len(own) for own in values])
    total = int(ends[-1])
    lists = max(16, min(1024, total // 256))
    index = faiss.index_factory(WIDTH, f"IVF{lists},PQ{WIDTH // 4}x4fs", faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    index.train(np.concatenate([own[:: max(1, total // (lists * 50))] for own in values]).astype(np.float32))
    for own in values:
        for start in range(0, len(own), 8192):
            index.add(own[start : start + 8192].astype(np.float32))
    built = time.perf_counter() - began
    file = folder / "compressed.faiss"
    faiss.write_index(index, str(file))
    rows = [
        figure("compressed", threads, "built", built, "s"),
        figure("compressed", threads, "size on disk", file.stat().st_size / 1e6, "MB"),
    ]
    told = fresh("--probe", folder, threads, rounds)
    return [*rows, *told]


def probed(folder: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Search with an index that was built: recall of the exact best frames, and what it takes."""
    import faiss

    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    contents, queries = opened(folder)
    parts = [part.values for part in contents.rows()]
    ends = np.cumsum([len(own) for own in parts])
    wanted = queries.numpy()
    best = np.concatenate([wanted @ own.astype(np.float32).T for own in parts], axis=1) if ends[-1] < 100_000 else None
    truth = []
    if best is not None:
        truth = [set(np.argsort(-row)[:TOP].tolist()) for row in best]
    else:
        scores = np.empty((len(wanted), 0), np.float32)
        places = np.empty((len(wanted), 0), np.int64)
        for own, end in zip(parts, ends, strict=True):
            new = np.concatenate([wanted @ own[s : s + 8192].astype(np.float32).T for s in range(0, len(own), 8192)], 1)
            top = np.argpartition(-new, TOP, axis=1)[:, :TOP]
            scores = np.concatenate([scores, np.take_along_axis(new, top, 1)], 1)
            places = np.concatenate([places, top + end - len(own)], 1)
        order = np.argsort(-scores, axis=1)[:, :TOP]
        truth = [set(row.tolist()) for row in np.take_along_axis(places, order, 1)]
    index = faiss.read_index(str(folder / "compressed.faiss"))

    def look(query: np.ndarray) -> list[int]:
        _, found = index.search(query[None], RESCORED)
        places = found[0][found[0] >= 0]
        files = np.searchsorted(ends, places, side="right")
        rows = np.stack([parts[f][p - (ends[f] - len(parts[f]))] for f, p in zip(files, places, strict=True)])
        return places[np.argsort(-(rows.astype(np.float32) @ query))[:TOP]].tolist()  # type: ignore[no-any-return]

    rows = []
    for probes in PROBES:
        index.nprobe = probes
        for query in wanted[:4]:
            look(query)
        seconds, right = [], []
        for number in range(max(rounds, QUERIES)):
            began = time.perf_counter()
            found = look(wanted[number % QUERIES])
            seconds.append(time.perf_counter() - began)
            right.append(len(truth[number % QUERIES] & set(found)) / TOP)
        recall = float(np.mean(right))
        rows.append(figure("compressed", threads, f"{probes} lists: recall@{TOP}", recall, ""))
        rows.append(figure("compressed", threads, f"{probes} lists: one query, median", float(np.median(seconds)), "s"))
    return [*rows, figure("compressed", threads, "of its own", resident("RssAnon"), "MB")]


def figure(way: str, threads: int, what: str, value: float, unit: str) -> dict[str, Any]:
    return {"way": way, "threads": threads, "what": what, "value": value, "unit": unit}


def fresh(*words: object) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(words[2]) if len(words) > 2 else "1"},
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def as_table(told: dict[str, Any]) -> str:
    """Markdown."""
    head = "| way | threads | what | figure |\n|---|---:|---|---:|\n"
    return head + "".join(
        f"| {row['way']} | {row['threads']} | {row['what']} | {row['value']:,.{0 if row['value'] >= 100 else 3}f} "
        f"{row['unit']} |\n"
        for row in told["rows"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where to put some 2 GB for a while; a temporary folder by default")
    parser.add_argument("--no-compressed", action="store_true", help="leave FAISS out")
    parser.add_argument("--exact", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--check", nargs=1, help=argparse.SUPPRESS)
    parser.add_argument("--compressed", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--probe", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for way, run in ((given.exact, exact), (given.compressed, compressed), (given.probe, probed)):
        if way:
            print(json.dumps(run(Path(way[0]), int(way[1]), int(way[2]))))
            return
    if given.check:
        print(json.dumps(checked(Path(given.check[0]))))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        make(folder, given.frames)
        fresh("--check", folder)
        rows = [*fresh("--exact", folder, 1, given.rounds), *fresh("--exact", folder, 2, given.rounds)]
        if not given.no_compressed:
            rows += fresh("--compressed", folder, 2, given.rounds)
    told = {"frames": given.frames, "width": WIDTH, "queries": QUERIES, "rescored": RESCORED, "rows": rows}
    print(as_table(told))
    if given.json:
        save_figures(given.json, told)


if __name__ == "__main__":
    main()
