"""Which images of a part are worth looking at: the best, the median and the worst, small targets, false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from preceptor.randomness import seed_of

SMALL, DRAWN = 2, 4  # of those that every run on a split keeps


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


def cases_to_keep(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Image ids of a test part, each with its reasons, for a run to keep the masks of.

    Besides what :func:`choose_cases` takes: the images with the smallest targets, and some with a target that are drawn
    by lot. These two depend on the images alone, so that all runs on one split keep them and can be set side by side.

    Args:
        rows: as for :func:`choose_cases`.
    """
    chosen = choose_cases(rows, small=0)
    pixels = rows.groupby("id", sort=True)["target_pixels"].first()
    filled = pixels[pixels > 0]
    small = filled.sort_values(kind="stable").index[:SMALL]
    lots = np.random.default_rng(seed_of("overlays", len(pixels))).permutation(len(filled))
    chosen += [Case(name, "small") for name in small] + [
        Case(name, "drawn by lot") for name in filled.index[np.sort(lots[:DRAWN])]
    ]
    found: dict[str, list[str]] = {}
    for case in chosen:
        found.setdefault(case.id, []).append(case.why)
    return found
