"""A Grad-CAM gallery as one picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_bytes

if TYPE_CHECKING:
    from preceptor.report.gallery import Gallery

TILE = 168  # pixels of a picture
_GAP, _MARGIN, _HEAD, _CAPTION, _BAND = 8, 132, 68, 26, 32
_PAPER, _INK, _PALE = (255, 255, 255), (29, 35, 41), (95, 104, 114)
_RIGHT, _WRONG = (45, 106, 62), (156, 47, 29)


def write_sheet(gallery: Gallery, path: Path) -> None:
    """Write the gallery as one PNG: a row per image, its columns the image and each network's map.

    A gallery of quick runs has a band at the top that says so.

    Raises:
        PreceptorError: it cannot be written.
    """
    titles = [("image", "", ""), *((each.title, each.backbone, each.source) for each in gallery.networks)]
    line = TILE + _CAPTION + _GAP
    band = _BAND if gallery.quick else 0
    width = _MARGIN + len(titles) * (TILE + _GAP)
    sheet = Image.new("RGB", (width, band + _HEAD + line * len(gallery.cases)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(13)
    if band:
        pen.text((8, 8), NOT_EVIDENCE.capitalize(), fill=_WRONG, font=large)
    for column, (title, backbone, source) in enumerate(titles):
        left = _MARGIN + column * (TILE + _GAP)
        pen.text((left, band + 6), _fitted(title, large, TILE), fill=_INK, font=large)
        pen.text((left, band + 27), _fitted(backbone, small, TILE), fill=_PALE, font=small)
        pen.text((left, band + 44), _fitted(source, small, TILE), fill=_PALE, font=small)
    for row, case in enumerate(gallery.cases):
        top = band + _HEAD + row * line
        pen.text((8, top + TILE // 2 - 20), _fitted(case.target, large, _MARGIN - 16), fill=_INK, font=large)
        pen.text((8, top + TILE // 2 + 2), _fitted(case.id, small, _MARGIN - 16), fill=_PALE, font=small)
        sheet.paste(_decode(case.picture), (_MARGIN, top))
        for column, shown in enumerate(case.maps, 1):
            left = _MARGIN + column * (TILE + _GAP)
            sheet.paste(_decode(shown.picture), (left, top))
            words = _fitted(shown.words, small, TILE)
            pen.text((left, top + TILE + 4), words, fill=_RIGHT if shown.right else _WRONG, font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise PreceptorError(f"{path} cannot be written: {error.strerror}", remedy="choose another --out") from error


def _decode(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture))).resize((TILE, TILE))


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut at its end where it is too wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
