from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses import image_relation
from preceptor.losses.image_relation import ImageRelation
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def smooth(difference: Tensor) -> Tensor:
    size = difference.abs()
    return torch.where(size < 1, size**2 / 2, size - 0.5)


def literal_relations(rows: Tensor, normalise: bool) -> tuple[Tensor, Tensor]:
    """Relative distances (B, B) and cosines (B, B, B) from the B×B×D differences."""
    if normalise:
        rows = rows / rows.norm(dim=1, keepdim=True)
    differences = rows[None] - rows[:, None]
    same = (differences == 0).all(dim=2)
    lengths = torch.where(same[:, :, None], 1, differences).norm(dim=2).masked_fill(same, 0)
    positive = (~same).sum()
    distances = lengths / (lengths.sum() / positive) if positive else lengths
    directions = differences / lengths.masked_fill(same, 1)[:, :, None] * ~same[:, :, None]
    return distances, torch.stack([at @ at.T for at in directions])


def literal(student: Tensor, teacher: Tensor, distance: float, angle: float, normalise: bool) -> Tensor:
    (near, turn), (near_twin, turn_twin) = (literal_relations(side, normalise) for side in (student, teacher))
    return distance * smooth(near - near_twin).mean() + angle * smooth(turn - turn_twin).mean()


def embeddings(kind: str, batch: int, size: int, seed: int) -> Tensor:
    draw = generator(seed, kind, size)
    rows = torch.randn(batch, size, generator=draw, dtype=torch.float64)
    if kind == "rectified":
        return (rows + 0.5).relu() + 3
    if kind == "near duplicates":
        return rows[: (batch + 1) // 2].repeat(2, 1)[:batch] + 1e-3 * torch.randn(
            batch, size, generator=draw, dtype=torch.float64
        )
    if kind == "duplicates":
        return rows[: (batch + 1) // 2].repeat(2, 1)[:batch]
    return rows


KINDS = ["plain", "rectified", "near duplicates", "duplicates"]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 7),
    sizes=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    weights=st.tuples(st.sampled_from([0.0, 1.0, 25.0]), st.sampled_from([0.0, 2.0, 50.0])),
    normalise=st.booleans(),
    tile=st.sampled_from([1, 100, 1 << 16]),
)
def test_equals_the_formula(
    seed: int,
    batch: int,
    sizes: tuple[int, int],
    kinds: tuple[str, str],
    weights: tuple[float, float],
    normalise: bool,
    tile: int,
) -> None:
    student = embeddings(kinds[0], batch, sizes[0], seed)
    teacher = embeddings(kinds[1], batch, sizes[1], seed + 1)
    loss = ImageRelation(*weights, normalise=normalise)

    def twin(point: Tensor) -> Tensor:
        return literal(point, teacher, *weights, normalise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_relation, "_TILE", tile)
        assert_same(lambda point: loss(point, teacher), twin, student)


@pytest.mark.parametrize("kind", ["rectified", "near duplicates"])
def test_float32_embeddings_lose_nothing(kind: str) -> None:
    """As wide as a network's; value and gradient within 1e-5 of the literal float64 form."""
    student, teacher = embeddings(kind, 16, 1280, 1).float(), embeddings(kind, 16, 2048, 2).float()
    results = []
    for point, form in (
        (student.clone(), lambda point: ImageRelation()(point, teacher)),
        (student.double(), lambda point: literal(point, teacher.double(), 25, 50, False)),
    ):
        value = form(point.requires_grad_())
        results.append((value.detach().double(), torch.autograd.grad(value, point)[0].double()))
    (value, gradient), (value_twin, gradient_twin) = results
    assert value.item() == pytest.approx(value_twin.item(), rel=1e-6)
    torch.testing.assert_close(gradient, gradient_twin, rtol=0, atol=1e-6 * gradient_twin.abs().max().item())


def test_gradient_agrees_with_finite_differences() -> None:
    teacher = embeddings("plain", 5, 3, 2)
    loss = ImageRelation()
    point = embeddings("plain", 5, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher), point)


@pytest.mark.parametrize("normalise", [False, True])
def test_equal_rows_and_empty_ones_give_a_finite_gradient(normalise: bool) -> None:
    student = torch.randn(6, 40, generator=generator(3)).relu()
    student[1], student[2], student[4] = student[0], student[0], 0
    student.requires_grad_()
    ImageRelation(normalise=normalise)(student, torch.randn(6, 7, generator=generator(4))).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert 0 < student.grad.abs().max() < 100


def test_a_batch_of_one_image_in_all_places_is_no_relation() -> None:
    student = torch.randn(1, 300, generator=generator(5)).expand(4, -1).clone().requires_grad_()
    value = ImageRelation()(student, student.detach()[:, :7])
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_a_rotation_and_a_shift_are_no_difference_and_a_scale_none_either() -> None:
    student = torch.randn(6, 5, generator=generator(6))
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator(7)))
    assert ImageRelation()(3 * student @ rotation + 10, student).item() == pytest.approx(0, abs=1e-9)


def test_normalised_embeddings_have_no_length() -> None:
    student, teacher = torch.randn(2, 6, 5, generator=generator(8))
    lengths = torch.rand(6, 1, generator=generator(9)) + 0.1
    same = ImageRelation(normalise=True)(lengths * student, teacher)
    torch.testing.assert_close(same, ImageRelation(normalise=True)(student, teacher))
    assert not torch.allclose(ImageRelation()(lengths * student, teacher), ImageRelation()(student, teacher), rtol=0.01)


@pytest.mark.parametrize("arguments", [{"distance_weight": -1.0}, {"angle_weight": float("nan")}])
def test_weights_are_checked(arguments: dict[str, float]) -> None:
    with pytest.raises(PreceptorError, match=next(iter(arguments))):
        ImageRelation(**arguments)  # type: ignore[arg-type]
