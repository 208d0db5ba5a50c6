"""Pictures of what networks looked at: ``explain.json`` of a run, and its two renderings, a page and one PNG."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_bytes, write_text

FORMAT = 1
NAME = "explain"  # .json, .html and .png in a run's folder
TILE = 168  # pixels of a picture
_QUALITY = 85
_GAP, _MARGIN, _HEAD, _CAPTION, _BAND = 8, 132, 68, 26, 32
_PAPER, _INK, _PALE = (255, 255, 255), (29, 35, 41), (95, 104, 114)
_RIGHT, _WRONG = (45, 106, 62), (156, 47, 29)


@dataclass(frozen=True)
class Seen:
    """One network on one image: what it said, how sure it was, and where it looked.

    Attributes:
        said: the predicted class.
        probability: of that class.
        right: whether it is the true one.
        picture: a JPEG of ``TILE`` pixels square in base64.
    """

    said: str
    probability: float
    right: bool
    picture: str

    @property
    def words(self) -> str:
        """mel 0.93, or nv 0.61, wrong"""
        return f"{self.said} {self.probability:.2f}{'' if self.right else ', wrong'}"


@dataclass(frozen=True)
class Case:
    """One image: its id and true class, its picture, and the networks in the order of the gallery's."""

    id: str
    target: str
    picture: str
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Looker:
    """One network of a gallery: what it is called over its pictures, its backbone, and its run and name in it."""

    title: str
    backbone: str
    source: str


@dataclass(frozen=True)
class Gallery:
    """Some test images and what several networks made of them.

    Attributes:
        title: whose gallery this is.
        story: sentences on which images these are.
        lookers: the networks.
        cases: the images.
        quick: the runs among them that are of a quick study, so that nothing follows from the pictures.
    """

    title: str
    story: tuple[str, ...]
    lookers: tuple[Looker, ...]
    cases: tuple[Case, ...]
    quick: tuple[str, ...] = ()


def encode(picture: Image.Image) -> str:
    """A picture as the base64 text of a JPEG."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def write_gallery(gallery: Gallery, folder: Path) -> None:
    """Writes ``explain.json``; see :func:`read_gallery`."""
    write_text(folder / f"{NAME}.json", json.dumps({"format": FORMAT, **asdict(gallery)}, ensure_ascii=False) + "\n")


def read_gallery(folder: Path) -> Gallery | None:
    """The gallery of a run, or None where ``preceptor explain`` has not been there.

    Raises:
        PreceptorError: the file is broken or of another version.
    """
    path = folder / f"{NAME}.json"
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise PreceptorError(f"{path}: the format is {said['format']!r}", expected=f"format {FORMAT}")
        cases = tuple(
            Case(one["id"], one["target"], one["picture"], tuple(Seen(**seen) for seen in one["seen"]))
            for one in said["cases"]
        )
        lookers = tuple(Looker(**one) for one in said["lookers"])
        return Gallery(said["title"], tuple(said["story"]), lookers, cases, tuple(said.get("quick", ())))
    except (ValueError, TypeError, KeyError) as error:
        raise PreceptorError(
            f"{path} is no gallery: {error}", remedy=f"write it again with preceptor explain {folder}, or remove it"
        ) from None


def write_sheet(gallery: Gallery, path: Path) -> None:
    """Writes the gallery as one PNG: a row an image, in its columns the image and where each network looked.

    Above the columns stands that it is no evidence, where it is none.
    """
    titles = [Looker("image", "", ""), *gallery.lookers]
    line = TILE + _CAPTION + _GAP
    band = _BAND if gallery.quick else 0
    width = _MARGIN + len(titles) * (TILE + _GAP)
    sheet = Image.new("RGB", (width, band + _HEAD + line * len(gallery.cases)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(13)
    if band:
        pen.text((8, 8), NOT_EVIDENCE.capitalize(), fill=_WRONG, font=large)
    for column, one in enumerate(titles):
        left = _MARGIN + column * (TILE + _GAP)
        pen.text((left, band + 6), _fitted(one.title, large, TILE), fill=_INK, font=large)
        pen.text((left, band + 27), _fitted(one.backbone, small, TILE), fill=_PALE, font=small)
        pen.text((left, band + 44), _fitted(one.source, small, TILE), fill=_PALE, font=small)
    for row, case in enumerate(gallery.cases):
        top = band + _HEAD + row * line
        pen.text((8, top + TILE // 2 - 20), _fitted(case.target, large, _MARGIN - 16), fill=_INK, font=large)
        pen.text((8, top + TILE // 2 + 2), _fitted(case.id, small, _MARGIN - 16), fill=_PALE, font=small)
        sheet.paste(_decode(case.picture), (_MARGIN, top))
        for column, seen in enumerate(case.seen, 1):
            left = _MARGIN + column * (TILE + _GAP)
            sheet.paste(_decode(seen.picture), (left, top))
            said = _fitted(seen.words, small, TILE)
            pen.text((left, top + TILE + 4), said, fill=_RIGHT if seen.right else _WRONG, font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def _decode(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture))).resize((TILE, TILE))


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut at its end where it is too wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def galleries(folders: Sequence[Path]) -> list[Gallery]:
    """Those that there are, in order."""
    return [found for folder in folders if (found := read_gallery(folder)) is not None]
