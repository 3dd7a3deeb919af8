"""Exit codes: 1 when the work failed, 2 when the request was wrong."""

from __future__ import annotations

import pytest

from topa.core import errors
from topa.core.errors import TopaError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TopaError", 1),
        ("ArtifactError", 1),
        ("OutputError", 1),
        ("UsageError", 2),
        ("InputError", 2),
        ("VideoError", 2),
        ("ArtifactMismatch", 2),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    error = getattr(errors, name)
    assert issubclass(error, TopaError)
    assert error("text").exit_code == code
    assert str(error("text")) == "text"


def test_a_video_without_frames_is_a_bad_input() -> None:
    assert issubclass(errors.VideoError, errors.InputError)
