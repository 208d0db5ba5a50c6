"""Masks drawn over their image: outlines of the truth and of each network's prediction."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from preceptor.report.canvas import Figure

#: Seen on bright and dark images, apart for the colour-blind, the same by day and night.
TRUTH, PREDICTED = "#ff9f1c", "#16a5ff"
COLOURS = {"truth": TRUTH, "predicted": PREDICTED}
#: panels -> columns of them on a page and on a telephone; more need the width of the page
COLUMNS = {2: (2, 2), 3: (3, 3), 4: (4, 2), 5: (3, 3), 6: (3, 3)}
_MARGIN, _LEAST_SHARE, _MOST_SHARE = 1.8, 0.25, 0.75  # of the part shown larger: times the masks' extent, of the side


def overlay(title: str, image: ArrayLike, truth: ArrayLike, predictions: Mapping[str, ArrayLike]) -> Figure:
    """Draw one image alone, then once for each network with the outlines of the truth and of its prediction.

    Where all masks lie close together the networks' panels are enlarged, and a frame in the first one marks that part.
    The image is embedded once, as a PNG. Outlines run between pixels, so that they show masks as they are.

    Args:
        title: which image it is, and why it is shown.
        image: (H, W, 3) uint8.
        truth: (H, W) class indices, 0 the background.
        predictions: the same of each network (students, ensemble, teacher), in the order of the panels.

    Raises:
        ValueError: shapes differ.
    """
    pixels, target = np.asarray(image), np.asarray(truth)
    masks = {name: np.asarray(mask) for name, mask in predictions.items()}
    if pixels.dtype != np.uint8 or pixels.shape != (*target.shape, 3):
        raise ValueError(f"an image {pixels.shape} of {pixels.dtype}; expected {(*target.shape, 3)} of uint8")
    for name, mask in masks.items():
        if mask.shape != target.shape:
            raise ValueError(f"the mask of {name} is {mask.shape}, the truth {target.shape}")
    size = int((target != 0).sum())
    note = f"target: {size} of {target.size} pixels" if size else "no target"
    return Figure(_panels(title, pixels, target, masks), title, note)


def window(masks: Sequence[NDArray[np.int64]]) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the part of an image that holds all masks, with a margin, in its proportions.

    At least a quarter of each side; the whole image where nothing would be gained or no mask holds anything.
    """
    rows, columns = np.nonzero(np.any([mask != 0 for mask in masks], axis=0))
    height, width = masks[0].shape
    if not len(rows):
        return 0, 0, width, height
    share = max(np.ptp(rows) / height, np.ptp(columns) / width)
    share = max(_MARGIN * float(share), _LEAST_SHARE)
    if share > _MOST_SHARE:
        return 0, 0, width, height
    wide, tall = round(share * width), round(share * height)
    left = int(np.clip((columns.min() + columns.max() + 1 - wide) // 2, 0, width - wide))
    top = int(np.clip((rows.min() + rows.max() + 1 - tall) // 2, 0, height - tall))
    return left, top, wide, tall


def outline(mask: NDArray[np.int64]) -> str:
    """SVG path data along the borders between pixels of different classes, and around those at the edge, in pixels."""
    padded = np.pad(mask, 1)
    across = _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])  # between a row and the next
    down = _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)
    return "".join(f"M{start} {at}H{end}" for at, start, end in across) + "".join(
        f"M{at} {start}V{end}" for at, start, end in down
    )


def _runs(border: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(line, start, end) of each unbroken stretch of a border, line by line."""
    ends = np.diff(np.pad(border, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(ends == 1)
    return list(zip(lines.tolist(), starts.tolist(), np.nonzero(ends == -1)[1].tolist(), strict=True))


def _iou(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the foreground classes of either; 1 where neither holds any."""
    classes = np.union1d(np.unique(truth), np.unique(predicted))
    pairs = [(truth == index, predicted == index) for index in classes if index != 0]
    shares = [np.sum(target & mask) / np.sum(target | mask) for target, mask in pairs]
    return float(np.mean(shares)) if shares else 1.0


def _panels(title: str, pixels: NDArray[np.uint8], truth: NDArray[Any], masks: Mapping[str, NDArray[Any]]) -> Markup:
    height, width = truth.shape
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    key = f"i{hashlib.sha256(data.getvalue() + title.encode()).hexdigest()[:10]}"
    left, top, wide, tall = window([truth, *masks.values()])
    panel = Markup(
        '<li><svg role="img" aria-label="{}" viewBox="{} {} {} {}">{}</svg><b>{}</b><span>{}</span></li>'
    ).format
    image = Markup('<image id="{}" width="{}" height="{}" href="data:image/png;base64,{}"/>').format(
        key, width, height, base64.b64encode(data.getvalue()).decode()
    )
    frame = _stroke(f"M{left} {top}h{wide}v{tall}h{-wide}Z", "#fff", 0.8) if wide < width else Markup()
    drawn = [panel(title, 0, 0, width, height, image + frame, "image", "frame: enlarged on the right" if frame else "")]
    for name, mask in masks.items():
        lines = _stroke(outline(truth), TRUTH) + _stroke(outline(mask), PREDICTED)
        content = Markup('<use href="#{}"/>').format(key) + lines
        words = f"outlines of truth and {name}: {title}"
        drawn.append(panel(words, left, top, wide, tall, content, name, f"IoU {_iou(truth, mask):.2f}"))
    columns, few = COLUMNS.get(len(drawn), (6, 3))
    opening = Markup('<ul class="panels" style="--columns: {}; --few: {}">').format(columns, few)
    return opening + Markup("").join(drawn) + Markup("</ul>")


def _stroke(path: str, colour: str, width: float = 1.5) -> Markup:
    """A line with a dark rim, so that it can be seen on bright and dark skin alike."""
    common = 'fill="none" stroke-linecap="square" vector-effect="non-scaling-stroke"'
    return Markup(
        f'<path d="{path}" {common} stroke="#000" stroke-opacity=".35" stroke-width="{2 * width:g}"/>'
        f'<path d="{path}" {common} stroke="{colour}" stroke-width="{width:g}"/>'
    )
