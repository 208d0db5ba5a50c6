"""Channel-wise distillation: where in the image each channel is active."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.losses.adapters import conv_bn_relu
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.maps import at_common_size, check_channels
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_positive
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 4 * torch.randn(2, batch, 3, 5, 5, generator=generator)
    return {}, {"student": student, "teacher": teacher}


def _example_maps(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = 4 * torch.randn(batch, 5, 3, 3, generator=generator).relu()
    teacher = 4 * torch.randn(batch, 6, 6, 6, generator=generator).relu()
    return {"student_channels": 5, "teacher_channels": 6}, {"student": student, "teacher": teacher}


@register_loss(
    "cwd",
    feeds={"student": "to.logits", "teacher": "from.logits"},
    trains=("student",),
    compares_places=True,
    example=_example,
)
class ChannelWise(nn.Module):
    """Channel-wise distillation (Shu et al. 2021, eqs. 2–4):

        L = T²/(B·C) Σ_b Σ_c KL(φ(t[b,c]) ‖ φ(s[b,c])),   φ(x)_i = exp(x_i / T) / Σ_j exp(x_j / T)

    The softmax runs over the places i of one channel, so that places where a channel is active outweigh the rest. As
    ``cwd`` it compares logits of masks (weight 3 in the paper), as ``cwd_map`` feature maps (50). The mean over the
    batch is the released code's. A constant added to a channel changes nothing: a loss on the masks sets the threshold.

    Args:
        temperature: T > 0.

    Raises:
        PreceptorError: a temperature that is not positive.

    >>> ChannelWise()(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)).item()
    0.0
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature
        self.adapter: nn.Module = nn.Identity()

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Two times (B, C, H, W) to a scalar; where sizes differ, both are averaged to the smaller one.

        Raises:
            PreceptorError: inputs that are no maps, such as a classifier's logits.
        """
        if student.ndim != 4:
            raise PreceptorError(
                f"cwd: the student's input has {student.ndim} dimensions", expected="maps, as a segmenter's logits are"
            )
        student, teacher = at_common_size(student, teacher.detach())
        student = self.adapter(student)
        s = (student.flatten(2) / self.temperature).log_softmax(2)
        t = (teacher.flatten(2) / self.temperature).log_softmax(2)
        return self.temperature**2 * kl_divergence(t, s, dim=2).mean()


@register_loss(
    "cwd_map",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    relates_images=True,  # the batch normalisation of conv_bn_relu
    example=_example_maps,
    compares_places=True,
)
class ChannelWiseMap(ChannelWise):
    """:class:`ChannelWise` on feature maps (Shu et al. 2021), the student's brought to the teacher's channels.

    Args:
        student_channels, teacher_channels: K of either map; the engine gives both.
        temperature: T > 0.
        adapter: learned; ``conv`` as in CIRKD (Yang et al. 2022), a 1×1 convolution without bias, and only where
            channels differ; ``conv_bn_relu`` as in the authors' code, always, with batch norm and ReLU; or ``none``.

    Raises:
        PreceptorError: a temperature that is not positive, an unknown adapter, or ``none`` where channels differ.

    >>> ChannelWiseMap(64, 256)(torch.randn(2, 64, 14, 14), torch.randn(2, 256, 14, 14)).shape
    torch.Size([])
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        temperature: float = 4.0,
        adapter: Literal["conv", "conv_bn_relu", "none"] = "conv",
    ) -> None:
        super().__init__(temperature)
        check_choice("adapter", adapter, ("conv", "conv_bn_relu", "none"))
        if adapter == "none":
            check_channels("cwd_map", student_channels, teacher_channels)
        if adapter == "conv_bn_relu":
            self.adapter = nn.Sequential(*conv_bn_relu(student_channels, teacher_channels))
        elif student_channels != teacher_channels:
            self.adapter = nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False)
