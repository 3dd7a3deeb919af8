"""What holds for every test: no downloads, fair shares of the processor, and no silent skips in CI."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one, unless it needs a GPU."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole files that skip themselves while they are collected."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if report.skipped and os.environ.get("CI") == "true" and "GPU" not in reason:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: in CI only a test that needs a GPU may be skipped. {reason}"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def topa(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line in this process, in a shell that finds it: `topa("ask", video, question)`."""
    from topa.cli import main

    monkeypatch.setenv("PATH", os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))

    def run(*words: object) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["topa", *map(str, words)])
        monkeypatch.setattr(sys, "warnoptions", ["default"])  # pytest decides about warnings, not the command line
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of the micro world, aligned for a second: whole, not good."""
    from topa.training.align import align
    from topa.training.config import read_recipe
    from topa.training.loop import Watch

    out = tmp_path_factory.mktemp("micro") / "model"
    align(
        read_recipe("microworld", ["microworld_tideos=60", "epochs=1", "validation=10"]), out, watch=Watch(show=False)
    )
    return out


@pytest.fixture(scope="session")
def micro_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the micro world."""
    from topa.microworld.writer import make_videos

    return make_videos(tmp_path_factory.mktemp("micro-video"), 1, 5, show=False)[0].path


@pytest.fixture(scope="module")
def browser():
    """A real one, for the tests of pages."""
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
