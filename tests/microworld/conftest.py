"""The micro world's tokenizer, built once."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from topa.microworld.words import tokenizer


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()
