"""Masks drawn over their images: which images are worth showing, and the outlines of truth and predictions on them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from preceptor.report.canvas import Figure

TRUTH, SAID = "#ff9f1c", "#16a5ff"  # seen on bright and dark images, apart for the colour-blind, the same day and night
_PANEL, _GAP, _LABEL = 100.0, 4.0, 12.0  # units of the drawing: width of a panel, space between two, height of its name
_MARGIN, _LEAST_SHARE, _MOST_SHARE = 1.8, 0.25, 0.75  # of the part shown larger: times the masks' extent, of the side


@dataclass(frozen=True)
class Case:
    """An image to show, and why: ``best``, ``median``, ``worst``, ``small`` or ``false alarm``."""

    id: str
    why: str


def choose_cases(
    rows: pd.DataFrame, *, best: int = 2, median: int = 2, worst: int = 4, small: int = 2, false_alarms: int = 1
) -> list[Case]:
    """Which images to show, the same for all networks: chosen by the mean of their IoU.

    Best, median, worst and small (the fewest pixels of truth) are taken among images whose truth is not empty, as many
    as there are; false alarms among the others, by the most pixels predicted. No image comes twice; among equals the
    one with more truth, then the first id, is taken.

    Args:
        rows: of one part, by one or more networks, as :meth:`preceptor.evaluation.masks.MaskMeter.rows` gives them.
    """
    means = rows.groupby("id", sort=True)[["iou", "target_pixels", "predicted_pixels"]].mean()
    filled = means[means["target_pixels"] > 0]
    large_first = filled.sort_values("target_pixels", ascending=False, kind="stable")
    ranked = large_first.sort_values("iou", kind="stable").index.tolist()
    middle = max(len(ranked) - median, 0) // 2
    empty = means[(means["target_pixels"] == 0) & (means["predicted_pixels"] > 0)]
    alarms = empty.sort_values("predicted_pixels", ascending=False, kind="stable").index.tolist()
    wishes = {
        "worst": (worst, ranked),
        "best": (best, large_first.sort_values("iou", ascending=False, kind="stable").index.tolist()),
        "median": (median, ranked[middle:]),
        "small": (small, filled.sort_values("target_pixels", kind="stable").index.tolist()),
        "false alarm": (false_alarms, alarms),
    }
    taken: dict[str, str] = {}
    for why, (count, candidates) in wishes.items():
        free = [name for name in candidates if name not in taken]
        taken |= dict.fromkeys(free[:count], why)
    order = ["best", "median", "worst", "small", "false alarm"]
    return [Case(name, why) for wanted in order for name, why in taken.items() if why == wanted]


def overlay(case: Case, image: ArrayLike, truth: ArrayLike, said: Mapping[str, ArrayLike]) -> Figure:
    """One image alone, then once for each network with the outlines of the truth and of what that network said.

    Where all masks lie close together the networks' panels show that part larger, and a frame says which. The image is
    held once, as a PNG in the drawing. Outlines run between pixels, so that they show masks as they are.

    Args:
        image: (H, W, 3) uint8.
        truth: (H, W) class indices, 0 the background.
        said: the same of each network (students, ensemble, teacher), in the order wanted.

    Raises:
        ValueError: shapes that differ.
    """
    pixels, mask = np.asarray(image), np.asarray(truth)
    masks = {name: np.asarray(one) for name, one in said.items()}
    if pixels.dtype != np.uint8 or pixels.shape != (*mask.shape, 3):
        raise ValueError(f"an image {pixels.shape} of {pixels.dtype}; expected {(*mask.shape, 3)} of uint8")
    for name, one in masks.items():
        if one.shape != mask.shape:
            raise ValueError(f"the mask of {name} is {one.shape}, the truth {mask.shape}")
    description = f"{case.why}: masks of {', '.join(masks)} on image {case.id}"
    size = int((mask != 0).sum())
    note = f"truth: {size} of {mask.size} pixels" if size else "truth: nothing here"
    return Figure(_drawing(description, pixels, mask, masks), f"{case.why.capitalize()}: {case.id}", note)


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


def _iou(truth: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Mean over the foreground classes of either; 1 where neither holds any."""
    classes = np.union1d(np.unique(truth), np.unique(said))
    shares = [
        np.sum((truth == one) & (said == one)) / np.sum((truth == one) | (said == one)) for one in classes if one != 0
    ]
    return float(np.mean(shares)) if shares else 1.0


def _drawing(
    description: str,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    masks: Mapping[str, NDArray[np.int64]],
) -> Markup:
    height, width = truth.shape
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    key = f"i{hashlib.sha256(data.getvalue() + description.encode()).hexdigest()[:10]}"
    left, top, wide, tall = window([truth, *masks.values()])
    parts = [
        Markup('<defs><clipPath id="{}-part"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath></defs>').format(
            key, left, top, wide, tall
        ),
        _key(0, TRUTH, "truth"),
        _key(36, SAID, "prediction"),
        Markup('<g transform="translate(0 {:g}) scale({:g})">').format(_LABEL, _PANEL / width),
        Markup('<image id="{}" width="{}" height="{}" href="data:image/png;base64,{}"/>').format(
            key, width, height, base64.b64encode(data.getvalue()).decode()
        ),
        _stroke(f"M{left} {top}h{wide}v{tall}h{-wide}Z", "#fff", 0.8) if wide < width else Markup(),
        Markup("</g>"),
    ]
    for place, (name, mask) in enumerate(masks.items(), 1):
        x, scale = place * (_PANEL + _GAP), _PANEL / wide
        words = Markup('<text x="{:g}" y="{:g}" font-size="8" fill="var(--ink)">{}</text>')
        score = Markup('<text x="{:g}" y="{:g}" font-size="8" text-anchor="end" fill="var(--faint)">IoU {:.2f}</text>')
        parts += [
            words.format(x, _LABEL - 4, name),
            score.format(x + _PANEL, _LABEL - 4, _iou(truth, mask)),
            Markup(
                '<g transform="translate({:g} {:g}) scale({:g}) translate({} {})" clip-path="url(#{}-part)">'
            ).format(x, _LABEL, scale, -left, -top, key),
            Markup('<use href="#{}"/>').format(key),
            _stroke(outline(truth), TRUTH),
            _stroke(outline(mask), SAID),
            Markup("</g>"),
        ]
    box = f"0 0 {(len(masks) + 1) * (_PANEL + _GAP) - _GAP:g} {_LABEL + _PANEL * height / width:g}"
    opening = Markup('<svg role="img" aria-label="{}" viewBox="{}" style="max-width: none">').format(description, box)
    return opening + Markup("").join(parts) + Markup("</svg>")


def _key(left: float, colour: str, words: str) -> Markup:
    line = Markup('<path d="M{:g} {:g}h10" stroke="{}" stroke-width="1.5"/>').format(left, _LABEL - 6.5, colour)
    text = Markup('<text x="{:g}" y="{:g}" font-size="8" fill="var(--faint)">{}</text>')
    return line + text.format(left + 13, _LABEL - 4, words)


def _stroke(path: str, colour: str, width: float = 1.5) -> Markup:
    """A line with a dark rim, so that it can be seen on bright and dark skin alike."""
    common = 'fill="none" stroke-linecap="square" vector-effect="non-scaling-stroke"'
    return Markup(
        f'<path d="{path}" {common} stroke="#000" stroke-opacity=".35" stroke-width="{2 * width:g}"/>'
        f'<path d="{path}" {common} stroke="{colour}" stroke-width="{width:g}"/>'
    )
