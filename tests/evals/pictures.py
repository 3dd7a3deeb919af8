"""Pictures as bytes and as data URIs, and words that would break a page."""

from __future__ import annotations

import base64
import io

from PIL import Image

HOSTILE = """<script>alert("x")</script>'"><img src=x onerror=alert(1)>&amp;</style></title>"""


def picture(colour: tuple[int, int, int], form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (32, 32), colour)
    image.paste((250, 250, 250), (10, 10, 22, 22))
    image.save(file, form)
    return file.getvalue()


def data_uri(colour: tuple[int, int, int]) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(colour)).decode()
