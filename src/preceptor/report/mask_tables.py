"""Tables of a report on masks: by size of the target, class by class, and the metrics that look at whole masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.resampling import resample, shared_resampling
from preceptor.report.entries import Entry
from preceptor.report.network_predictions import Estimate, estimate_of
from preceptor.tasks import TASKS

THIRDS = ("small", "middle", "large")


def size_table(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Mean IoU of each network over the images with small, middle and large targets, and over those without one.

    The bounds are thirds of the test images with a target, by the share of the image that it takes.

    Returns:
        One row a size that occurs: ``name``, ``least`` and ``most`` share of the image (None without a target),
        ``cases`` (several numbers where the runs have different ones) and ``values``, None where a network has no such
        image. Without a target the IoU is 1 for an empty prediction and else 0.
    """
    shares = [_shares(entry) for entry in entries]
    images = pd.concat(
        [pd.Series(share, index=entry.predictions["id"]) for entry, share in zip(entries, shares, strict=True)]
    )
    filled = images[~images.index.duplicated()]
    filled = filled[filled > 0]
    bounds = [0.0, *np.quantile(filled, [1 / 3, 2 / 3]), filled.max()] if len(filled) else []
    rows = []
    for name, least, most in [*zip(THIRDS, bounds, bounds[1:], strict=False), ("none", None, None)]:
        chosen = [share == 0 if least is None else (share > least) & (share <= most) for share in shares]
        cases = sorted({int(mask.sum()) for mask in chosen})
        if cases != [0]:
            values = [_mean(entry, mask) for entry, mask in zip(entries, chosen, strict=True)]
            rows.append({"name": name, "least": least, "most": most, "cases": cases, "values": values})
    return rows


def class_table(entries: Sequence[Entry], classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per foreground class: the test images that hold it, and of each network the figures of its pixels."""
    of_class = [entry.test.get("per_class") or {} for entry in entries]
    return [
        {
            "name": name,
            "cases": sorted({values[name]["images"] for values in of_class if name in values}),
            "values": [values.get(name) for values in of_class],
        }
        for name in classes[1:]
    ]


def whole_mask_metrics(entries: Sequence[Entry]) -> dict[str, Metric]:
    """Return the metrics that look at whole masks, by key, of those that any of the networks has."""
    metrics = TASKS[entries[0].run.task].metrics
    return {key: metric for key, metric in metrics.items() if metric.per_image and any(key in e.test for e in entries)}


def whole_mask_table(entries: Sequence[Entry]) -> list[tuple[Entry, dict[str, tuple[Estimate, int]]]]:
    """Return for each network and metric of :func:`whole_mask_metrics` its estimate, and of how many test images."""
    metrics, rows = whole_mask_metrics(entries), []
    for entry in entries:
        table = entry.predictions
        groups = table["id"].map(entry.run.split.set_index("id")["group"])
        cases = TASKS[entry.run.task].metric_cases(table, entry.run.classes)
        sampled = resample(metrics, [(cases, groups)], shared_resampling(groups))
        images = {key: int(np.isfinite(cases[0].values_of(key)).sum()) for key in metrics}
        rows.append((entry, {key: (estimate_of(sampled[key]), images[key]) for key in metrics}))
    return rows


def _shares(entry: Entry) -> NDArray[np.float64]:
    """Of the image that the target takes, row by row of the predictions."""
    return entry.predictions["target_pixels"].to_numpy(dtype=np.float64) / entry.run.recipe.image_size**2


def _mean(entry: Entry, rows: NDArray[np.bool_]) -> float | None:
    return float(entry.predictions["iou"].to_numpy()[rows].mean()) if rows.any() else None
