"""Captions that came before are read and not computed, in this process and in the next one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topa.core.errors import OutputError
from topa.features.captions import SCRATCH, Captions, remove_scratch

WORDS = ["a red ball", "a blue box", "a person walks", "left", "a red ball rolls left"]


def test_only_what_is_new_is_computed(clip, tmp_path: Path) -> None:
    with Captions(tmp_path / SCRATCH, clip) as captions:
        first, _ = captions.rows(WORDS[:3])
        second, _ = captions.rows([WORDS[4], WORDS[1], WORDS[3], WORDS[0]])
        assert captions.encoded == 5
        assert np.array_equal(second[[1, 3]], first[[1, 0]])
        np.testing.assert_allclose(second, clip.encode_texts([WORDS[i] for i in (4, 1, 3, 0)]), atol=1e-3)
    with Captions(tmp_path / SCRATCH, clip) as captions:
        again, _ = captions.rows([WORDS[4], WORDS[1], WORDS[3], WORDS[0]])
        assert captions.encoded == 0
        assert again.tobytes() == second.tobytes()
    remove_scratch(tmp_path / SCRATCH)
    assert not list(tmp_path.glob("[!.]*"))


def test_that_a_caption_was_cut_is_kept(clip, tmp_path: Path) -> None:
    long = " ".join(["a red ball rolls left"] * 9)
    with Captions(tmp_path / SCRATCH, clip) as captions:
        for _ in range(2):
            assert captions.rows(["left", long])[1].tolist() == [False, True]


def test_a_damaged_file_is_begun_anew(clip, tmp_path: Path) -> None:
    with Captions(tmp_path / SCRATCH, clip):
        pass
    with (tmp_path / SCRATCH).open("r+b") as file:
        file.seek(16)
        file.write(b"no database" * 1000)
    with Captions(tmp_path / SCRATCH, clip) as captions:
        assert len(captions.rows(WORDS)[0]) == 5


def test_a_place_that_cannot_be_written(clip, tmp_path: Path) -> None:
    (tmp_path / SCRATCH).mkdir()
    with pytest.raises(OutputError, match=r"captions\.sqlite: found a folder"):
        Captions(tmp_path / SCRATCH, clip)
