"""Pages as a parser and as a browser see them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """What a browser would see: the tree is checked, tags, addresses and texts are collected."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.ids, self.text, self.headings = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


WORST = """
() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, k) => v * a + under[k] * (1 - a));
    const fill = node => parse(getComputedStyle(node).backgroundColor);
    const behind = node => node ? over(fill(node), behind(node.parentElement)) : [255, 255, 255];
    let worst = [99, ""];
    for (const node of document.body.querySelectorAll("*")) {
        const words = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
        if (!words || node.closest("svg, video")) continue;
        const style = getComputedStyle(node), back = behind(node);
        const text = over(parse(style.color).slice(0, 3).concat(Number(style.opacity)), back);
        const [a, b] = [light(text), light(back)].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < worst[0]) worst = [ratio, node.outerHTML.slice(0, 80)];
    }
    return worst;
}
"""


def worst_contrast(page):
    """The lowest contrast of words on their background, and the element that has it; measured where colours are set."""
    return page.evaluate(WORST)
