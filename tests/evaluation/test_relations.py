"""R_d against a loop over all pairs, the sample of the matrix, and both out of one pass over the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from preceptor.data.batches import Loader
from preceptor.data.cache import Pixels
from preceptor.evaluation.relations import SAMPLE, RelationMeter, Relations, sample_rows
from preceptor.networks.output import NetworkOutput
from preceptor.tasks import TASKS


def measured(embeddings: Tensor, labels: list[int], batch: int = 7) -> Relations:
    meter = RelationMeter(max(labels) + 1, np.array([0]))
    rows, known = torch.arange(len(labels)), torch.tensor(labels)
    for start in range(0, len(labels), batch):
        some = slice(start, start + batch)
        meter.add(rows[some], known[some], embeddings[some])
    return meter.relations()


def test_means_are_those_of_a_loop_over_pairs() -> None:
    draw = np.random.default_rng(4)
    labels = [0] * 11 + [1] * 6 + [2] * 1 + [4] * 5  # one class of one image, one without any
    draw.shuffle(labels)
    embeddings = draw.normal(size=(len(labels), 9)) + 2
    embeddings[3] = 0  # what a ReLU may leave of an image
    within, between = [], []
    for i, row in enumerate(embeddings):
        for j, other in enumerate(embeddings[:i]):
            lengths = np.linalg.norm(row) * np.linalg.norm(other)
            cosine = row @ other / lengths if lengths else 0.0
            (within if labels[i] == labels[j] else between).append(cosine)
    result = measured(torch.from_numpy(embeddings), labels)
    assert result.intra == pytest.approx(np.mean(within), rel=1e-12)
    assert result.inter == pytest.approx(np.mean(between), rel=1e-12)
    assert result.r_d == pytest.approx(np.mean(within) / np.mean(between), rel=1e-12)
    assert result.images == len(labels)


def test_known_value() -> None:
    """Classes along (1, 0) and (0.6, 0.8), of any length: cosine 1 within, 0.6 between."""
    embeddings = torch.tensor([[1.0, 0], [5, 0], [3, 4], [0.6, 0.8]])
    result = measured(embeddings, [0, 0, 1, 1])
    assert result.plain() == pytest.approx({"r_d": 1 / 0.6, "intra": 1.0, "inter": 0.6, "images": 4})


@pytest.mark.parametrize(
    ("labels", "intra", "inter"),
    [([0, 0], -1.0, None), ([0, 1], None, -1.0), ([0], None, None)],
    ids=["one class", "one image a class, opposed", "one image"],
)
def test_no_ratio_where_there_is_none(labels: list[int], intra: float | None, inter: float | None) -> None:
    result = measured(torch.tensor([[2.0, 0], [-1, 0]])[: len(labels)], labels)
    assert (result.intra, result.inter, result.r_d) == (intra, inter, None)


def test_sample_keeps_the_proportions_and_two_of_each() -> None:
    labels = np.repeat([0, 1, 2, 3], [3000, 900, 5, 1])
    np.random.default_rng(0).shuffle(labels)
    rows = sample_rows(labels, 5)
    counts = np.bincount(labels[rows], minlength=5)
    assert len(set(rows.tolist())) == len(rows) == SAMPLE
    assert (np.diff(labels[rows]) >= 0).all(), "class by class"
    assert counts[2:].tolist() == [2, 1, 0]
    assert counts[0] / counts[1] == pytest.approx(3000 / 900, rel=0.02)
    assert np.array_equal(rows, sample_rows(labels, 5))


def test_sample_of_few_images_and_of_many_classes() -> None:
    assert sorted(sample_rows([1, 0, 1], 2).tolist()) == [0, 1, 2]
    assert len(sample_rows(np.repeat(np.arange(200), 3), 200)) == SAMPLE


class _Flat(nn.Module):
    """Embeds an image as its pixels."""

    def forward(self, images: Tensor) -> NetworkOutput:
        flat = images.flatten(1)
        return NetworkOutput(flat[:, :3], images, flat)


def test_one_pass_gives_figures_and_matrix(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    images = draw.integers(0, 256, (400, 3, 2, 2), dtype=np.uint8)
    labels, part = draw.integers(0, 3, 400), np.arange(0, 400, 1)[::-1][:300].copy()
    ids = [f"image {row}" for row in part]
    loader = Loader(Pixels(images, None, ""), labels, part)
    result = TASKS["classification"].evaluate({"net": _Flat()}, loader, ids, ("a", "b", "c"), "test")
    flat = torch.from_numpy(images[part]).double().flatten(1) / 255
    whole = measured(flat, labels[part].tolist())
    assert result.relations.plain()["net"] == pytest.approx(whole.plain(), rel=1e-6)
    assert len(result.predictions[0]) == 300

    result.relations.write_matrices(ids, tmp_path / "relations.npz")
    held = np.load(tmp_path / "relations.npz")
    row_of = {name: row for row, name in enumerate(ids)}
    rows = [row_of[name] for name in held["ids"].tolist()]
    unit = torch.nn.functional.normalize(flat[rows], dim=1)
    assert held["similarity"].shape == (1, SAMPLE, SAMPLE)
    assert np.allclose(held["similarity"][0], unit @ unit.T, atol=1e-3)
    assert held["labels"].tolist() == labels[part][rows].tolist()
    assert held["networks"].tolist() == ["net"]
