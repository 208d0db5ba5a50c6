from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn
from torch import Tensor
from torch.nn import functional

from preceptor.losses.embedding_kd import EmbeddingQueue, queue_size
from preceptor.losses.embedding_kd_maps import EmbeddingMaps
from preceptor.losses.embedding_kd_tokens import EmbeddingTokens
from preceptor.utils.errors import PreceptorError


def unit(row: Tensor) -> Tensor:
    return row / (row**2).sum().sqrt()


def divergence(student: Tensor, teacher: Tensor, keys: list[Tensor], temperature: float) -> Tensor:
    ours, theirs = (
        torch.stack([((row * key).sum() / temperature).exp() for key in keys]) for row in (student, teacher)
    )
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()
    return (theirs * (theirs / ours).log()).sum()


def literal(loss: EmbeddingQueue, student: Tensor, teacher: Tensor, older: list[Tensor], temperature: float) -> Tensor:
    keys = ([unit(row) for row in teacher] + older)[: len(loss.rows)]
    ours = [unit(loss.head.weight @ row + loss.head.bias) for row in student]
    terms = [divergence(s, unit(t), keys, temperature) for s, t in zip(ours, teacher, strict=True)]
    return torch.stack(terms).mean()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 7), empty=st.booleans(), earlier=st.integers(0, 3))
def test_equals_the_formula(seed: int, batch: int, empty: bool, earlier: int) -> None:
    torch.manual_seed(seed)
    loss = EmbeddingQueue(4, 6, queue=5, temperature=0.3, count_empty_rows=empty).double()
    older: list[Tensor] = []
    for step in range(earlier):
        teacher = drawn(seed + 10 + step, 2, 6)
        loss(drawn(seed, 2, 4), teacher)
        older = [unit(row) for row in teacher] + older
    older = older[:5]
    if empty:
        older += [torch.zeros(6, dtype=torch.float64)] * (5 - len(older))
    state = {name: value.clone() for name, value in loss.state_dict().items()}
    student, teacher = drawn(seed + 1, batch, 4), drawn(seed + 2, batch, 6)

    def again(point: Tensor) -> Tensor:
        loss.load_state_dict(state)
        return loss(point, teacher)

    assert_same(again, lambda x: literal(loss, x, teacher, older, 0.3), student)


def test_the_queue_holds_the_newest_rows_first() -> None:
    loss = EmbeddingQueue(4, 6, queue=3)
    first, second = torch.rand(2, 6), torch.rand(2, 6)
    loss(torch.rand(2, 4), first)
    loss(torch.rand(2, 4), second)
    torch.testing.assert_close(loss.rows, functional.normalize(torch.cat([second, first[:1]]), dim=1))
    assert loss.filled == 3
    loss.eval()(torch.rand(2, 4), first)
    torch.testing.assert_close(loss.rows[:2], functional.normalize(second, dim=1))


def test_a_batch_larger_than_the_queue_fills_it_with_its_first_rows() -> None:
    loss, teacher = EmbeddingQueue(4, 6, queue=3), torch.rand(5, 6)
    assert loss(torch.rand(5, 4), teacher).isfinite()
    torch.testing.assert_close(loss.rows, functional.normalize(teacher[:3], dim=1))


def test_the_queue_grows_with_the_data_set() -> None:
    assert [queue_size(images) for images in (49, 50, 999, 1_000, 9_999, 20_000)] == [16, 32, 256, 512, 2048, 8192]


def test_before_any_image_evaluation_is_finite() -> None:
    assert EmbeddingQueue(4, 6).eval()(torch.rand(2, 4), torch.rand(2, 6)).item() == 0


def bilinear(feature_map: Tensor, height: int, width: int) -> Tensor:
    """(B, K, h, w) at half-pixel centres, clamped at the border."""
    rows, columns = feature_map.shape[2:]
    out = feature_map.new_zeros(*feature_map.shape[:2], height, width)
    for y in range(height):
        for x in range(width):
            sy = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            sx = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            y0, x0 = int(sy), int(sx)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            top = feature_map[:, :, y0, x0] * (1 - sx + x0) + feature_map[:, :, y0, x1] * (sx - x0)
            bottom = feature_map[:, :, y1, x0] * (1 - sx + x0) + feature_map[:, :, y1, x1] * (sx - x0)
            out[:, :, y, x] = top * (1 - sy + y0) + bottom * (sy - y0)
    return out


def literal_tokens(loss: EmbeddingTokens, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    mapped = torch.einsum("dk,bkhw->bdhw", loss.head.weight, student) + loss.head.bias[:, None, None]
    mapped = bilinear(mapped, *teacher.shape[2:])
    terms = []
    for ours, theirs in zip(mapped.flatten(2), teacher.flatten(2), strict=True):
        s, t = ([unit(column) for column in maps.T] for maps in (ours, theirs))
        for i in range(len(s)):
            p_s, p_t = (
                torch.stack([((rows[i] * other).sum() / temperature).exp() for other in rows]) for rows in (s, t)
            )
            p_s, p_t = p_s / p_s.sum(), p_t / p_t.sum()
            terms.append((p_t * (p_t / p_s).log()).sum())
    return torch.stack(terms).mean()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([(2, 3), (4, 3), (5, 5)]))
def test_tokens_equal_the_formula(seed: int, grid: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    loss = EmbeddingTokens(3, 4, temperature=0.3).double()
    student, teacher = drawn(seed, 2, 3, 3, 3), drawn(seed + 1, 2, 4, *grid)
    assert_same(lambda x: loss(x, teacher), lambda x: literal_tokens(loss, x, teacher, 0.3), student)


def literal_maps(loss: EmbeddingMaps, student: Tensor, teacher: list[Tensor]) -> Tensor:
    target = torch.cat(teacher, 1)
    mapped = torch.einsum("dk,bkhw->bdhw", loss.head.weight, student) + loss.head.bias[:, None, None]
    difference = bilinear(mapped, *target.shape[2:]) - target
    return (difference**2).sum() / difference.numel()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([(2, 3), (4, 3), (5, 5)]), maps=st.integers(1, 3))
def test_maps_equal_the_formula(seed: int, grid: tuple[int, int], maps: int) -> None:
    torch.manual_seed(seed)
    loss = EmbeddingMaps(3, tuple(range(2, 2 + maps))).double()
    teacher = [drawn(seed + 1 + index, 2, 2 + index, *grid) for index in range(maps)]
    student = drawn(seed, 2, 3, 3, 3)
    assert_same(lambda x: loss(x, teacher), lambda x: literal_maps(loss, x, teacher), student)


def test_maps_of_several_sizes_are_refused() -> None:
    with pytest.raises(PreceptorError, match="maps are of 2 sizes"):
        EmbeddingMaps(3, (4, 4))(torch.rand(1, 3, 2, 2), [torch.rand(1, 4, 2, 2), torch.rand(1, 4, 4, 4)])


def test_settings_are_checked() -> None:
    with pytest.raises(PreceptorError, match="queue"):
        EmbeddingQueue(4, 6, queue=0)
    with pytest.raises(PreceptorError, match="temperature"):
        EmbeddingTokens(4, 6, temperature=0)
