"""Metrics of subgroups, their gaps, and whether a student's are wider than its teacher's."""

from __future__ import annotations

import numpy as np
import pytest

from preceptor.evaluation import resampling as resampling_module
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import Resampling
from preceptor.evaluation.subgroups import subgroups, subgroups_of_folds, widened


def _network(skill: dict[str, float], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cases of 400 images of 200 patients; how often it is right depends on the patient's sex."""
    images = np.random.default_rng(0)
    sex = np.repeat(images.choice(["female", "male"], 200), 2)
    target = images.integers(0, 2, 400)
    right = np.random.default_rng(seed).random(400) < np.array([skill[each] for each in sex])
    return target, np.eye(2)[np.where(right, target, 1 - target)], sex, np.repeat(np.arange(200).astype(str), 2)


def test_values_and_gaps_are_those_of_the_parts() -> None:
    target, scores, sex, patients = _network({"female": 0.9, "male": 0.6}, 1)
    result = subgroups(METRICS["accuracy"], (target, scores), patients, sex, Resampling(patients, 300))
    hits = scores.argmax(1) == target
    female, male = hits[sex == "female"].mean(), hits[sex == "male"].mean()
    assert result["female"].value == pytest.approx(female)
    assert result["female"].gap == pytest.approx(female - male)
    assert result["male"].gap == pytest.approx(male - female)
    bounds = result["female"].gap_interval
    assert bounds is not None
    assert 0 < bounds.low < female - male < bounds.high
    assert result["female"].images + result["male"].images == 400


def test_few_images_have_no_value_and_unknown_ones_no_subgroup() -> None:
    target, scores, sex, patients = _network({"female": 0.9, "male": 0.6}, 1)
    sex = sex.astype("<U8")
    sex[:5], sex[5:8] = "other", ""
    result = subgroups(METRICS["macro_auc"], (target, scores), patients, sex, Resampling(patients, 50))
    assert set(result) == {"female", "male", "other"}
    assert (result["other"].value, result["other"].gap) == (None, None)
    assert result["female"].gap is not None


def test_scores_of_two_networks_are_not_ranked_together() -> None:
    """The second fold's network gives higher scores throughout: areas are within folds, accuracy counts all images."""
    target, scores, sex, patients = _network({"female": 0.9, "male": 0.6}, 1)
    first, second = np.arange(400) < 200, np.arange(400) >= 200
    shifted = scores * 0.1 + np.where(second, 0.8, 0.1)[:, None] * np.array([0.0, 1.0]) + np.array([0.05, 0.0])
    shifted /= shifted.sum(axis=1, keepdims=True)
    folds = [((target[fold], shifted[fold]), patients[fold], sex[fold]) for fold in (first, second)]
    resampling = Resampling(patients, 30)
    area = subgroups_of_folds(METRICS["macro_auc"], folds, resampling)["female"]
    apart = [
        METRICS["macro_auc"](target[fold & (sex == "female")], shifted[fold & (sex == "female")])
        for fold in (first, second)
    ]
    assert area.value == pytest.approx(np.mean(apart))  # type: ignore[arg-type]
    pooled = subgroups(METRICS["macro_auc"], (target, shifted), patients, sex, resampling)["female"]
    assert pooled.value != pytest.approx(area.value, abs=0.02)
    accuracy = subgroups_of_folds(METRICS["accuracy"], folds, resampling)["female"]
    together = subgroups(METRICS["accuracy"], (target, shifted), patients, sex, resampling)["female"]
    assert (accuracy.value, accuracy.gap, accuracy.images) == (together.value, together.gap, together.images)


@pytest.mark.parametrize("key", ["accuracy", "macro_auc"])
def test_subgroups_of_many_images_are_resampled_in_turn(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    target, scores, sex, patients = _network({"female": 0.9, "male": 0.6}, 1)
    folds = [((target, scores), patients, sex)] * 2
    resampling = Resampling(patients, 30)
    at_once = subgroups_of_folds(METRICS[key], folds, resampling)
    passes = []
    blocks = Resampling.blocks
    monkeypatch.setattr(resampling_module, "_IMAGES", 100)
    monkeypatch.setattr(Resampling, "blocks", lambda self: passes.append(self) or blocks(self))
    in_turn = subgroups_of_folds(METRICS[key], folds, resampling)
    assert len(passes) == 4  # each sex, and all others
    for name, subgroup in at_once.items():
        assert (in_turn[name].value, in_turn[name].gap) == (subgroup.value, subgroup.gap)
        assert np.array_equal(in_turn[name].gap_samples, subgroup.gap_samples)


def test_a_student_that_forgets_a_subgroup_widens_its_gap() -> None:
    teacher = _network({"female": 0.9, "male": 0.88}, 1)
    student = _network({"female": 0.9, "male": 0.6}, 2)
    resampling = Resampling(teacher[3], 300)
    mine, theirs = (
        subgroups(METRICS["accuracy"], network[:2], network[3], network[2], resampling)
        for network in (student, teacher)
    )
    by, bounds = widened(mine, theirs)["male"]
    assert by == pytest.approx(abs(mine["male"].gap) - abs(theirs["male"].gap))  # type: ignore[arg-type]
    assert 0 < bounds.low < by < bounds.high
    same, bounds = widened(theirs, theirs)["male"]
    assert (same, bounds.low, bounds.high) == (0, 0, 0)


def test_numbers_of_images_must_agree() -> None:
    target, scores, sex, patients = _network({"female": 0.9, "male": 0.6}, 1)
    with pytest.raises(ValueError, match="another number"):
        subgroups(METRICS["accuracy"], (target, scores), patients, sex[1:], Resampling(patients, 10))
