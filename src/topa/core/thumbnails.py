"""Thumbnails for reports."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 192
"""Maximum length of a thumbnail's longer side, in pixels: sharp in a column of the page, about 6 kB."""


def thumbnail(picture: Image.Image, side: int = SIDE) -> str:
    """Return a picture as a JPEG data URI, scaled down so that its longer side has at most `side` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
