"""The shell of all HTML reports: one self-contained file, responsive, with a light and a dark theme.

Parameters are HTML, and callers escape data with `html.escape`; parameters documented as text are escaped here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from .formatting import percent

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
    """Return the whole page. Its Content-Security-Policy blocks all other scripts and all requests.

    title: text. style: CSS appended to `page.css`. sections: id -> (heading, content); empty ones are left out, and the
    header ends with links to the others. allow: further directives of the policy. script: the only script that may
    run, allowed by its hash.
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
    """Read a style sheet or a script that lies beside a package's modules."""
    return files(package or "").joinpath(name).read_text(encoding="utf-8")


def scroller(label: str, content: str) -> str:
    """Wrap wide content in a region that scrolls, also by keyboard. label: text, for screen readers."""
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
    """Format a command to copy. label: text, for screen readers."""
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>\n'


def bullets(texts: Iterable[str]) -> str:
    """Format texts as a list of notes; "" if there are none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def terms(values: Mapping[str, str]) -> str:
    """Format names and values, both text, as the rows of a `dl`."""
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())


def options(texts: Sequence[str], probabilities: Sequence[float], choice: int | None, answer: int | None) -> str:
    """Format the options of a question, marking the choice and the right answer; with probabilities, as bars.

    choice: index of the chosen option, None without one. answer: index of the right option, None if unknown.
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
        content = f"<span>{escape(text) or '<i>no text</i>'}{mark}</span>"
        if probabilities:
            content += (
                f"<b>{percent(probabilities[k], 0)}</b>"
                f'<i style="--share:{min(max(probabilities[k], 0), 1):.3f}" aria-hidden="true"></i>'
            )
        return f'<li class="{state}">{content}</li>'

    return f'<ol class="options">{"".join(option(k, text) for k, text in enumerate(texts))}</ol>'


def hash_source(text: str) -> str:
    """Return the source expression of a script or style sheet for a Content-Security-Policy: 'sha256-...', quoted."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
