"""The bootstrap over groups, against one that is written out, for every metric there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from preceptor.evaluation import resampling as module
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.metrics import Metric, metrics_of
from preceptor.evaluation.resampling import Resampling, Sampled, batches, interval, resample, resample_folds
from preceptor.tasks import TASKS

CLASSES = ("bkl", "mel", "nv")


def _predictions(seed: int, images: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    target = np.random.default_rng(7).integers(0, 3, images)
    scores = draw.dirichlet([0.7] * 3, size=images) + 0.6 * np.eye(3)[target]
    scores = np.round(scores / scores.sum(1, keepdims=True), 2)  # ties
    table = pd.DataFrame(scores, columns=[f"p_{name}" for name in CLASSES])
    return table.assign(group=[f"lesion {index // 2}" for index in range(images)], target=np.array(CLASSES)[target])


def _resampled(tables: list[pd.DataFrame], resampling: Resampling, **more: Metric) -> dict[str, Sampled]:
    task = TASKS["classification"]
    cases = [(task.metric_cases(table, CLASSES), table["group"]) for table in tables]
    return resample({**task.metrics, **more}, cases, resampling)


def _draws(resampling: Resampling, groups: pd.Series) -> Iterator[NDArray[np.intp]]:
    """Rows of a part: each once, then as each resampling draws their groups."""
    yield np.arange(len(groups))
    for times in resampling.times:
        yield np.repeat(np.arange(len(groups)), times[resampling.index(groups)])


def test_every_metric_is_that_of_a_literal_bootstrap() -> None:
    tables = [_predictions(seed) for seed in (1, 2)]
    resampling = Resampling(tables[0]["group"], samples=12)
    third_party = Metric("hits", "hits", ("classification",), lambda t, p: float((p.argmax(1) == t).sum()))
    sampled = _resampled(tables, resampling, hits=third_party)
    metrics = {**metrics_of("classification"), "hits": third_party}
    assert set(sampled) == set(metrics)
    for index, rows in enumerate(_draws(resampling, tables[0]["group"])):
        for key, metric in metrics.items():
            values = [metric(*TASKS["classification"].metric_cases(table.iloc[rows], CLASSES)) for table in tables]
            got = sampled[key].value if index == 0 else sampled[key].samples[index - 1]
            assert got == pytest.approx(np.mean(values), abs=1e-12), key  # type: ignore[arg-type]


def test_every_metric_of_labels_is_that_of_a_literal_bootstrap() -> None:
    """Also of a label that is recorded where it is positive alone, and of one with a single negative."""
    draw = np.random.default_rng(0)
    targets = (draw.random((60, 4)) < 0.5).astype(float)
    targets[:, 1] = np.where(draw.random(60) < 0.2, 1, np.nan)
    targets[:, 2] = np.where(np.arange(60) == 5, 0, 1)
    targets[draw.random(60) < 0.2, 3] = np.nan
    probabilities = np.round(draw.random((60, 4)), 1)  # ties
    groups = pd.Series([f"patient {index // 3}" for index in range(60)])
    resampling = Resampling(groups, samples=40)
    metrics = metrics_of("multi_label")
    sampled = resample(metrics, [((targets, probabilities), groups)], resampling)
    for index, rows in enumerate(_draws(resampling, groups)):
        for key, metric in metrics.items():
            got = sampled[key].value if index == 0 else sampled[key].samples[index - 1]
            assert got == pytest.approx(metric(targets[rows], probabilities[rows]), abs=1e-12), key  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [("none", "lesion"), ("none", "disc", "cup")])
def test_every_metric_of_masks_is_that_of_a_literal_bootstrap(classes: tuple[str, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(0, len(classes), (24, 3, 3), generator=draw) for _ in range(2))
    truth[:6], predicted[:3] = 0, 0
    meter = MaskMeter(classes)
    meter.update(predicted, truth)
    table = meter.rows([f"{index}" for index in range(24)], part="test", network="student")
    groups = pd.Series([f"p{index // 4}" for index in range(24)])
    resampling, task = Resampling(groups, samples=20), TASKS["segmentation"]
    sampled = resample(task.metrics, [(task.metric_cases(table, classes), groups)], resampling)
    assert set(sampled) == {key for key, metric in task.metrics.items() if metric.resampled}
    for index, rows in enumerate(_draws(resampling, groups)):
        drawn = MaskMeter(classes)
        drawn.update(predicted[torch.from_numpy(rows)], truth[torch.from_numpy(rows)])
        figures = drawn.result()
        for key in sampled:
            got = sampled[key].value if index == 0 else sampled[key].samples[index - 1]
            wanted = np.nan if figures[key] is None else figures[key]
            assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True), key


def test_folds_are_ranked_apart_and_counted_together() -> None:
    """The second fold's network gives one class more throughout, which changes no order within the fold."""
    targets = np.array([0, 1, 0, 1])
    first = np.array([0.8, 0.3, 0.6, 0.1])[:, None]
    folds = [(targets, np.hstack([scores, 1 - scores])) for scores in (first, first / 9)]
    groups = [np.array(list(names)) for names in ("abcd", "efgh")]
    whole = tuple(map(np.concatenate, zip(*folds, strict=True)))
    metrics = {key: metrics_of("classification")[key] for key in ("macro_auc", "accuracy")}
    resampling = Resampling(np.concatenate(groups), 20)
    together = [(whole, np.concatenate(groups))]
    sampled = resample_folds(metrics, together, list(zip(folds, groups, strict=True)), resampling)
    assert sampled["macro_auc"].value == 1
    assert resample(metrics, together, resampling)["macro_auc"].value < 1
    assert sampled["accuracy"].value == metrics["accuracy"](*whole) == 0.75


