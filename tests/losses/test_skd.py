"""Structured knowledge distillation: pairs of places, and the critic."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.critic import MaskCritic, SelfAttention
from preceptor.losses.skd_holistic import HolisticAdversary
from preceptor.losses.skd_pairwise import PairwiseSimilarity
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

FEW = settings(max_examples=8, deadline=None)

# --- pair-wise -----


def maxima(feature_map: Tensor, window: tuple[int, int]) -> list[Tensor]:
    """The nodes (K,) of one image's map, row by row."""
    _, height, width = feature_map.shape
    return [
        feature_map[:, top : top + window[0], left : left + window[1]].amax((1, 2))
        for top in range(0, height, window[0])
        for left in range(0, width, window[1])
    ]


def literal_pairwise(student: Tensor, teacher: Tensor, window: tuple[int, int], official: bool) -> Tensor:
    def similarity(a: Tensor, b: Tensor) -> Tensor:
        lengths = [node.square().sum().sqrt() for node in (a, b)]
        if official:
            lengths = [length.detach() + 1e-8 for length in lengths]
        return (a / lengths[0] * b / lengths[1]).sum()

    total, count = student.new_zeros(()), 0
    for ours, theirs in zip(student, teacher, strict=True):
        nodes, others = maxima(ours, window), maxima(theirs, window)
        for i in range(len(nodes)):
            for j in range(len(nodes)):
                difference = similarity(nodes[i], nodes[j]) - similarity(others[i], others[j])
                total, count = total + difference**2, count + 1
    return total / count


