"""Metrics that look at whole masks: HD95 and surface distance as MONAI averages them, and small targets by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.metrics import METRICS, metrics_of
from preceptor.evaluation.small_targets import LEAST_IOU, SMALL, small_target_detection
from preceptor.tasks import TASKS

KEYS = ("hd95", "nsd_2px", "small_target_detection")
CLASSES = ("background", "a", "b")


def drawn(seed: int, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N, H, W) of two classes, true and predicted; in the first image neither holds any."""
    draw = np.random.default_rng(seed)
    fields = [gaussian_filter(draw.normal(size=(2, 48, 40)), (0, 3, 3)) for _ in range(images)]
    others = [field + 0.5 * gaussian_filter(draw.normal(size=(2, 48, 40)), (0, 3, 3)) for field in fields]
    masks = [np.stack([np.where(f.max(0) > 0.07, f.argmax(0) + 1, 0) for f in kind]) for kind in (fields, others)]
    for mask in masks:
        mask[0] = 0
    return masks[0], masks[1]


def measured(truth: np.ndarray, predicted: np.ndarray) -> MaskMeter:
    meter = MaskMeter(CLASSES)
    meter.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    return meter


@pytest.mark.filterwarnings("ignore:.*all 0:UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_monais_averaged_over_classes_and_images(seed: int) -> None:
    monai = pytest.importorskip("monai.metrics")
    truth, predicted = drawn(seed)
    given = [torch.from_numpy(np.stack([mask == index for index in range(3)], 1)) for mask in (predicted, truth)]
    distances = monai.compute_hausdorff_distance(*given, percentile=95).numpy().astype(float)
    distances[np.isinf(distances)] = math.hypot(48, 40)
    surfaces = monai.compute_surface_dice(*given, class_thresholds=[2.0, 2.0]).numpy().astype(float)
    result = measured(truth, predicted).result()
    for key, theirs in (("hd95", distances), ("nsd_2px", surfaces)):
        known = ~np.isnan(theirs).all(axis=1)
        assert not known[0], "an image without any mask is left out"
        assert result[key] == pytest.approx(np.nanmean(theirs[known], axis=1).mean(), abs=1e-4), key


def detected_by_loops(truth: np.ndarray, predicted: np.ndarray, small: float, least_iou: float) -> float:
    outcomes = []
    for index in set(truth[truth > 0].tolist()):
        areas = [connected(mask == index) for mask in (truth, predicted)]
        for target in areas[0]:
            if len(target) < small * truth.size:
                touching = set().union(*(area for area in areas[1] if area & target))
                outcomes.append(len(target & touching) / len(target | touching) >= least_iou)
    return float(np.mean(outcomes)) if outcomes else math.nan


def connected(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    left, areas = {(int(row), int(column)) for row, column in np.argwhere(mask)}, []
    while left:
        area, edge = set(), {left.pop()}
        while edge:
            row, column = edge.pop()
            area.add((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge |= near
        areas.append(area)
    return areas


@pytest.mark.parametrize("least_iou", [0.1, 0.4])
@pytest.mark.parametrize("small", [0.01, 0.05, 1.0])
def test_small_targets_are_detected_as_by_loops(small: float, least_iou: float) -> None:
    truth, predicted = drawn(5, images=12)
    shares = [small_target_detection(*pair, small, least_iou) for pair in zip(truth, predicted, strict=True)]
    expected = [detected_by_loops(*pair, small, least_iou) for pair in zip(truth, predicted, strict=True)]
    assert shares == pytest.approx(expected, nan_ok=True)
    assert len({share for share in shares if not math.isnan(share)}) > 1
    if (small, least_iou) == (SMALL, LEAST_IOU):
        assert measured(truth, predicted).result()["small_target_detection"] == pytest.approx(np.nanmean(expected))


def test_painting_everything_detects_nothing() -> None:
    truth = np.zeros((40, 40), int)
    truth[3:5, 3:5] = 1
    assert small_target_detection(truth, np.ones_like(truth)) == 0
    assert small_target_detection(truth, truth) == 1


def test_a_missed_mask_counts_as_the_diagonal() -> None:
    truth = np.zeros((1, 30, 40), int)
    truth[0, 5:9, 5:7] = 1
    result = measured(truth, np.zeros_like(truth)).result()
    assert (result["hd95"], result["nsd_2px"], result["small_target_detection"]) == (50, 0, 0)


def test_figures_of_predictions_csv_are_those_of_the_masks() -> None:
    truth, predicted = drawn(1)
    meter = measured(truth, predicted)
    rows = meter.rows(list("abcdef"), part="test", network="student")
    (counts,) = TASKS["segmentation"].metric_cases(rows, CLASSES)
    assert {key: METRICS[key](counts) for key in KEYS} == pytest.approx({key: meter.result()[key] for key in KEYS})
    (older,) = TASKS["segmentation"].metric_cases(rows.drop(columns=list(KEYS)), CLASSES)
    assert {METRICS[key](older) for key in KEYS} == {None}, "a run of before these metrics has none of them"


def test_they_are_computed_after_every_epoch_only_where_one_selects() -> None:
    task = TASKS["segmentation"]
    assert not set(KEYS) & set(task.monitored_metrics("iou_pooled"))
    assert set(KEYS) & set(task.monitored_metrics("hd95")) == {"hd95"}
    assert set(task.metrics) == set(metrics_of("segmentation")) >= set(KEYS)
    truth, predicted = drawn(2)
    meter = MaskMeter(CLASSES, task.monitored_metrics("last"))
    meter.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert not set(KEYS) & set(meter.result())
    assert not set(KEYS) & set(meter.rows(list("abcdef"), part="validation", network="student"))
