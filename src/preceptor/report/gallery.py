"""Grad-CAM galleries: the record ``explain.json`` of a run, and its two renderings, a page and one PNG."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from preceptor.report.gallery_sheet import TILE, write_sheet
from preceptor.report.page import render, write_page
from preceptor.report.run_text import quick_warning
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.utils.errors import PreceptorError

FORMAT = 2
NAME = "explain"  # .json, .html and .png in a run's folder
_QUALITY = 85
__all__ = [
    "NAME",
    "TILE",
    "Case",
    "Explained",
    "Gallery",
    "Map",
    "encode",
    "galleries",
    "read_gallery",
    "write_gallery",
]


@dataclass(frozen=True)
class Map:
    """Grad-CAM of one network on one image, for the class that it predicts.

    Attributes:
        predicted: the class, in full words.
        probability: of that class.
        right: whether it is the true one.
        picture: a JPEG of ``TILE`` pixels square in base64.
    """

    predicted: str
    probability: float
    right: bool
    picture: str

    @property
    def words(self) -> str:
        """``melanoma 0.93``, or ``melanocytic nevus 0.61, wrong``."""
        return f"{self.predicted} {self.probability:.2f}{'' if self.right else ', wrong'}"


@dataclass(frozen=True)
class Case:
    """One image: its id, true class in full words and picture, and the maps in the order of the gallery's networks."""

    id: str
    target: str
    picture: str
    maps: tuple[Map, ...]


@dataclass(frozen=True)
class Explained:
    """One network of a gallery: its heading, its backbone, and its run and name."""

    title: str
    backbone: str
    source: str


@dataclass(frozen=True)
class Gallery:
    """Some test images with the Grad-CAM maps of several networks.

    Attributes:
        title: whose gallery this is.
        story: sentences on which images these are.
        networks: in the order of each case's maps.
        cases: the images.
        quick: the runs among them that are of a quick study, so that nothing follows from the maps.
    """

    title: str
    story: tuple[str, ...]
    networks: tuple[Explained, ...]
    cases: tuple[Case, ...]
    quick: tuple[str, ...] = ()


def encode(picture: Image.Image) -> str:
    """Encode a picture as the base64 text of a JPEG."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def write_gallery(gallery: Gallery, folder: Path) -> None:
    """Write a gallery in three forms: ``explain.json``, which reports embed, ``explain.html`` and ``explain.png``.

    Raises:
        PreceptorError: the folder cannot be written to.
    """
    title = f"{gallery.title} ({NOT_EVIDENCE})" if gallery.quick else gallery.title
    warnings = [quick_warning(gallery.quick)] if gallery.quick else []
    record = json.dumps({"format": FORMAT, **asdict(gallery)}, ensure_ascii=False) + "\n"
    write_page(
        folder / f"{NAME}.html", render("explain.html.j2", {"title": title, "warnings": warnings, "shown": gallery})
    )
    write_sheet(gallery, folder / f"{NAME}.png")
    write_page(folder / f"{NAME}.json", record)  # comes last: with it the gallery is whole


def read_gallery(folder: Path) -> Gallery | None:
    """The gallery of a run, or None where ``preceptor explain`` has not made one.

    Raises:
        PreceptorError: the file is broken or of another version.
    """
    path = folder / f"{NAME}.json"
    if not path.is_file():
        return None
    remedy = f"write it again with preceptor explain {folder}, or remove it"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise PreceptorError(f"{path}: its format is {data['format']!r}", expected=f"{FORMAT}", remedy=remedy)
        cases = tuple(
            Case(case["id"], case["target"], case["picture"], tuple(Map(**each) for each in case["maps"]))
            for case in data["cases"]
        )
        networks = tuple(Explained(**network) for network in data["networks"])
        return Gallery(data["title"], tuple(data["story"]), networks, cases, tuple(data["quick"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        raise PreceptorError(f"{path} is no gallery: {error}", remedy=remedy) from None


def galleries(folders: Sequence[Path]) -> list[Gallery]:
    """The galleries of those runs that have one, in order."""
    return [gallery for folder in folders if (gallery := read_gallery(folder)) is not None]
