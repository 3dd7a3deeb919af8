"""A hook of MkDocs: one page of the API reference for each room of src/topa, made from its docstrings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PACKAGE = Path(__file__).parents[1] / "src" / "topa"
PUBLIC = """# topa

::: topa
    options:
      show_submodules: false
      members: [load, Topa, Library, Answer]
"""


def pages() -> dict[str, str]:
    """Return the text of each page, by its name: the public names first, then the rooms in alphabetical order."""
    rooms = sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))
    return {"topa": PUBLIC} | {room: f"# topa.{room}\n\n::: topa.{room}\n" for room in rooms}


def on_config(config: MkDocsConfig) -> None:
    """Put the pages into the navigation."""
    (section,) = (entry for entry in config.nav or [] if "API" in entry)
    section["API"] = [f"api/{name}.md" for name in pages()]


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the pages to the site."""
    for name, text in pages().items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
