"""Structured distillation, holistic: masks that a critic cannot tell from the teacher's."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from preceptor.losses.critic import MaskCritic
from preceptor.losses.maps import average_to
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_not_negative
from preceptor.utils.errors import PreceptorError

_SIDES = (64, 65)  # px, whose last map is one place


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"classes": 2}, {"student": 3 * torch.randn(batch, 2, 64, 64, generator=generator)}


@register_loss(
    "skd_holistic",
    feeds={"student": "to.logits"},
    trains=("student",),
    critic={"student": "to.logits", "teacher": "from.logits", "generator": "generator"},
    facts={"classes": "to.classes"},
    relates_images=True,  # the critic normalises over the batch
    example=_example,
)
class HolisticAdversary(nn.Module):
    """Holistic distillation of SKD (Liu et al. 2019, eqs. 5–6): the student raises the score D of its masks,

        L = -mean_b D(s_b)

    and a critic, which an optimiser of its own steps after the student on the same outputs, learns to score the
    teacher's higher (:meth:`critic_loss`). Weights and optimisers that were published, of the student, the critic:

    * SKD: ``wgan-gp``, .1 and .1, SGD 4e-4; IFVD (Wang et al. 2020): .001 and .1, Adam 4e-4 with β (.9, .99);
    * CIRKD (Yang et al. 2022): ``hinge`` without penalty, .001 and .1, Adam as IFVD.

    Keep .001 for two classes: how sharp a mask is gives the student away. Logits that are not of 64 or 65 px are
    averaged to 64 (ours). Neither loss reaches the other's parameters: for the student the critic is constant.

    Args:
        classes: C; the engine gives it.
        kind: ``hinge`` or ``wgan-gp``.
        critic_weight: λ, of the critic's loss.
        penalty: of the gradient under ``wgan-gp``, times λ.

    Raises:
        PreceptorError: an unknown kind, or a weight or penalty that is negative.

    >>> loss = HolisticAdversary(classes=2)
    >>> student, teacher = torch.randn(2, 2, 2, 96, 96)
    >>> loss(student).shape, loss.critic_loss(student, teacher, torch.Generator()).shape
    (torch.Size([]), torch.Size([]))
    """

    def __init__(
        self,
        classes: int,
        kind: Literal["hinge", "wgan-gp"] = "hinge",
        critic_weight: float = 0.1,
        penalty: float = 10.0,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, ("hinge", "wgan-gp"))
        check_not_negative(critic_weight=critic_weight, penalty=penalty)
        self.kind, self.critic_weight, self.penalty = kind, critic_weight, penalty
        self.critic = MaskCritic(classes)

    @full_precision
    def forward(self, student: Tensor) -> Tensor:
        """The student's loss: logits (B, C, H, W) of its masks, H and W from 64 on, to a scalar.

        Raises:
            PreceptorError: logits that are no maps, or smaller ones.
        """
        constant = {name: parameter.detach() for name, parameter in self.critic.named_parameters()}
        return -functional_call(self.critic, constant, (_at_side(student),)).mean()

    @full_precision
    def critic_loss(self, student: Tensor, teacher: Tensor, generator: torch.Generator) -> Tensor:
        """The critic's loss for the logits (B, C, H, W) of either network, to a scalar:

            hinge     λ·mean relu(1 - D(t)) + λ·mean relu(1 + D(s))
            wgan-gp   λ·(mean D(s) - mean D(t)) + λ·penalty·mean_b (‖∇D(x_b)‖ - 1)²,   x_b = α_b·t_b + (1 - α_b)·s_b

        with α_b uniform, one number for each image, from ``generator``. No gradient reaches the logits.
        """
        student, teacher = _at_side(student.detach()), _at_side(teacher.detach())
        of_teacher, of_student = self.critic(teacher), self.critic(student)
        if self.kind == "hinge":
            return self.critic_weight * (
                functional.relu(1 - of_teacher).mean() + functional.relu(1 + of_student).mean()
            )
        alpha = torch.rand(len(student), 1, 1, 1, generator=generator, device=student.device).to(student.dtype)
        between = (alpha * teacher + (1 - alpha) * student).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return self.critic_weight * (of_student.mean() - of_teacher.mean() + self.penalty * penalty)


def _at_side(logits: Tensor) -> Tensor:
    if logits.ndim != 4 or min(logits.shape[2:]) < _SIDES[0]:
        raise PreceptorError(
            f"skd_holistic: logits of shape {tuple(logits.shape)}",
            expected=f"maps of {_SIDES[0]} px or more, which the critic halves four times",
            remedy="set a larger image_size, or leave the adversary out",
        )
    fits = logits.shape[2] == logits.shape[3] and logits.shape[2] in _SIDES
    return logits if fits else average_to(logits, (_SIDES[0], _SIDES[0]))
