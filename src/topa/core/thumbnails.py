"""Thumbnails for reports."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 192
"""Maximum length of a thumbnail's longer side, in pixels: sharp in a column of the page, about 6 kB."""


def shrink(picture: Image.Image, side: int) -> Image.Image:
    """Return an RGB copy, scaled down so that its longer side has at most `side` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    return small


def jpeg(picture: Image.Image, side: int = SIDE) -> bytes:
    """Return a picture as JPEG, scaled down by `shrink`."""
    file = io.BytesIO()
    shrink(picture, side).save(file, "JPEG", quality=85)
    return file.getvalue()


def thumbnail(picture: Image.Image, side: int = SIDE) -> str:
    """Return a picture as a JPEG data URI, scaled down by `shrink`."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, side)).decode()
