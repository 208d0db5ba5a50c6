"""Areas under ROC, precision-recall and risk-coverage curves in many resamplings of whole groups.

How often images are drawn is counted in float32, in which whole numbers and halves up to 2²³ are exact, as twice as
fast a sum; ratios of counts are float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from preceptor.evaluation.metrics.registry import Draws, Floats, Resampled

Group = NDArray[np.integer]


def _drawn(times: Draws) -> NDArray[np.float32]:
    """Return draws (S, G) as counts (G, S); no copy where they lie column by column."""
    return np.ascontiguousarray(times.T, dtype=np.float32)


def resampled_area(scores: Floats, is_case: NDArray[np.bool_], group: Group, groups: int) -> Resampled:
    """Prepare the area under a ROC curve: the share of pairs (case, other) that the score puts in order.

    Args:
        scores: (N,), the higher the more likely a case; a tie is half a pair.
        is_case: (N,).
        group: (N,) index of each image's group in 0 … ``groups`` - 1.

    Returns:
        Draws (S, G), how often each group occurs -> areas (S,), NaN without a case or without another image.
    """
    order = np.argsort(scores[~is_case], kind="stable")
    others = scores[~is_case][order]
    below, not_above = (np.searchsorted(others, scores[is_case], side=side) for side in ("left", "right"))
    # Others between two places where a case stands are only ever counted together.
    places = np.unique(np.concatenate([below, not_above]))
    stretch = np.searchsorted(places, np.arange(len(others)), side="right")
    shape = (len(places) + 1, groups)
    of_others = csr_array((np.ones(len(others), np.float32), (stretch, group[~is_case][order])), shape=shape)
    ends = np.searchsorted(places, np.concatenate([below, not_above]))
    of_cases = csr_array((np.full(len(ends), 0.5, np.float32), (ends, np.tile(group[is_case], 2))), shape=shape)

    def areas(times: Draws) -> Floats:
        drawn = _drawn(times)
        before, cases = of_others @ drawn, of_cases @ drawn
        np.cumsum(before, axis=0, out=before)
        with np.errstate(invalid="ignore", divide="ignore"):
            ordered = np.einsum("ks,ks->s", cases, before, dtype=np.float64)
            return ordered / (cases.sum(axis=0, dtype=np.float64) * before[-1])

    return areas


def resampled_precision(scores: Floats, is_case: NDArray[np.bool_], group: Group, groups: int) -> Resampled:
    """Prepare the average precision Σ (R_n − R_{n−1})·P_n over the thresholds n, from the highest score down.

    Args and Returns: as :func:`resampled_area`; NaN without a case.
    """
    thresholds = np.unique(-scores[is_case])  # recall rises where a case stands, and nowhere else
    place = np.searchsorted(thresholds, -scores)
    called = place < len(thresholds)
    shape = (len(thresholds), groups)
    of_all = csr_array((np.ones(called.sum(), np.float32), (place[called], group[called])), shape=shape)
    of_cases = csr_array((np.ones(is_case.sum(), np.float32), (place[is_case], group[is_case])), shape=shape)

    def precisions(times: Draws) -> Floats:
        drawn = _drawn(times)
        new = of_cases @ drawn
        hits, called = np.cumsum(new, axis=0), np.cumsum(of_all @ drawn, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.divide(hits, np.maximum(called, 1), dtype=np.float64)
            return np.einsum("ks,ks->s", new, precision) / new.sum(axis=0, dtype=np.float64)

    return precisions


def resampled_partial_area(
    scores: Floats, is_case: NDArray[np.bool_], group: Group, groups: int, least_tpr: float
) -> Resampled:
    """Prepare the area between a ROC curve and the line of a sensitivity (ISIC 2024), in [0, 1 - ``least_tpr``].

    Args and Returns: as :func:`resampled_area`; ``least_tpr`` in [0, 1).
    """
    # Between two scores of cases the curve runs level: others there are counted together.
    at_cases = np.unique(scores[is_case])
    ends = sum(np.searchsorted(at_cases, scores, side=side) for side in ("left", "right"))
    place = np.max(ends, initial=0) - ends  # from the highest score down
    shape = (int(np.max(place, initial=0)) + 1, groups)
    of_cases = csr_array((is_case.astype(np.float32), (place, group)), shape=shape)
    of_others = csr_array(((~is_case).astype(np.float32), (place, group)), shape=shape)

    def areas(times: Draws) -> Floats:
        drawn = _drawn(times)
        width, rise = of_others @ drawn, of_cases @ drawn
        hits, others = np.cumsum(rise, axis=0), width.sum(axis=0)
        first = int(np.argmax((hits > least_tpr * hits[-1]).any(axis=1)))  # below it the curve is under the line
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (width, others), (rise, hits[-1]), (hits, hits[-1])
            width, rise, tpr = (np.divide(each[first:], whole, dtype=np.float64) for each, whole in shares)
            after, before = np.maximum(tpr - least_tpr, 0), np.maximum(tpr - rise - least_tpr, 0)
            share = np.where(rise > 0, (after - before) / rise, 1.0)  # of a segment: what lies above the line
            return np.asarray((width * share * (after + before) / 2).sum(axis=0))

    return areas


def resampled_risk_area(confidence: Floats, is_error: NDArray[np.bool_], group: Group, groups: int) -> Resampled:
    """Prepare the area under the risk-coverage curve (AURC): the mean error rate over all coverages.

    Args and Returns: as :func:`resampled_area`, with the most confident images answered first.
    """
    steps, place = np.unique(-confidence, return_inverse=True)
    shape = (len(steps), groups)
    of_all = csr_array((np.ones(len(confidence), np.float32), (place, group)), shape=shape)
    of_errors = csr_array((is_error.astype(np.float32), (place, group)), shape=shape)

    def areas(times: Draws) -> Floats:
        drawn = _drawn(times)
        together = of_all @ drawn
        answered, errors = np.cumsum(together, axis=0), np.cumsum(of_errors @ drawn, axis=0)
        risk = np.divide(errors, np.maximum(answered, 1), dtype=np.float64)
        return np.einsum("ks,ks->s", together, risk) / answered[-1]

    return areas
