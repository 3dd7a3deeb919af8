"""Make the moving picture of the README: `python docs/make_animation.py [topa-demo]` writes docs/answering.gif.

Serves the demo's model and videos with `topa serve`, uses the page in a real browser, and takes a picture after each
step. Needs `make demo`, `pip install -e '.[dev]'`, and a chromium, at /usr/bin/chromium or where CHROMIUM says.
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
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

OUT = Path(__file__).with_name("answering.gif")
VIDEOS, VIDEO = "micro-2000003-00004*.mp4", "micro-2000003-000042.mp4"
QUESTION = "what colour is the toy at the end ?"
OPTIONS = ("red", "green", "blue", "yellow")
FREE_QUESTION = "where is the toy at the start ?"
VIEWPORT = {"width": 1200, "height": 880}
WIDTH = 900
"""Pixels of the GIF."""
MAX_BYTES = 1_500_000


class Film:
    """Pictures of a page, each with the milliseconds that it is shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pictures: list[Image.Image] = []
        self.durations: list[int] = []

    def shoot(self, milliseconds: int, pointer: tuple[float, float] | None = None) -> None:
        """Take a picture, with a round pointer at a place of the page."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        if pointer is not None:
            x, y = pointer
            ImageDraw.Draw(picture, "RGBA").ellipse(
                (x - 14, y - 14, x + 14, y + 14), (15, 118, 110, 90), (15, 118, 110)
            )
        height = round(WIDTH * picture.height / picture.width)
        self.pictures.append(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.durations.append(milliseconds)

    def click(self, target: Locator) -> None:
        """Show where the click goes, then click."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box is not None, "a visible target has a box"
        self.shoot(700, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
        target.click()

    def type(self, target: Locator, text: str) -> None:
        """Type a text, a few letters per picture."""
        target.fill("")
        for end in range(6, len(text) + 6, 6):
            target.fill(text[:end])
            self.shoot(120)

    def save(self, path: Path) -> None:
        """Write the GIF, all pictures in the colours of one palette."""
        sheet = Image.new("RGB", (WIDTH, sum(picture.height for picture in self.pictures)))
        for number, picture in enumerate(self.pictures):
            sheet.paste(picture, (0, number * picture.height))
        palette = sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in self.pictures)
        first.save(path, save_all=True, append_images=rest, duration=self.durations, loop=0, optimize=True)


def main() -> None:
    """Make the GIF from the demo in a folder."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "topa-demo")
    if not (demo / "model-0").is_dir():
        sys.exit(f"make_animation: found no model in {demo}; expected the folder of a finished demo. Run: make demo")
    with tempfile.TemporaryDirectory() as library, serving(demo, Path(library)) as address, sync_playwright() as driver:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEWPORT, color_scheme="light")
        page.goto(address)
        page.wait_for_selector("#videos img")
        film = Film(page)
        play(film)
        browser.close()
    film.save(OUT)
    size = OUT.stat().st_size
    print(f"{OUT}  {len(film.pictures)} pictures, {size:,} bytes")
    if size > MAX_BYTES:
        sys.exit(f"make_animation: {OUT} has {size:,} bytes; expected at most {MAX_BYTES:,}. Show less.")


@contextmanager
def serving(demo: Path, library: Path) -> Iterator[str]:
    """Run `topa serve` on a demo and a library of its videos; gives the address of its page."""
    topa = [sys.executable, "-m", "topa.cli"]
    index = [*topa, "index", str(demo / "videos" / VIDEOS), "--out", str(library), "--encoder", "microworld/clip"]
    subprocess.run(index, check=True)  # noqa: S603 - our own command
    command = [*topa, "serve", "--model", str(demo / "model-0"), "--library", str(library), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        line = next((line for line in server.stdout or () if line.startswith("page:")), None)
        if line is None:
            sys.exit("make_animation: topa serve ended before it printed its address; its message is above.")
        yield line.removeprefix("page:").strip()
    finally:
        server.terminate()
        server.wait()


def play(film: Film) -> None:
    """Choose a video, ask with options, see why, and ask in words."""
    page = film.page
    page.set_default_timeout(30_000)
    settle(page)
    film.shoot(1200)
    film.click(page.locator("#videos button", has_text=VIDEO))
    page.wait_for_selector("#frames button")
    page.evaluate("scrollTo(0, 0)")
    settle(page)
    film.shoot(1200)
    question = page.get_by_label("Question")
    film.type(question, QUESTION)
    for number, option in enumerate(OPTIONS, 1):
        page.get_by_label(f"Option {number}", exact=True).fill(option)
        film.shoot(250)
    ask = page.get_by_role("button", name="Ask", exact=True)
    film.click(ask)
    page.wait_for_selector("#why:not([hidden])")
    settle(page)
    film.shoot(1800)
    film.click(page.get_by_role("button", name="Why?"))
    page.wait_for_selector("#support-bar:not([hidden])")
    settle(page)
    film.shoot(1500)
    film.click(page.locator("#rests-list .best"))
    settle(page)
    film.shoot(3000)
    film.click(page.locator("#clear"))
    film.type(question, FREE_QUESTION)
    film.click(ask)
    page.wait_for_selector("#answer:not([aria-busy])")
    settle(page)
    film.shoot(3500)


def settle(page: Page) -> None:
    """Wait until the pictures and the player show what they should."""
    loaded = (
        "[...document.images].every(image => image.naturalWidth > 0 || "
        "!image.checkVisibility() || image.getBoundingClientRect().top > innerHeight) && "
        "[...document.querySelectorAll('video[src]')].every(video => video.readyState >= 3 && !video.seeking)"
    )
    while not page.evaluate(loaded):  # the page's policy forbids what wait_for_function does
        page.wait_for_timeout(100)
    page.wait_for_timeout(1500)  # scrolling, and the player's own controls


if __name__ == "__main__":
    main()
