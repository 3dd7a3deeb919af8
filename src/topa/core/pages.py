"""What pages of ours have in common: one HTML file that fetches nothing, light and dark, wide and narrow.

Takes HTML: whoever calls has escaped what comes from data (`html.escape`). Where a parameter is called text, it is
escaped here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

_POLICY = ("default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'")


def document(
    title: str,
    *,
    style: str,
    header: str,
    sections: Mapping[str, tuple[str, str]],
    footer: str,
    allow: Iterable[str] = (),
    script: str = "",
) -> str:
    """The whole page. Even if something hostile got past the escaping, the browser would run and fetch nothing.

    title: text. style: rules after those of `page.css`. sections: id -> (heading, content); empty ones are left out,
    and the header ends with links to the others. allow: more directives of the Content-Security-Policy. script: it
    alone may run, by its hash.
    """
    filled = {key: section for key, section in sections.items() if section[1]}
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, (heading, _) in filled.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{heading}</h2>\n{content}</section>\n'
        for key, (heading, content) in filled.items()
    )
    shared = resource(__package__, "page.css")
    policy = [*_POLICY, *allow, *([f"script-src {hash_source(script)}"] if script else [])]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{shared}{style}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{escape(title)}</h1>\n{header}<nav aria-label="Sections">{links}</nav>\n</header>\n'
        f"<main>\n{body}</main>\n<footer>{footer}</footer>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def resource(package: str | None, name: str) -> str:
    """A style sheet or a script that lies beside a package's modules."""
    return files(package or "").joinpath(name).read_text(encoding="utf-8")


def scroller(label: str, content: str) -> str:
    """Something wide that scrolls by itself, by keyboard too. label: text, for screen readers."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>\n'


def table(label: str, columns: Iterable[str], rows: Iterable[str], kind: str = "plain", foot: str = "") -> str:
    """A table that scrolls by itself where it is wide. label: text, for screen readers. rows, foot: `row`s."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    last = f"\n<tfoot>{foot}</tfoot>" if foot else ""
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>{last}"
    return scroller(label, f'<table class="{kind}">{body}</table>')


def row(name: str, cells: Iterable[str], note: str = "") -> str:
    """A row of a table, of text. note: HTML below the name."""
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(name)}{note}</th>{rest}</tr>\n'


def cards(label: str, numbers: Iterable[tuple[str, str, str, str]]) -> str:
    """The numbers that a page begins with. label: text, for screen readers. numbers: class, value, name and what is to
    be said about it; all HTML."""
    items = "".join(
        f'<li class="{kind}"><b>{value}</b><span>{name}</span><i>{about}</i></li>'
        for kind, value, name, about in numbers
    )
    return f'<ul class="cards" aria-label="{escape(label)}">{items}</ul>\n'


def command(label: str, text: str) -> str:
    """A command to copy. label: text, for screen readers."""
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>\n'


def bullets(texts: Iterable[str]) -> str:
    """A list of notes; nothing of none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def terms(values: Mapping[str, str]) -> str:
    """Names and values, both text, as the rows of a `dl`."""
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())


def options(texts: Sequence[str], probabilities: Sequence[float], choice: int | None, answer: int | None) -> str:
    """The options of a question, what was chosen and what is right; with probabilities, their bars.

    answer: None where it isn't known; choice: None where nothing was chosen.
    """

    def option(k: int, text: str) -> str:
        state, words = "", ""
        if k == choice:
            state, words = ("chosen", "chosen") if answer is None else ("wrong", "✗ chosen, wrong")
            if k == answer:
                state, words = "right", "✓ chosen, right"
        elif k == answer:
            state, words = "missed", "✓ the right one"
        mark = f" <em>{words}</em>" if words else ""
        shown = f"<span>{escape(text) or '<i>no text</i>'}{mark}</span>"
        if probabilities:
            shown += (
                f"<b>{100 * probabilities[k]:.0f} %</b>"
                f'<i style="--share:{min(max(probabilities[k], 0), 1):.3f}" aria-hidden="true"></i>'
            )
        return f'<li class="{state}">{shown}</li>'

    return f'<ol class="options">{"".join(option(k, text) for k, text in enumerate(texts))}</ol>'


def hash_source(text: str) -> str:
    """A script or a style sheet as a Content-Security-Policy names it: 'sha256-...', in its quotes."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
