"""A sheet of views to look at, since no test sees that a lesion has become too small, too blue or upside down."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.policy import Policy
from preceptor.data.views import draw, render
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import SHEET_MARK, write_bytes
from preceptor.utils.randomness import generator, seed_of

_TILE = 144  # pixels of the sheet for one image
_GAP, _MARGIN, _HEAD = 4, 132, 30
_PAPER, _INK, _PALE = (255, 255, 255), (25, 25, 25), (110, 110, 110)
_OUTLINE = (0, 255, 210)  # hardly met on skin or in stained tissue


def contact_sheet(
    pixels: Pixels,
    catalog: Catalog,
    policies: Mapping[str, Policy],
    path: Path,
    *,
    per_class: int = 1,
    views: int = 3,
    seed: int = 0,
) -> None:
    """Writes a PNG: a row for each of some images, in its columns the image and what each policy makes of it.

    Where the pixels have masks, their border is drawn on the image and on its views.

    Args:
        pixels: the cache of ``catalog``.
        policies: by the name to show above their columns.
        per_class: images of each class, chosen by ``seed``; all of them where a class has fewer.
        views: views by each policy.

    Raises:
        PreceptorError: ``path`` cannot be written.
    """
    rows = _sample(catalog, per_class, seed)
    images = torch.from_numpy(pixels.images[rows])
    masks = None if pixels.masks is None else torch.from_numpy(pixels.masks[rows])
    columns = [_tiles(images, masks)]
    for name, policy in policies.items():
        for view in range(views):
            drawn = draw(policy, len(rows), generator(seed, view, 0, f"preview/{name}"))
            rendered, moved = render(images, drawn, masks)
            columns.append(_tiles(rendered.mul(255).round().byte(), moved))
    sheet = _lay_out(columns, [("image", 1), *((name, views) for name in policies)])
    _write_names(sheet, catalog, rows)
    buffer = BytesIO()
    info = PngInfo()
    info.add_text("Software", SHEET_MARK.decode())
    sheet.save(buffer, "PNG", pnginfo=info)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise PreceptorError(
            f"the contact sheet {path} cannot be written: {error.strerror}", remedy="name another file"
        ) from error


def _sample(catalog: Catalog, per_class: int, seed: int) -> np.ndarray:
    """Rows of the catalog, class by class."""
    random = np.random.default_rng(seed_of(seed, "preview"))
    labels = catalog.labels
    chosen = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.concatenate(chosen)


def _tiles(images: torch.Tensor, masks: torch.Tensor | None) -> list[Image.Image]:
    """(B, 3, S, S) uint8 to pictures of one size, with the outlines of the masks."""
    tiles = []
    for row, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        tile = np.array(Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.BICUBIC))
        if masks is not None:
            mask = np.asarray(Image.fromarray(masks[row].numpy()).resize((_TILE, _TILE), Image.Resampling.NEAREST))
            tile[_border(mask)] = _OUTLINE
        tiles.append(Image.fromarray(tile))
    return tiles


def _border(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: where the pixel to the right or below is of another class."""
    border = np.zeros(mask.shape, dtype=bool)
    border[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    border[:-1] |= mask[:-1] != mask[1:]
    return border


def _lay_out(columns: list[list[Image.Image]], titles: list[tuple[str, int]]) -> Image.Image:
    """The tiles on white, groups of columns under their titles (text, number of columns)."""
    step = _TILE + _GAP
    width = _MARGIN + step * len(columns) + 2 * _GAP * (len(titles) - 1)
    sheet = Image.new("RGB", (width, _HEAD + step * len(columns[0])), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    left, column = _MARGIN, 0
    for title, count in titles:
        pen.text((left, 8), _fitted(title, font, count * step), fill=_INK, font=font)
        for tiles in columns[column : column + count]:
            for row, tile in enumerate(tiles):
                sheet.paste(tile, (left, _HEAD + row * step))
            left += step
        left, column = left + 2 * _GAP, column + count
    return sheet


def _write_names(sheet: Image.Image, catalog: Catalog, rows: np.ndarray) -> None:
    """Class and id of each row, in the left margin."""
    pen, large, small = ImageDraw.Draw(sheet), ImageFont.load_default(16), ImageFont.load_default(12)
    for line, row in enumerate(rows):
        top = _HEAD + line * (_TILE + _GAP) + _TILE // 2 - 18
        for shift, column, font, ink in ((0, "label", large, _INK), (22, "id", small, _PALE)):
            text = _fitted(str(catalog.table.at[int(row), column]), font, _MARGIN - 16)
            pen.text((8, top + shift), text, fill=ink, font=font)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut at its start where it is too wide (the end of an id tells more)."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
