"""How well a score tells images of a network's own kind from foreign ones: AUROC, resampled in both sets.

D. Hendrycks, K. Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.ranking import resampled_area
from preceptor.evaluation.resampling import Resampling, Sampled

Floats = NDArray[np.float64]


def separation(
    own: ArrayLike,
    foreign: ArrayLike,
    own_groups: ArrayLike,
    foreign_groups: ArrayLike,
    resamplings: tuple[Resampling, Resampling],
) -> Sampled:
    """Return the AUROC with which a score separates own from foreign images: 1 where it is lower for all foreign ones.

    Args:
        own: (N,) scores, the higher the more an image is like the training data.
        foreign: (M,)
        own_groups: (N,) patient or lesion of each image.
        foreign_groups: (M,)
        resamplings: of the groups of either set, with draws of their own, since the sets are independent.

    Raises:
        ValueError: no own or no foreign image, or resamplings of different numbers.

    >>> groups = ["a", "b"]
    >>> draws = Resampling(groups, seed=1), Resampling(groups, seed=2)
    >>> separation([0.9, 0.6], [0.7, 0.5], groups, groups, draws).value
    0.75
    """
    scores = [np.asarray(each, dtype=np.float64) for each in (own, foreign)]
    if not all(map(len, scores)) or len(resamplings[0]) != len(resamplings[1]):
        raise ValueError(f"{len(scores[0])} own and {len(scores[1])} foreign images; expected some of both")
    first, second = resamplings
    group = np.concatenate([first.index(own_groups), second.index(foreign_groups) + len(first.names)])
    is_own = np.repeat([True, False], [len(each) for each in scores])
    areas = resampled_area(np.concatenate(scores), is_own, group, len(first.names) + len(second.names))
    values = np.concatenate([areas(np.hstack(pair)) for pair in zip(first.blocks(), second.blocks(), strict=True)])
    return Sampled(float(values[0]), values[1:])
