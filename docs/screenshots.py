"""The pictures of the page in the README: `python docs/screenshots.py` starts `topa serve` on a library of the micro
world, uses the page in a real browser, and writes `docs/serve-*.png`.

Needs `pip install -e '.[dev]'` and a chromium, at /usr/bin/chromium or where CHROMIUM says.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image
from playwright.sync_api import sync_playwright

from topa.library.index import Wanted
from topa.library.library import make
from topa.microworld.writer import make_videos

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).parent
SEED, VIDEOS, ASKED_ABOUT = 11, 9, 1
QUESTION = "what colour is the toy at the end ?"
OPTIONS = ("red", "green", "blue", "yellow", "purple", "white")
MOST = 250_000
"""Bytes of a picture at most."""


def main() -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = make_videos(folder, VIDEOS, SEED, show=False)
        make([str(folder / "videos")], folder / "library", Wanted(encoder="microworld/clip"), show=False)
        with serving(folder / "library") as address, sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
            )

            def page(width: int, height: int, scheme: Literal["light", "dark"]) -> Page:
                made = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                made.goto(address)
                made.wait_for_selector("#videos img")
                return made

            desktop = page(1280, 1040, "light")
            explain(desktop, videos[ASKED_ABOUT].path)
            save(desktop, "serve-desktop.png")
            dark = page(1280, 1040, "dark")
            search(dark)
            save(dark, "serve-desktop-dark.png")
            phone = page(390, 844, "dark")
            explain(phone, videos[ASKED_ABOUT].path)
            save(phone, "serve-phone-dark.png")
            light = page(390, 844, "light")
            ask_library(light)
            save(light, "serve-phone.png")
            browser.close()


@contextmanager
def serving(library: Path) -> Iterator[str]:
    """The address of `topa serve` on the micro model and a library."""
    command = [sys.executable, "-m", "topa.cli", "serve", "--library", str(library), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        found = next((line for line in server.stdout or () if line.startswith("page:")), None)
        if found is None:
            sys.exit("screenshots: topa serve ended before it told its address; its words are above.")
        yield found.removeprefix("page:").strip()
    finally:
        server.terminate()
        server.wait()


def explain(page: Page, video: Path) -> None:
    """Upload, ask with options, and look at the frame that counts."""
    page.set_input_files("#file", video)
    page.wait_for_selector("#frames button")
    page.get_by_label("Question").fill(QUESTION)
    for number, option in enumerate(OPTIONS, 1):
        page.get_by_label(f"Option {number}", exact=True).fill(option)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("button", name="Why?").click()
    page.locator("#rests-list .best").click()
    settle(page)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("scrollTo(0, 0)")


def search(page: Page) -> None:
    """Search the library, and open what was found."""
    page.get_by_label("Search the library").fill("a red ring on the left")
    page.keyboard.press("Enter")
    page.locator("#moments button").first.click()
    page.wait_for_selector("#frames button")
    page.get_by_role("button", name="Describe the video").click()
    page.wait_for_selector("#answer:not([aria-busy])")
    settle(page)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("scrollTo(0, 0)")


def ask_library(page: Page) -> None:
    """Ask over the library."""
    page.get_by_label("Question").fill("where is the red ring ?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector("#rests-list button")
    settle(page)
    page.locator("#talk").evaluate("node => node.scrollIntoView()")


def settle(page: Page) -> None:
    """Wait until pictures and the player show what they should."""
    loaded = (
        "[...document.images].every(image => image.complete || image.loading === 'lazy') && "
        "[...document.querySelectorAll('video[src]')].every(video => video.readyState >= 2 && !video.seeking)"
    )
    while not page.evaluate(loaded):
        page.wait_for_timeout(50)
    page.wait_for_timeout(600)  # scrolling, and the player's own controls


def save(page: Page, name: str) -> None:
    """What is in view, in few colours."""
    picture: Any = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(256, kmeans=8, dither=Image.Dither.NONE).save(HERE / name, optimize=True)
    size = (HERE / name).stat().st_size
    if size > MOST:
        sys.exit(f"screenshots: {name} has {size:,} bytes; expected at most {MOST:,}. Show less.")
    print(f"{name}  {size:,} bytes")


if __name__ == "__main__":
    main()
