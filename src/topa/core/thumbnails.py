"""Pictures small enough for a report."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 192
"""Pixels of a thumbnail's longer side at most: sharp in a column of the page, about 6 kB."""


def thumbnail(picture: Image.Image, side: int = SIDE) -> str:
    """A picture as a data URI (JPEG), made smaller where its longer side has more than `side` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
