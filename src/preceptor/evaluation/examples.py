"""Which images of a test part are worth looking at, and of which a run keeps the masks so that any can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from preceptor.utils.randomness import seed_of

MOST = 500  # images that a run keeps the masks of


@dataclass(frozen=True)
class Case:
    """An image to show, and why: ``best``, ``median``, ``worst``, ``small``, ``random`` or ``false positive``."""

    id: str
    why: str


def choose_cases(
    rows: pd.DataFrame,
    *,
    best: int = 2,
    median: int = 2,
    worst: int = 4,
    small: int = 2,
    drawn: int = 4,
    false_alarms: int = 1,
) -> list[Case]:
    """Which images to show, the same for all networks: chosen by the mean of their IoU.

    All but false positives are taken among images whose truth is not empty, as many as there are: first the worst, best
    and median, then of the others the small ones (the fewest pixels of truth), then of the rest some by a lot that
    depends on their ids alone. False alarms are taken among images without truth, by the most pixels predicted. No
    image comes twice; among equals the one with more truth, then the first id, is taken.

    Args:
        rows: of one part, by one or more networks of one or more runs, as
            :meth:`preceptor.evaluation.masks.MaskMeter.rows` gives them.
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
        "random": (drawn, sorted(filled.index, key=_drawn_order)),
        "false positive": (false_alarms, alarms),
    }
    taken: dict[str, str] = {}
    for why, (count, candidates) in wishes.items():
        free = [name for name in candidates if name not in taken]
        taken |= dict.fromkeys(free[:count], why)
    order = ["best", "median", "worst", "small", "random", "false positive"]
    return [Case(name, why) for wanted in order for name, why in taken.items() if why == wanted]


def ids_to_keep(ids: Sequence[str], most: int = MOST) -> list[str]:
    """Of which images of a test part a run keeps the masks: all, or a lot of ``most`` that depends on the ids alone.

    So all runs on one split keep the same images, whatever their networks made of them, and any choice among these can
    be shown of all of them.

    Returns:
        The ids, sorted.
    """
    return sorted(sorted(ids, key=_drawn_order)[:most])


def _drawn_order(name: str) -> int:
    return seed_of("overlays", name)
