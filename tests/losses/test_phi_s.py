from __future__ import annotations

import pytest
import torch
from literal_twins import assert_same, drawn
from torch import Tensor

from preceptor.losses.hadamard import hadamard
from preceptor.losses.phi_s import PhiS
from preceptor.losses.phi_standardisation import PhiStandardisation, mean_variance
from preceptor.utils.errors import PreceptorError


@pytest.mark.parametrize("size", [1, 2, 4, 12, 16, 20, 40, 192, 384, 512, 768, 1280])
def test_hadamard_matrices_are_orthogonal_with_entries_of_one_size(size: int) -> None:
    matrix = hadamard(size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, size**-0.5))


@pytest.mark.parametrize("size", [3, 6, 10, 92 + 1, 5 * 4 + 2])
def test_sizes_without_a_hadamard_matrix_are_refused(size: int) -> None:
    with pytest.raises(PreceptorError, match=f"{size} entries"):
        hadamard(size)


def sample(seed: int, rows: int = 40, size: int = 12) -> Tensor:
    return drawn(seed, rows, size) * torch.arange(1, size + 1) + 5


def test_every_entry_has_variance_one_and_the_inverse_undoes_it() -> None:
    features = sample(1)
    standardisation = PhiStandardisation.of(features)
    standardised = standardisation(features)
    torch.testing.assert_close(standardised.var(0), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(standardised.mean(0), torch.zeros(12, dtype=torch.float64))
    torch.testing.assert_close(standardisation.inverse(standardised), features)
    eye = torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(standardisation.matrix @ standardisation.matrix.T, eye / standardisation.scale)


def test_the_scale_is_the_mean_eigenvalue_of_the_covariance() -> None:
    features = sample(2)
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (len(features) - 1)
    expected = covariance.diagonal().sum() / 12
    torch.testing.assert_close(mean_variance(features), expected)
    torch.testing.assert_close(PhiStandardisation.of(features).scale, expected)


def literal(loss: PhiS, student: Tensor, teacher: Tensor, sample: Tensor) -> Tensor:
    mean = sample.sum(0) / len(sample)
    scale = ((sample - mean) ** 2).sum() / (len(sample) - 1) / sample.shape[1]
    outputs = torch.stack([loss.head.weight @ row + loss.head.bias for row in student])
    return ((outputs - (teacher - mean)) ** 2).sum() / teacher.numel() / scale


def test_equals_the_formula_over_what_it_observed() -> None:
    loss = PhiS(5, 12).double()
    first, teacher, student = sample(3, rows=7), sample(4, rows=4), drawn(5, 4, 5)
    loss(drawn(6, 7, 5), first)
    state = {name: value.clone() for name, value in loss.state_dict().items()}

    def again(point: Tensor) -> Tensor:
        loss.load_state_dict(state)
        return loss(point, teacher)

    assert_same(again, lambda x: literal(loss, x, teacher, torch.cat([first, teacher])), student)


def test_is_the_squared_error_under_the_whole_transform() -> None:
    """Rotating the target and the head's output alike leaves the squared error as it is."""
    loss, features = PhiS(5, 12).double(), sample(7)
    student = drawn(8, 40, 5)
    standardisation = PhiStandardisation.of(features)
    outputs = standardisation(loss.head(student) + features.mean(0))
    expected = (outputs - standardisation(features)).square().mean()
    torch.testing.assert_close(loss(student, features), expected)


def test_the_estimate_ends_with_the_sample_and_rests_in_evaluation() -> None:
    loss = PhiS(5, 12, sample=10).double()
    loss.eval()(drawn(1, 6, 5), sample(1, rows=6))
    assert loss.count == 0
    loss.train()
    for seed in range(3):
        loss(drawn(seed, 6, 5), sample(seed, rows=6))
    assert loss.count == 12
    torch.testing.assert_close(loss.mean, torch.cat([sample(0, rows=6), sample(1, rows=6)]).mean(0))
