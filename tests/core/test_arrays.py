"""Files of arrays: read as they were written, by us and by the safetensors package, and refused where they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from topa.core.arrays import map_arrays, write_arrays
from topa.core.errors import OutputError

KINDS = [np.uint8, np.bool_, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64]
ARRAYS = {
    **{f"{np.dtype(kind)} ü": (np.arange(7 * 3) % 2).astype(kind).reshape(7, 3) for kind in KINDS},
    "empty": np.empty((0, 5), np.float16),
    "strided": np.arange(20, dtype=np.int64)[::3],
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    about = {"one": [1, "zwölf"], "two": None}
    write_arrays(tmp_path / "a", ARRAYS, about)
    arrays = map_arrays(tmp_path / "a")
    theirs = load_file(tmp_path / "a")
    assert arrays.about == about
    assert set(arrays.arrays) == set(theirs) == set(ARRAYS)
    for name, array in ARRAYS.items():
        for other in (arrays.arrays[name], theirs[name]):
            assert (other.dtype, other.shape) == (array.dtype, array.shape)
            assert np.array_equal(other, array)
    with pytest.raises(ValueError, match="read-only"):
        arrays.arrays["int64 ü"][0] = 1
    first = (tmp_path / "a").read_bytes()
    write_arrays(tmp_path / "a", dict(reversed(ARRAYS.items())), about)
    assert (tmp_path / "a").read_bytes() == first


def test_files_of_others_are_read(tmp_path: Path) -> None:
    save_file({"x": np.arange(5.0)}, tmp_path / "x")
    arrays = map_arrays(tmp_path / "x")
    assert arrays.about == {}
    assert arrays.arrays["x"].tolist() == [0, 1, 2, 3, 4]


def test_what_is_cut_or_something_else_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "whole", ARRAYS, {"a": 1})
    whole = (tmp_path / "whole").read_bytes()
    for damaged in (whole[:-1], whole[:200], whole[:8], whole[:3], b"", b"{}" * 50, bytes(8) + b"x" * 9):
        (tmp_path / "cut").write_bytes(damaged)
        with pytest.raises(ValueError):
            map_arrays(tmp_path / "cut")
    with pytest.raises(OSError, match="No such file"):
        map_arrays(tmp_path / "nothing")
    with pytest.raises(OutputError):
        write_arrays(tmp_path / "no" / "folder", ARRAYS)
