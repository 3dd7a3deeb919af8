"""What stores of the published size cost: `python perf/stores.py [--json FILE]`.

Reads of random Tideos beside one pickle for each, as TOPA's authors publish features: equal results are asserted
first, then both are measured in turn, processor time, one thread. Opening a store of 721,000 Tideos with their file,
and a memory of 1,000,000 rows, each in a process of its own. Finding near duplicates in that memory.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from measure import interleaved, save_figures

from topa.features.frames import FrameFeatures
from topa.features.shard import NAME, Item, write_shard
from topa.features.store import FeatureStore, finish_store
from topa.memory.bank import MemoryBank
from topa.memory.near import distinct
from topa.tideos.index import TideoFile

FRAMES, WIDTH, NARROW = 10, 768, 64
BATCH, EACH_ROUND = 256, 2560
SENTENCE = "a person in a red coat walks slowly along a wet street and looks at the windows of small shops"


def names(count: int) -> Iterator[str]:
    return (f"howto100m-{number:07d}" for number in range(count))


def make_store(folder: Path, count: int, width: int, each: int = 1024) -> list[torch.Tensor]:
    """A store of random unit rows; gives those of the first file, which all files share."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    rows = [F.normalize(torch.randn(FRAMES, width, generator=generator), dim=-1).half() for _ in range(each)]
    ids = list(names(count))
    files = []
    for start in range(0, count, each):
        items = [Item(name, rows[n], None, start + n) for n, name in enumerate(ids[start : start + each])]
        files.append(NAME.format(len(files)))
        write_shard(folder / files[-1], items, width)
    finish_store(folder, files, "synthetic", width, "text")
    return rows


