"""A real browser for the tests of pages."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if not CHROMIUM.exists():
        give_up(f"{CHROMIUM} is not there: apt-get install chromium, to see the page in a real browser")
    if not find_spec("playwright"):
        give_up("playwright is not there: pip install playwright, to see the page in a real browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()
