"""How alike networks are: CKA of their layers against the formula, and fidelity of a student."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compared_layers import compare_layers
from preceptor.evaluation.cka import CKAMeter, layers_of
from preceptor.evaluation.fidelity import FidelityMeter, fidelity
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.report.layers import layer_heat_map, short_names

HALF = (0.5,) * 3


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal_hsic(x: Tensor, y: Tensor) -> float:
    """Song et al. 2012, eq. (5), entry by entry."""
    n = len(x)
    k = [[float(x[i] @ x[j]) if i != j else 0.0 for j in range(n)] for i in range(n)]
    m = [[float(y[i] @ y[j]) if i != j else 0.0 for j in range(n)] for i in range(n)]
    trace = sum(k[i][j] * m[j][i] for i in range(n) for j in range(n))
    sums = sum(map(sum, k)) * sum(map(sum, m)) / ((n - 1) * (n - 2))
    cross = 2 / (n - 2) * sum(k[i][q] * m[q][j] for i in range(n) for q in range(n) for j in range(n))
    return (trace + sums - cross) / (n * (n - 3))


def literal_cka(batches: list[tuple[Tensor, Tensor]]) -> float:
    def mean(pairs: list[tuple[Tensor, Tensor]]) -> float:
        return sum(literal_hsic(x.flatten(1), y.flatten(1)) for x, y in pairs) / len(pairs)

    return mean(batches) / (mean([(x, x) for x, _ in batches]) * mean([(y, y) for _, y in batches])) ** 0.5


def cka(*batches: tuple[Tensor, Tensor]) -> float:
    meter = CKAMeter()
    for x, y in batches:
        meter.update({"x": x}, {"y": y})
    return float(meter.result().values[0, 0])


# --- CKA -----


@pytest.mark.parametrize("count", [4, 9])
def test_one_batch_equals_the_formula(count: int) -> None:
    x = draws(count, 3, 2, 2) + 5
    y = draws(count, 7, seed=1) + x.flatten(1)[:, :7]
    assert cka((x, y)) == pytest.approx(literal_cka([(x, y)]), rel=1e-9)


def test_batches_are_averaged_before_the_ratio() -> None:
    batches = [(draws(5, 4, seed=seed), draws(5, 4, seed=seed) + draws(5, 4, seed=9 + seed)) for seed in range(3)]
    assert cka(*batches) == pytest.approx(literal_cka(batches), rel=1e-9)


def test_single_precision_is_enough_far_from_zero() -> None:
    x, y = draws(8, 50) + 100, draws(8, 50) + draws(8, 50, seed=1) + 100
    assert cka((x.float(), y.float())) == pytest.approx(literal_cka([(x, y)]), abs=1e-4)


def test_rotation_scale_and_shift_change_nothing() -> None:
    x = draws(12, 6)
    rotation, _ = torch.linalg.qr(draws(6, 6, seed=1))
    assert cka((x, 3 * x @ rotation + 2)) == pytest.approx(1, abs=1e-9)
    stretched = x * torch.tensor([10, 1, 1, 1, 1, 0.1], dtype=torch.float64)
    assert cka((x, stretched)) < 0.9


def test_independent_activations_are_near_zero_on_average() -> None:
    values = [cka((draws(8, 20, seed=seed), draws(8, 20, seed=100 + seed))) for seed in range(40)]
    assert abs(np.mean(values)) < 0.05  # the biased estimator gives about 0.7 here


def test_a_layer_that_says_the_same_of_every_image_has_no_value() -> None:
    assert np.isnan(cka((torch.ones(5, 3), draws(5, 3).float())))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="4 images or more"):
        cka((draws(3, 2), draws(3, 2)))
    with pytest.raises(ValueError, match="one size"):
        cka((draws(5, 2), draws(6, 2)))
    meter = CKAMeter()
    with pytest.raises(ValueError, match="no batch"):
        meter.result()
    meter.update({"x": draws(5, 2)}, {"y": draws(5, 2)})
    with pytest.raises(ValueError, match="expected the same ones"):
        meter.update({"z": draws(5, 2)}, {"y": draws(5, 2)})


def test_blocks_are_layers() -> None:
    network = Classifier(Architecture("test_resnet", ("a", "b"), 32, HALF, HALF))
    assert [name.removeprefix("backbone.") for name in layers_of(network)] == [
        "conv1.0", "conv1.3", "conv1.6", "layer1.0", "layer2.0", "layer3.0", "layer4.0", "fc",
    ]  # fmt: skip
    few = list(layers_of(network, 3))
    assert (len(few), few[0], few[-1]) == (3, "backbone.conv1.0", "backbone.fc")
    segmenter = Segmenter(UNetArchitecture("test_resnet", ("a", "b"), 32, HALF, HALF))
    assert [name for name in layers_of(segmenter) if name.startswith("decoder")] == [
        f"decoder.blocks.{index}" for index in range(5)
    ]
    with pytest.raises(ValueError, match="no convolution"):
        layers_of(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="at least two"):
        layers_of(network, 1)


def test_a_network_is_like_itself_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    network = Classifier(Architecture("test_resnet", ("a", "b"), 32, HALF, HALF))
    other = Classifier(Architecture("test_efficientnet", ("a", "b"), 32, HALF, HALF)).eval()
    images = torch.rand(11, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    itself = compare_layers(network, network, images.split(5), most=6)
    assert itself.rows == itself.columns
    assert len(itself.rows) == 6
    assert itself.images == 10  # the last batch held one image
    assert np.diagonal(itself.values) == pytest.approx(1, abs=1e-6)
    assert itself.values == pytest.approx(itself.values.T)
    across = compare_layers(network, other, images.split(5), most=4)
    assert across.values.shape == (4, 4)
    assert (across.values < 1).all()
    assert (network.training, other.training) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_heat_map_names_every_layer() -> None:
    values = np.array([[1.0, -0.01, np.nan], [0.2, 0.5, 0.7]])
    figure = layer_heat_map("teacher", "s & t", ("backbone.conv1", "encoder.model.blocks.0"), ("a", "b", "c"), values)
    for name in ("conv1", "teacher", "s &amp; t", ">a<", ">b<", ">c<"):
        assert name in figure.svg
    assert "mean 0.48" in figure.note
    assert short_names(["encoder.model.layer1.0", "backbone.blocks.1.2", "decoder.blocks.3"]) == [
        "layer1.0", "1.2", "decoder.3",
    ]  # fmt: skip


# --- fidelity -----


def test_fidelity_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    student = torch.tensor([[0.25, 0.75], [0.9, 0.1]], dtype=torch.float64)
    results = fidelity(student.numpy(), teacher.numpy())
    assert results == pytest.approx({"agreement": 0.5, "kl": (0.5 * log(2) + 0.5 * log(2 / 3)) / 2})
    meter = FidelityMeter()
    for row in range(2):
        meter.update(student[row : row + 1].log() + 7, teacher[row : row + 1].log())
    assert meter.result() == pytest.approx(results)


def test_fidelity_of_masks_is_over_pixels() -> None:
    student, teacher = draws(2, 3, 4, 4), draws(2, 3, 4, 4, seed=1)
    meter = FidelityMeter()
    meter.update(student, teacher)
    flat = [each.softmax(1).movedim(1, -1).reshape(-1, 3).numpy() for each in (student, teacher)]
    assert meter.result() == pytest.approx(fidelity(*flat))


def test_fidelity_of_classes_alone_has_no_divergence() -> None:
    student, teacher = draws(2, 3, 4, 4), draws(2, 3, 4, 4, seed=1)
    agreed = (student.argmax(1) == teacher.argmax(1)).double().mean().item()
    meter = FidelityMeter()
    meter.update(student.argmax(1), teacher)
    assert meter.result() == {"agreement": pytest.approx(agreed), "kl": None}
    meter.update(student, teacher)
    assert meter.result() == {"agreement": pytest.approx(agreed), "kl": None}, "not of all cases"
    with pytest.raises(ValueError, match="one shape"):
        meter.update(student.argmax(1)[:, :3], teacher)


def test_fidelity_stays_finite_and_refuses_nonsense() -> None:
    certain = np.array([[1.0, 0.0]])
    assert fidelity(certain, certain) == {"agreement": 1.0, "kl": 0.0}
    assert np.isfinite(fidelity(certain, 1 - certain)["kl"])
    with pytest.raises(ValueError, match="one shape"):
        fidelity(certain, np.ones((1, 3)))
    with pytest.raises(ValueError, match="one shape"):
        FidelityMeter().update(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="no case"):
        FidelityMeter().result()
