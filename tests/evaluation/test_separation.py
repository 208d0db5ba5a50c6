"""AUROC of own against foreign images, against scikit-learn's of the drawn images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from preceptor.evaluation.resampling import Resampling
from preceptor.evaluation.separation import separation


@pytest.mark.parametrize("seed", range(3))
def test_every_resampling_draws_both_sets_by_themselves(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = np.round(draw.normal(1, 1, 60), 1), np.round(draw.normal(0, 1, 45), 1)  # with ties
    groups = np.arange(60) // 3, np.arange(45) // 2  # of one name, and yet of different patients
    draws = Resampling(groups[0], samples=12, seed=1), Resampling(groups[1], samples=12, seed=2)
    sampled = separation(*scores, *groups, draws)
    assert sampled.value == pytest.approx(roc_auc_score(np.repeat([1, 0], [60, 45]), np.concatenate(scores)))
    for place, value in enumerate(sampled.samples):
        drawn = [
            np.repeat(each, times.times[place][times.index(group)])
            for each, group, times in zip(scores, groups, draws, strict=True)
        ]
        truth = np.repeat([1, 0], [len(each) for each in drawn])
        assert value == pytest.approx(roc_auc_score(truth, np.concatenate(drawn)))


def test_scores_that_are_lower_for_all_foreign_images_separate_them_fully() -> None:
    draws = Resampling([0, 1], samples=3), Resampling([0, 1], samples=3)
    assert separation([0.9, 0.8], [0.3, 0.2], [0, 1], [0, 1], draws).value == 1
    assert separation([0.3, 0.2], [0.9, 0.8], [0, 1], [0, 1], draws).value == 0


def test_a_set_without_images_is_refused() -> None:
    draws = Resampling([0]), Resampling([0])
    with pytest.raises(ValueError, match="1 own and 0 foreign"):
        separation([0.5], [], [0], [], draws)
