"""All pages of Markdown, parsed as GitHub does: fences close, links and anchors lead somewhere, named files exist."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PARSER = MarkdownIt("gfm-like", {"linkify": False})
FOLDERS = ("perf", "docs", "examples", "src", "tests")
NAMED = re.compile(rf"(?<![\w/.<*$-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w")
"""A path from the root of the repository; one that belongs to a longer path or address is not."""
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def listed() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.splitlines() if (ROOT / name).is_file())


PAGES = listed()


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def unclosed(text: str) -> list[int]:
    """Lines at which a fence opens that nothing closes before its block ends."""
    lines, found = text.splitlines(), []
    for token in flat(PARSER.parse(text)):
        if token.type == "fence":
            first, end = token.map
            last = lines[end - 1].strip(" >")
            if end - first < 2 or set(last) != {token.markup[0]} or len(last) < len(token.markup):
                found.append(first + 1)
    return found


def swallowed(text: str) -> list[str]:
    """Headings inside blocks of code: what an open fence leaves behind."""
    blocks = [token for token in flat(PARSER.parse(text)) if token.type == "fence" and token.info != "markdown"]
    return [line for block in blocks for line in block.content.splitlines() if re.match(r"#{2,6} [A-Z]", line)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, by GitHub's rules, and those that it names itself."""
    counted: Counter[str] = Counter()
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    tokens = PARSER.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            shown = "".join(t.content for t in inline.children or [] if t.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
            found.add(f"{slug}-{counted[slug]}" if counted[slug] else slug)
            counted[slug] += 1
    return found


def links(text: str) -> Iterator[str]:
    for token in flat(PARSER.parse(text)):
        if token.type == "link_open":
            yield str(token.attrs["href"])
        elif token.type == "image":
            yield str(token.attrs["src"])
        elif token.type in ("html_block", "html_inline"):
            yield from re.findall(r"(?:href|src)=\"([^\"]+)\"", token.content)


@cache
def anchors_of(path: Path) -> set[str]:
    return anchors(path.read_text()) if path.suffix == ".md" else set()


def dead(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text()):
        if ELSEWHERE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / unquote(name)).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            found.append(link)
    return found


def named_files(text: str) -> set[str]:
    """Paths of this repository that a page's text or code names."""
    kinds = ("text", "code_inline", "fence", "code_block")
    return {name for token in flat(PARSER.parse(text)) if token.type in kinds for name in NAMED.findall(token.content)}


def exists(name: str) -> bool:
    """Whether a named file is there: from the root, or, for a room that is called like a folder, in the package."""
    return any(any(base.glob(name)) for base in (ROOT, ROOT / "src" / "topa"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_it_looks_like(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not unclosed(text)
    assert not swallowed(text)
    assert not dead(ROOT / name)
    assert not [path for path in named_files(text) if not exists(path)]


def test_all_pages_are_read() -> None:
    cards = {f"src/topa/microworld/weights/{model}/README.md" for model in ("clip", "llm")}
    assert {
        "README.md",
        "CHANGELOG.md",
        "docs/index.md",
        "docs/tutorials/ask.md",
        "docs/architecture.md",
        *cards,
    } <= set(PAGES)


def test_what_is_wrong_would_be_seen(tmp_path: Path) -> None:
    opened = "# A\n\n```bash\ntopa\n```\n\n```\nx = 1\n\n## Next\n\ntext\n"
    assert unclosed(opened) == [7]
    assert swallowed(opened) == ["## Next"]
    assert unclosed("- one\n\n  ```\n  code\n\nafter\n") == [3]
    assert not unclosed("~~~\n```\n~~~\n\n- one\n\n  ```sh\n  # two\n  ```\n\n> ```\n> quoted\n> ```\n")
    (tmp_path / "other.md").write_text("## What `a.b` isn't\n\n## Twice\n\n## Twice\n")
    right, wrong = tmp_path / "right.md", tmp_path / "wrong.md"
    right.write_text("[a](other.md#what-ab-isnt) [b](other.md#twice-1) [c](#here) [d](https://x.org/#y)\n\n# Here\n")
    assert dead(right) == []
    wrong.write_text('[a](none.md) [b](other.md#twice-2) [c](#there) <img src="none.png">\n')
    assert dead(wrong) == ["none.md", "other.md#twice-2", "#there", "none.png"]
    assert named_files("`docs/none.md`, tests/a/b.py::c, https://x.org/docs/y and `my/docs/z`") == {
        "docs/none.md",
        "tests/a/b.py",
    }
    assert not exists("docs/none.md")