def test_many_tables_are_resampled_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [_predictions(seed) for seed in range(5)]
    resampling = Resampling(tables[0]["group"], samples=20)
    at_once = _resampled(tables, resampling)
    monkeypatch.setattr(module, "_IMAGES", 130)
    assert list(batches([60] * 5)) == [[0, 1], [2, 3], [4]]
    assert list(batches([200, 10, 20, 200])) == [[0], [1, 2], [3]]
    assert list(batches([])) == []
    passes = []
    blocks = Resampling.blocks
    monkeypatch.setattr(Resampling, "blocks", lambda self: passes.append(self) or blocks(self))
    in_turn = _resampled(tables, resampling)
    assert len(passes) == 3
    assert in_turn.keys() == at_once.keys()
    for key, sampled in at_once.items():
        assert in_turn[key].value == pytest.approx(sampled.value, abs=1e-14), key
        assert in_turn[key].samples == pytest.approx(sampled.samples, abs=1e-14, nan_ok=True), key


def test_draws_are_paired_and_repeatable() -> None:
    table = _predictions(1)
    shuffled = table.sample(frac=1, random_state=0)
    first, second = (_resampled([rows], Resampling(rows["group"]))["macro_auc"] for rows in (table, shuffled))
    assert np.abs(first.samples - second.samples).max() < 1e-12


def test_a_class_that_a_resampling_misses_is_left_out() -> None:
    table = _predictions(3, images=8)
    table.loc[:, "target"] = ["bkl"] * 2 + ["nv"] * 6
    sampled = _resampled([table], Resampling(table["group"], samples=200))
    assert np.isfinite(sampled["balanced_accuracy"].samples).all()
    precision = metrics_of("classification")["macro_average_precision"]
    cases = TASKS["classification"].metric_cases(table, CLASSES)
    assert sampled["macro_average_precision"].value == pytest.approx(precision(*cases)), "no image of mel"
    missed = np.isnan(sampled["macro_auc"].samples)
    assert 0 < missed.sum() < 200  # only nv was drawn, or only bkl
    assert 0 <= interval(sampled["macro_auc"].samples).low <= 1


def test_no_defined_resampling_has_no_interval() -> None:
    with pytest.raises(ValueError, match="undefined in every resampling"):
        interval(np.array([np.nan, np.nan]))


def _two_classes(groups: int, images: int, skill: float) -> tuple[tuple[Any, ...], NDArray[np.str_]]:
    """``images`` equal images in each group; the two classes alternate between groups."""
    right = np.repeat(np.random.default_rng(0).random(groups) < skill, images)
    group = np.repeat(np.arange(groups), images)
    target = group % 2
    return (target, np.eye(2)[np.where(right, target, 1 - target)]), group.astype(str)


def _balanced(cases: tuple[Any, ...], groups: NDArray[np.str_]) -> Sampled:
    metrics = {"balanced_accuracy": metrics_of("classification")["balanced_accuracy"]}
    return resample(metrics, [(cases, groups)], Resampling(groups))["balanced_accuracy"]


def test_interval_has_the_width_of_its_groups() -> None:
    # Two classes of 200 groups, each right with 0.8: the error of the mean recall is sqrt(0.16 / 400).
    sampled = _balanced(*_two_classes(400, 1, 0.8))
    bounds = interval(sampled.samples)
    assert bounds.high - bounds.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.1)
    assert bounds.low < sampled.value < bounds.high


def test_repeated_images_of_a_lesion_do_not_narrow_it() -> None:
    once, often = (interval(_balanced(*_two_classes(200, images, 0.7)).samples) for images in (1, 5))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.01)
