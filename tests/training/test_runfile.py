"""`run.json`: a run of an older version goes on, one of other settings is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import ArtifactError, UsageError
from topa.training.config import read_recipe
from topa.training.runfile import RUN, expect_run, open_run

CONFIG = read_recipe("microworld")


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """How many Tideos a recipe was made for is the recipe's, and was no setting when the run began."""
    open_run(tmp_path, "align", 5, CONFIG, {}, accept_changes=False)
    assert "expected_tideos" not in (tmp_path / RUN).read_text()
    for config in (CONFIG, CONFIG.model_copy(update={"expected_tideos": 5})):
        expect_run(tmp_path, "align", config, accept_changes=False)
        open_run(tmp_path, "align", 5, config, {}, accept_changes=False)


def test_other_settings_are_refused_in_the_same_words(tmp_path: Path) -> None:
    expect_run(tmp_path, "align", CONFIG, accept_changes=False)  # nothing is there yet
    open_run(tmp_path, "align", 5, CONFIG, {"samples": 3}, accept_changes=False)
    other = CONFIG.model_copy(update={"epochs": 9, "checkpoint_minutes": 9.0, "pass_tokens": 9})
    told = []
    for check in (
        lambda: expect_run(tmp_path, "align", other, accept_changes=False),
        lambda: open_run(tmp_path, "align", 5, other, {"samples": 3}, accept_changes=False),
    ):
        with pytest.raises(UsageError, match="epochs: 4 then, 9 now") as found:
            check()
        told.append(str(found.value))
    assert told[0] == told[1]
    expect_run(tmp_path, "align", other, accept_changes=True)
    with pytest.raises(UsageError, match="kind: 'align' then, 'finetune' now"):
        expect_run(tmp_path, "finetune", CONFIG, accept_changes=False)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text(json.dumps({"settings": 3}))
    with pytest.raises(ArtifactError, match="found no settings of a run"):
        expect_run(tmp_path, "align", CONFIG, accept_changes=False)