@FEW
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 2), height=st.integers(4, 5), official=st.booleans())
def test_pairwise_equals_the_formula(seed: int, batch: int, height: int, official: bool) -> None:
    draw = generator(seed)
    student = torch.randn(batch, 3, height, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(batch, 5, height, 4, generator=draw, dtype=torch.float64)
    loss = PairwiseSimilarity("official" if official else "cirkd")
    window = (height // 2, 2) if official else (2, 2)
    assert_same(lambda x: loss([x], [teacher]), lambda x: literal_pairwise(x, teacher, window, official), student)


def test_pairwise_sums_over_points_and_averages_the_larger_map() -> None:
    draw = generator(1)
    small, large = torch.randn(2, 3, 4, 4, generator=draw), torch.randn(2, 3, 8, 8, generator=draw)
    loss = PairwiseSimilarity()
    pooled = torch.nn.functional.avg_pool2d(large, 2)
    torch.testing.assert_close(loss([small, large], [large, small]), 2 * loss([small], [pooled]))


def test_pairwise_refuses_what_would_fill_the_memory_or_has_no_partner() -> None:
    with pytest.raises(PreceptorError, match="4096 nodes per image"):
        PairwiseSimilarity()([torch.zeros(1, 2, 128, 128)], [torch.zeros(1, 2, 128, 128)])
    assert PairwiseSimilarity(window=4)([torch.zeros(1, 2, 128, 128)], [torch.zeros(1, 2, 128, 128)]).item() == 0
    with pytest.raises(PreceptorError, match="2 feature points of the student, 1 of the teacher"):
        PairwiseSimilarity()([torch.zeros(1, 2, 4, 4)] * 2, [torch.zeros(1, 2, 4, 4)])
    with pytest.raises(PreceptorError, match="feature maps"):
        PairwiseSimilarity()([torch.zeros(1, 2, 4)], [torch.zeros(1, 2, 4)])
    with pytest.raises(PreceptorError, match="window: 0"):
        PairwiseSimilarity(window=0)


# --- critic -----


def literal_attention(block: SelfAttention, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for image in range(len(x)):
        places = x[image].flatten(1)
        q, k, v = (
            part.weight[:, :, 0, 0] @ places + part.bias[:, None] for part in (block.query, block.key, block.value)
        )
        for i in range(places.shape[1]):
            energy = torch.stack([(q[:, i] * k[:, j]).sum() for j in range(places.shape[1])]).exp()
            mixed = sum(energy[j] / energy.sum() * v[:, j] for j in range(places.shape[1]))
            out[image].flatten(1)[:, i] = block.gamma * mixed + places[:, i]
    return out


def test_self_attention_equals_the_formula() -> None:
    block = SelfAttention(8).double()
    torch.nn.init.constant_(block.gamma, 0.7)
    x = torch.randn(2, 8, 2, 3, generator=generator(2), dtype=torch.float64)
    weights = torch.randn(2, 8, 2, 3, generator=generator(3), dtype=torch.float64)
    assert_same(lambda x: (block(x) * weights).sum(), lambda x: (literal_attention(block, x) * weights).sum(), x)


def literal_critic(critic: MaskCritic, logits: Tensor) -> Tensor:
    """The critic in evaluation mode on logits of 64 px, its convolutions with their effective weights."""
    norm = critic.norm
    shape = (1, -1, 1, 1)
    x = (logits - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
    x = x * norm.weight.view(shape) + norm.bias.view(shape)
    for index, block in enumerate(critic.blocks):
        x = torch.nn.functional.conv2d(x, block[0].weight, block[0].bias, stride=2, padding=1)
        x = torch.where(x > 0, x, 0.1 * x)
        if index >= 2:
            x = literal_attention(critic.attention[index - 2], x) if index == 3 else critic.attention[0](x)
    return torch.einsum("ckhw,bkhw->bc", critic.last.weight, x)[:, 0] + critic.last.bias


def test_critic_equals_its_layers() -> None:
    critic = MaskCritic(2).double().eval()
    for attention in critic.attention:
        torch.nn.init.constant_(attention.gamma, 0.5)
    logits = torch.randn(1, 2, 64, 64, generator=generator(4), dtype=torch.float64)
    assert_same(lambda x: critic(x).sum(), lambda x: literal_critic(critic, x).sum(), logits)
    for block in critic.blocks:  # spectral normalisation: the largest singular value is one
        assert torch.linalg.matrix_norm(block[0].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("side", [64, 65, 96])
def test_student_raises_its_score(side: int) -> None:
    loss = HolisticAdversary(2).double().eval()
    logits = torch.randn(3, 2, side, side, generator=generator(5), dtype=torch.float64)
    at_side = torch.nn.functional.adaptive_avg_pool2d(logits, 64) if side == 96 else logits
    torch.testing.assert_close(loss(logits), -sum(loss.critic(image[None]) for image in at_side)[0] / 3)


def test_hinge_equals_the_formula() -> None:
    loss = HolisticAdversary(2, critic_weight=0.3).double().eval()
    student, teacher = 3 * torch.randn(2, 4, 2, 64, 64, generator=generator(6), dtype=torch.float64)
    scores = [[loss.critic(image[None]).item() for image in side] for side in (teacher, student)]
    expected = sum(max(0, 1 - a) + max(0, 1 + b) for a, b in zip(*scores, strict=True)) / 4
    assert loss.critic_loss(student, teacher, generator(0)).item() == pytest.approx(0.3 * expected)


def test_gradient_penalty_equals_the_formula() -> None:
    loss = HolisticAdversary(2, kind="wgan-gp").double().eval()  # in evaluation images do not meet in the norm
    student, teacher = torch.randn(2, 3, 2, 64, 64, generator=generator(7), dtype=torch.float64)
    alphas = torch.rand(3, 1, 1, 1, generator=generator(8))
    total = 0.0
    for s, t, alpha in zip(student, teacher, alphas, strict=True):
        between = (alpha.double() * t + (1 - alpha.double()) * s)[None].requires_grad_()
        (slope,) = torch.autograd.grad(loss.critic(between).sum(), between)
        score = loss.critic(s[None]) - loss.critic(t[None])
        total += score.item() + 10 * (slope.square().sum().sqrt().item() - 1) ** 2
    assert loss.critic_loss(student, teacher, generator(8)).item() == pytest.approx(0.1 * total / 3)


@pytest.mark.parametrize("kind", ["hinge", "wgan-gp"])
def test_critic_learns_to_tell_the_two_apart(kind: str) -> None:
    torch.manual_seed(0)
    loss = HolisticAdversary(2, kind=kind, penalty=1.0)  # type: ignore[arg-type]
    draw = generator(9)
    student, teacher = torch.randn(2, 2, 64, 64, generator=draw), 6 * torch.ones(2, 2, 64, 64)
    optimiser = torch.optim.Adam(loss.critic.parameters(), 4e-4, (0.9, 0.99))
    for _ in range(3):
        optimiser.zero_grad()
        loss.critic_loss(student, teacher, draw).backward()
        optimiser.step()
    assert loss.critic(teacher).mean() > loss.critic(student).mean()


@pytest.mark.parametrize("kind", ["hinge", "wgan-gp"])
def test_both_losses_take_one_backward_pass(kind: str) -> None:
    """The critic's statistics move from one call to the next; no gradient may depend on a later value of theirs."""
    torch.manual_seed(0)
    apart = HolisticAdversary(2, kind=kind)  # type: ignore[arg-type]
    together = copy.deepcopy(apart)
    student, teacher = torch.randn(2, 2, 2, 64, 64, generator=generator(10))
    points = [student.clone().requires_grad_() for _ in range(2)]
    apart(points[0]).backward()
    apart.critic_loss(points[0], teacher, generator(11)).backward()
    (together(points[1]) + together.critic_loss(points[1], teacher, generator(11))).backward()
    torch.testing.assert_close(points[0].grad, points[1].grad)
    for ours, theirs in zip(apart.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_small_masks_and_senseless_settings_are_refused() -> None:
    with pytest.raises(PreceptorError, match="64 px or more"):
        HolisticAdversary(2)(torch.zeros(1, 2, 63, 80))
    with pytest.raises(PreceptorError, match="kind: 'gan'"):
        HolisticAdversary(2, kind="gan")  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="penalty: -1"):
        HolisticAdversary(2, penalty=-1.0)
