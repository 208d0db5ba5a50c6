"""Conformal prediction sets: sets of classes that hold the true one with a stated probability.

Split conformal prediction with the score 1 − p(true class): M. Sadinle, J. Lei, L. Wasserman, "Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels", JASA 114 (2019). Coverage holds on average over images like those
that the threshold was chosen on; with a threshold for each class it holds for each class.

Adaptive prediction sets (APS) give harder images larger sets: Y. Romano, M. Sesia, E. J. Candès, "Classification with
Valid and Adaptive Coverage", NeurIPS 2020. Here without randomisation, so that an image always has the same set, and
with the most probable class in every set, so that none is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.classification import checked_classes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SetQuality:
    """How prediction sets do on some images.

    Attributes:
        coverage: share of images whose set holds the true class.
        coverage_by_class: (C,) the same for the images of each class, NaN without one.
        size: mean number of classes in a set.
        sizes: (C + 1,) how many sets have 0, 1, …, C classes.
    """

    coverage: float
    coverage_by_class: Floats
    size: float
    sizes: NDArray[np.int64]


def conformal_thresholds(
    targets: ArrayLike, probabilities: ArrayLike, error: float = 0.1, by_class: bool = False
) -> Floats:
    """Return the least probability (C,) at which a class is in the set, chosen on the validation part.

    Of n images the threshold is 1 less the ⌈(n + 1)(1 − error)⌉-th smallest score; 0, so that every class is in every
    set, where there are too few images for that.

    Args:
        targets: (N,) class indices.
        probabilities: (N, C), rows sum to one.
        error: share of sets that may miss the true class, in (0, 1).
        by_class: a threshold for each class, from its own images.

    Raises:
        ValueError: see :func:`preceptor.evaluation.classification.classification_metrics`, or an error out of range.
    """
    true, scores = checked_classes(targets, probabilities)
    if not 0 < error < 1:
        raise ValueError(f"error is {error}; expected 0 … 1")
    own = scores[np.arange(len(true)), true]
    if not by_class:
        return np.full(scores.shape[1], _threshold(own, error))
    return np.array([_threshold(own[true == index], error) for index in range(scores.shape[1])])


def prediction_sets(probabilities: ArrayLike, thresholds: ArrayLike) -> NDArray[np.bool_]:
    """Return which classes are in the set of each image, (N, C).

    >>> prediction_sets([[0.6, 0.3, 0.1]], [0.3, 0.3, 0.3]).tolist()
    [[True, True, False]]
    """
    return np.asarray(probabilities, dtype=np.float64) >= np.asarray(thresholds, dtype=np.float64)


def adaptive_threshold(targets: ArrayLike, probabilities: ArrayLike, error: float = 0.1) -> float:
    """Return the sum of probabilities that an adaptive set may reach, chosen on the validation part.

    An image's score is the sum of the probabilities of its true class and all more probable ones. Of n images the
    threshold is the ⌈(n + 1)(1 − error)⌉-th smallest score; infinity, so that every class is in every set, where there
    are too few images for that.

    Args:
        targets: (N,) class indices.
        probabilities: (N, C), rows sum to one.
        error: share of sets that may miss the true class, in (0, 1).

    Raises:
        ValueError: as :func:`conformal_thresholds`.

    >>> adaptive_threshold([0, 1], [[0.9, 0.1], [0.8, 0.2]], error=0.4)
    1.0
    """
    true, scores = checked_classes(targets, probabilities)
    if not 0 < error < 1:
        raise ValueError(f"error is {error}; expected 0 … 1")
    order, sums = _descending(scores)
    place = (order == true[:, None]).argmax(axis=1)
    rank = int(np.ceil((len(true) + 1) * (1 - error)))
    return float(np.sort(sums[np.arange(len(true)), place])[rank - 1]) if 1 <= rank <= len(true) else np.inf


def adaptive_sets(probabilities: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Return which classes are in the adaptive set of each image, (N, C).

    These are the most probable ones as long as their probabilities sum to no more than the threshold, which are the
    classes whose score is at most the threshold; and always the most probable one.

    >>> adaptive_sets([[0.6, 0.25, 0.15], [0.95, 0.04, 0.01]], 0.9).tolist()
    [[True, True, False], [True, False, False]]
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    order, sums = _descending(scores)
    size = np.maximum((sums <= threshold).sum(axis=1, keepdims=True), 1)
    sets = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(sets, order, np.arange(scores.shape[1]) < size, axis=1)
    return sets


def set_quality(targets: ArrayLike, sets: NDArray[np.bool_]) -> SetQuality:
    """Return coverage and size of prediction sets (N, C) of images with class indices (N,)."""
    true = np.asarray(targets)
    held, sizes = sets[np.arange(len(true)), true], sets.sum(axis=1)
    classes = sets.shape[1]
    by_class = [float(held[true == index].mean()) if (true == index).any() else np.nan for index in range(classes)]
    return SetQuality(
        coverage=float(held.mean()),
        coverage_by_class=np.array(by_class),
        size=float(sizes.mean()),
        sizes=np.bincount(sizes, minlength=classes + 1),
    )


def _descending(scores: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return class indices from the most probable on (in class order among equals) and their summed probabilities."""
    order = np.argsort(-scores, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(scores, order, axis=1), axis=1)
    return order, sums / sums[:, -1:]  # of all classes exactly 1, however probabilities were rounded


def _threshold(own: Floats, error: float) -> float:
    rank = int(np.ceil((len(own) + 1) * (1 - error)))
    return float(np.sort(own)[::-1][rank - 1]) if 1 <= rank <= len(own) else 0.0