def reads(root: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    rows = make_store(root / "store", count, WIDTH)
    pickles = root / "pickles"
    pickles.mkdir()
    ids = list(names(count))
    for number, name in enumerate(ids):
        with (pickles / f"{name}.pkl").open("wb") as file:
            pickle.dump(rows[number % len(rows)], file)
    store = FeatureStore.open(root / "store")
    rng = random.Random(0)

    def one_by_one(wanted: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        made = []
        for name in wanted:
            with (pickles / f"{name}.pkl").open("rb") as file:
                values = F.normalize(pickle.load(file).float(), dim=-1)
            made.append(FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "text", "").resample(FRAMES))
        return torch.stack([own.values for own in made]), torch.stack([own.valid for own in made])

    wanted = rng.sample(ids, min(4 * BATCH, count))
    for ours, theirs in zip(store.batch(wanted, FRAMES), one_by_one(wanted), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    store.batch(ids, FRAMES)  # warm
    one_by_one(ids[: min(count, 10 * EACH_ROUND)])
    each = min(EACH_ROUND, count)
    drawn = rng.sample(ids, each)

    def by_batch(size: int) -> None:
        for start in range(0, each, size):
            store.batch(drawn[start : start + size], FRAMES)

    ways = {
        "one pickle per Tideo, as published": lambda: one_by_one(drawn),
        "ours, one at a time": lambda: [store[name] for name in drawn],
        "ours, 32 at a time": lambda: by_batch(32),
        f"ours, {BATCH} at a time": lambda: by_batch(BATCH),
    }
    timing = interleaved(ways, rounds)
    about = f"{count:,} Tideos of {FRAMES} x {WIDTH} float16, random, warm"
    return [
        {"group": "reads", "what": way, "value": each / seconds, "unit": "Tideos a second", "about": about}
        for way, seconds in timing.seconds.items()
    ]


def make_tideos(path: Path, count: int) -> None:
    frames = ", ".join(f'{{"caption": "{SENTENCE}", "objects": ["a red coat"]}}' for _ in range(FRAMES))
    with path.open("w") as file:
        for name in names(count):
            file.write(f'{{"id":"{name}","frames":[{frames}],"description":"{SENTENCE}","questions":[]}}\n')


def opened(root: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    began = time.perf_counter()
    make_store(root / "large", count, NARROW)
    make_tideos(root / "tideos.jsonl", count)
    made = time.perf_counter() - began
    began = time.perf_counter()
    TideoFile.open(root / "tideos.jsonl", show=False)
    indexed = time.perf_counter() - began
    found = [fresh("--open", root / "large", root / "tideos.jsonl") for _ in range(rounds)]
    size = sum(path.stat().st_size for path in (root / "large").iterdir()) / 1e9
    texts = (root / "tideos.jsonl").stat().st_size / 1e9
    about = f"{count:,} Tideos, store {NARROW} wide ({size:.1f} GB), file {texts:.1f} GB"
    print(f"made in {made:.0f} s, the file indexed in {indexed:.0f} s", flush=True)
    rows = [
        {"group": "open", "what": what, "value": best, "unit": unit, "about": about}
        for what, unit, best in (
            ("store and Tideos, opened", "s", min(one["seconds"] for one in found)),
            ("memory in use then", "MB", max(one["after_mb"] for one in found)),
            ("of that, before anything was opened", "MB", max(one["before_mb"] for one in found)),
            ("of its own, after 100 batches and 1,000 Tideos", "MB", max(one["used_mb"] for one in found)),
        )
    ]
    return [*rows, {"group": "open", "what": "the Tideos' index, made", "value": indexed, "unit": "s", "about": about}]


def memories(root: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    values = captions_like(count)
    folder = root / "memory"
    MemoryBank(values, "synthetic", [f"{SENTENCE} {number}" for number in range(count)]).save(folder)
    found = [fresh("--memory", folder) for _ in range(rounds)]
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
    about = f"{count:,} rows of {WIDTH}, float16, with captions, {size:.1f} GB"
    rows = [
        {"group": "memory", "what": "opened", "value": min(f["seconds"] for f in found), "unit": "s", "about": about},
        {
            "group": "memory",
            "what": "memory that takes",
            "value": max(f["grown_mb"] for f in found),
            "unit": "MB",
            "about": about,
        },
    ]
    began = time.process_time()
    kept = distinct(values, 0.98, show=False)
    spent = time.process_time() - began
    probe = torch.from_numpy(np.random.default_rng(0).choice(kept, min(256, len(kept)), replace=False))
    again = torch.zeros(len(probe))
    for start in range(0, len(kept), 8192):
        part = F.normalize(values[torch.from_numpy(kept[start : start + 8192])].float(), dim=-1)
        again += (F.normalize(values[probe].float(), dim=-1) @ part.T >= 0.98).sum(dim=1)
    left = float((again > 1).float().mean())
    about = f"the same rows, a fifth of them within 0.98 of another one: {count - len(kept):,} left out"
    return [
        *rows,
        {"group": "near", "what": "near duplicates found, one thread", "value": spent, "unit": "s", "about": about},
        {
            "group": "near",
            "what": "rows kept that have a near one kept",
            "value": 100 * left,
            "unit": "%",
            "about": about,
        },
    ]


def captions_like(count: int) -> torch.Tensor:
    """Unit rows in a narrow cone of few dimensions, as captions are, float16 [count, WIDTH]; a fifth are copies."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(100, WIDTH, generator=generator) * torch.linspace(1, 0.1, 100)[:, None]
    mean = F.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    first = count * 4 // 5
    values = torch.empty(count, WIDTH, dtype=torch.float16)
    for part in [*torch.arange(first).split(8192), *torch.arange(first, count).split(8192)]:
        if part[-1] < first:
            rows = F.normalize(torch.randn(len(part), 100, generator=generator) @ basis, dim=-1)
            values[part] = F.normalize(1.2 * mean + rows, dim=-1).half()
        else:
            rows = values[torch.randint(0, first, (len(part),), generator=generator)].float()
            other = torch.randn(rows.shape, generator=generator)
            other = F.normalize(other - (other * rows).sum(-1, keepdim=True) * rows, dim=-1)
            cosine = 0.982 + 0.017 * torch.rand(len(part), 1, generator=generator)
            values[part] = (cosine * rows + (1 - cosine**2).sqrt() * other).half()
    return values[torch.randperm(count, generator=generator)]


def resident(field: str = "VmRSS") -> float:
    """RssAnon leaves out the pages of files, which the system takes back when it needs them."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


def fresh(*words: object) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, words)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # type: ignore[no-any-return]


def open_store(folder: Path, tideos: Path) -> dict[str, float]:
    before = resident()
    began = time.perf_counter()
    store = FeatureStore.open(folder)
    file = TideoFile.open(tideos, show=False)
    seconds = time.perf_counter() - began
    after = resident()
    rng = random.Random(0)
    for _ in range(100):
        store.batch([store.ids[rng.randrange(len(store))] for _ in range(BATCH)], FRAMES)
    for _ in range(1000):
        assert file[rng.randrange(len(file))].frames
    assert len(store) == len(file)
    return {"seconds": seconds, "before_mb": before, "after_mb": after, "used_mb": resident("RssAnon")}


def open_memory(folder: Path) -> dict[str, float]:
    before = resident()
    began = time.perf_counter()
    bank = MemoryBank.load(folder)
    seconds = time.perf_counter() - began
    grown = resident() - before
    assert bank.captions is not None
    assert bank.captions[len(bank) - 1] == f"{SENTENCE} {len(bank) - 1}"
    return {"seconds": seconds, "grown_mb": grown}


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| of | what | figure | measured on |\n|---|---|---:|---|\n"
    return head + "".join(
        f"| {row['group']} | {row['what']} | {row['value']:,.{0 if row['value'] >= 100 else 2}f} {row['unit']} "
        f"| {row['about']} |\n"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small stores: a look, no figures to report")
    parser.add_argument("--only", choices=["reads", "open", "memory"])
    parser.add_argument("--folder", type=Path, help="where to put some 6 GB for a while; a temporary folder by default")
    parser.add_argument("--open", nargs=2, type=Path, help="one opening, in this process")
    parser.add_argument("--memory", type=Path, help="one opening, in this process")
    parser.add_argument("--table", type=Path, help="print the table of kept figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.table:
        print(as_table(json.loads(given.table.read_text())))
        return
    if given.open or given.memory:
        print(json.dumps(open_store(*given.open) if given.open else open_memory(given.memory)))
        return
    small = given.quick
    rows: list[dict[str, Any]] = []
    for name, group, count in (
        ("reads", reads, 1000 if small else 40_000),
        ("open", opened, 3000 if small else 721_000),
        ("memory", memories, 3000 if small else 1_000_000),
    ):
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                rows += group(Path(folder), count, given.rounds)
    print(as_table(rows))
    if given.json:
        save_figures(given.json, rows)


if __name__ == "__main__":
    main()
