"""Released features: read without executing anything, sliced by the question's part, and refused with a reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from topa.core.errors import InputError
from topa.evals.catalogue import BENCHMARKS
from topa.evals.example import Example
from topa.evals.released import PublishedFeatures

ENCODER = "openai/clip-vit-large-patch14"


def everything(example: Example, rows: int) -> slice:
    return slice(0, rows)


def example(video: str, **changes) -> Example:
    return Example("id", video, Path("gone.mp4"), **changes)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(30, 8, generator=generator),
        "half": 3 * torch.randn(4, 8, generator=generator).half(),
        "zero": torch.cat([torch.ones(1, 8), torch.zeros(1, 8)]),
        "nan": torch.full((2, 8), float("nan")),
        "narrow": torch.ones(3, 7),
        "flat": torch.ones(8),
        "whole": torch.ones(3, 8, dtype=torch.long),
        "empty": torch.ones(0, 8),
        "wide": torch.ones(1, 8).expand(10**9, 8),
    }


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def file(request, tmp_path) -> Path:
    path = tmp_path / "clipvitl14.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=request.param)
    return path


def test_rows_of_a_part_are_unit_rows_in_image_space(file) -> None:
    released = PublishedFeatures(file.parent, ENCODER, 8)
    star = BENCHMARKS.load("star")
    found = released.features(example("a", start=11.1, end=19.6), star.rows)
    torch.testing.assert_close(found.values, torch.nn.functional.normalize(tensors()["a"][11:21], dim=-1))
    assert (found.space, found.encoder, bool(found.valid.all()), found.values.dtype) == (
        "image", ENCODER, True, torch.float32
    )  # fmt: skip
    assert len(released.features(example("half"), everything)) == 4
    assert "a" in released
    assert "b" not in released


@pytest.mark.parametrize(
    ("video", "told"),
    [
        ("gone", "found no features of this video"),
        ("zero", "rows that are zero, infinite or NaN"),
        ("nan", "rows that are zero, infinite or NaN"),
        ("narrow", r"found torch.float32 \(3, 7\); expected floats \[frames, 8\]"),
        ("flat", r"found torch.float32 \(8,\); expected"),
        ("whole", "found torch.int64"),
        ("empty", r"found torch.float32 \(0, 8\); expected"),
        ("wide", "with fewer values than that"),
    ],
)
def test_what_cannot_be_used_has_a_reason(file, video, told) -> None:
    with pytest.raises(InputError, match=told) as raised:
        PublishedFeatures(file, ENCODER, 8).features(example(video), everything)
    assert f"clipvitl14.pth: {video}" in str(raised.value)


def test_a_part_behind_the_end_has_a_reason(file) -> None:
    late = example("a", start=40.0, end=50.0)
    with pytest.raises(InputError, match=r"found 30 rows, none of them from 40 to 51; expected some .*40.0 to 50.0 s"):
        PublishedFeatures(file, ENCODER, 8).features(late, BENCHMARKS.load("star").rows)


def test_a_file_for_each_video(tmp_path) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    np.save(folder / "u1.npy", np.ones((3, 8), dtype=np.float16))
    np.save(folder / "bad.npy", np.array([{"a": 1}]))
    np.save(folder / "whole.npy", np.ones((3, 8), dtype=np.int32))
    (folder / "text.npy").write_text("no array")
    np.save(tmp_path / "outside.npy", np.ones((3, 8)))
    for path in (tmp_path, folder):
        released = PublishedFeatures(path, ENCODER, 8)
        found = released.features(example("u1"), everything)
        assert torch.allclose(found.values.norm(dim=-1), torch.ones(3))
        assert "u1" in released
        assert "../outside" not in released
    for video, told in {
        "bad": "can't be read as an array .*Python objects",
        "text": "can't be read as an array",
        "whole": "found torch.int32",
        "../outside": "found no features of this video",
        "u2": r"found no features of this video \(u2.npy\)",
    }.items():
        with pytest.raises(InputError, match=told):
            released.features(example(video), everything)


def test_a_file_that_would_run_something(tmp_path, recwarn) -> None:
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        write({"a": Bomb()}, tmp_path / "clipvitl14.pth")
        with pytest.raises(InputError, match="not a checkpoint of tensors that can be read safely"):
            PublishedFeatures(tmp_path, ENCODER, 8)
    assert not (tmp_path / "ran").exists()
    assert not recwarn.list  # of torch, with a path of its own


def test_another_file_and_no_file(tmp_path) -> None:
    with pytest.raises(InputError, match=r"found no released features; expected clipvitl14.pth, or features/"):
        PublishedFeatures(tmp_path, ENCODER)
    torch.save([torch.ones(3, 8)], tmp_path / "clipvitl14.pth")
    with pytest.raises(InputError, match="found list; expected a dictionary of tensors by video"):
        PublishedFeatures(tmp_path, ENCODER)
    torch.save({"a": "text", 7: torch.ones(3, 8)}, tmp_path / "clipvitl14.pth")
    released = PublishedFeatures(tmp_path, ENCODER, 8)
    assert len(released.features(example("7"), everything)) == 3
    with pytest.raises(InputError, match="found str; expected a tensor"):
        released.features(example("a"), everything)


def test_the_file_is_mapped(tmp_path) -> None:
    """Opening a file of 64 MB takes a fraction of that."""
    torch.save({str(n): torch.ones(1000, 1000) for n in range(16)}, tmp_path / "clipvitl14.pth")
    status = Path("/proc/self/status")
    if not status.exists():
        return

    def anonymous() -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("RssAnon"))

    torch.load(tmp_path / "clipvitl14.pth", weights_only=True, mmap=True)
    before = anonymous()
    released = PublishedFeatures(tmp_path, ENCODER, 1000)
    assert len(released.features(example("3"), lambda _, rows: slice(10, 20))) == 10
    assert anonymous() - before < 16_000
