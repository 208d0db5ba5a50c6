"""Metrics of subgroups, their gaps, and whether a student's are wider than its teacher's."""

from __future__ import annotations

import numpy as np
import pytest

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import Resampling
from preceptor.evaluation.subgroups import subgroups, widened


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
    assert result["other"].too_few
    assert (result["other"].value, result["other"].gap) == (None, None)
    assert result["female"].gap is not None


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
