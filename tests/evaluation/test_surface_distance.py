"""Distances between outlines, against MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from preceptor.evaluation.surface_distance import hausdorff_distance, normalised_surface_distance, outline

monai = pytest.importorskip("monai.metrics")


def _blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    field = gaussian_filter(draw.normal(size=(40, 48)), 4)
    other = field + 0.5 * gaussian_filter(draw.normal(size=(40, 48)), 4)
    return field > 0.03, other > 0.03


def _one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([~mask, mask]))[None].float()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_equal_to_monai(seed: int, spacing: tuple[float, float]) -> None:
    truth, predicted = _blobs(seed)
    given = _one_hot(predicted), _one_hot(truth)
    for percentile in (95, 100):
        theirs = monai.compute_hausdorff_distance(*given, percentile=percentile, spacing=list(spacing))
        assert hausdorff_distance(truth, predicted, percentile, spacing) == pytest.approx(
            float(theirs), abs=1e-3
        )  # float32
    theirs = monai.compute_surface_dice(*given, class_thresholds=[2.0], spacing=list(spacing))
    assert normalised_surface_distance(truth, predicted, 2.0, spacing) == pytest.approx(float(theirs), abs=1e-5)


def test_an_outline_is_the_edge_of_a_mask_and_of_the_image() -> None:
    mask = np.zeros((5, 6), bool)
    mask[0:4, 1:5] = True
    wanted = mask.copy()
    wanted[1:3, 2:4] = False
    assert np.array_equal(outline(mask), wanted)


def test_empty_masks() -> None:
    nothing, something = np.zeros((4, 4)), np.eye(4)
    assert math.isnan(hausdorff_distance(nothing, nothing))
    assert math.isnan(normalised_surface_distance(nothing, nothing, 1.0))
    assert hausdorff_distance(nothing, something) == math.inf
    assert normalised_surface_distance(something, nothing, 1.0) == 0
    assert normalised_surface_distance(something, something, 0.0) == 1


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        hausdorff_distance(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="tolerance"):
        normalised_surface_distance(np.eye(3), np.eye(3), -1.0)
