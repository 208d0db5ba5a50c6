"""Relations between channels: which of them are active together, according to the teacher."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.errors import PreceptorError
from preceptor.losses.gradient import wants_gradient, with_gradient
from preceptor.losses.maps import at_common_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss

_EPSILON = 1e-20  # a root's slope at equality is finite, and no difference that float32 tells from zero is as small

_TILE = 1 << 19  # entries of a map at a time: two MiB of float32, near a processor's cache
_TILE_CUDA = 1 << 25  # a launch is dear there

Variant = Literal["code", "text"]
Adapter = Literal["conv_bn_relu", "conv", "none"]


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 3, 3, generator=generator).relu()
    teacher = torch.randn(batch, 8, 2, 3, generator=generator).relu()
    return {"student_channels": 5, "teacher_channels": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "crkd",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    relates_images=True,  # the code's root is over the whole batch
    example=_example,
)
class ChannelRelation(nn.Module):
    """CRKD of SSD-KD (Wang et al. 2022, eqs. 7 and 8). With F an image's map as a K×HW matrix, R = F·Fᵀ, and K the
    number of the teacher's channels, to which an adapter takes the student's:

        code    √( mean_{b,k,k'} (R_t - R_s)² ) / (K·H·W)
        text    mean_b ‖R_t - R_s‖_F / (K·H·W)

    ``code`` is what the authors' code computes, and the weight λ = 1000 belongs to it. The text has the sum over the
    batch where ``text`` has the mean, so that a weight counts alike in a last batch that is smaller. Where all images
    differ alike, ``text`` is K times ``code`` and the printed sum B·K times (2.6·10⁵ at B = 128, K = 2048): there λ
    would be 1000/K, and 1000/(B·K).

    No K×K matrix is made while HW ≤ K. With U = A - S and V = A + S for the two maps,

        ‖AAᵀ - SSᵀ‖²_F = ½·( ⟨UᵀU, VᵀV⟩ + ⟨UᵀV, (UᵀV)ᵀ⟩ )

    which does not cancel as S nears A, and the gradient V·(UᵀU - UᵀV) + U·(VᵀU - VᵀV) are products with HW×HW
    matrices. Where HW > K it is ‖E‖² with E = ½·(UVᵀ + VUᵀ), and -4·E·S. A few images at a time, value and gradient
    together; of the size of the maps there is only the gradient.

    Maps of different height or width are compared at the smaller of either, to which the larger is averaged
    (adaptively, and before the student's adapter): R sums over places, of which both shall have as many. H·W is of
    that size.

    Args:
        student_channels: of the student's map; the engine gives both.
        teacher_channels: K.
        variant: ``code`` or ``text``.
        adapter: ``conv_bn_relu`` as in the authors' code, a 1×1 convolution, batch normalisation and ReLU; ``conv``,
            the convolution alone; ``none``, for maps of as many channels. It is learned.

    Raises:
        PreceptorError: an unknown variant or adapter, or no adapter between maps of different channels.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        variant: Variant = "code",
        adapter: Adapter = "conv_bn_relu",
    ) -> None:
        super().__init__()
        if variant not in ("code", "text"):
            raise PreceptorError(f"variant: {variant!r}", expected="code or text")
        self.variant = variant
        self.adapter = _adapter(adapter, student_channels, teacher_channels)

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps (B, K', h, w) and (B, K, H, W) to a scalar."""
        student, teacher = at_common_size(student, teacher.detach())
        student = self.adapter(student)
        channels, places = teacher.shape[1], teacher.shape[2] * teacher.shape[3]
        squares = _square_differences(student.flatten(2), teacher.flatten(2)).clamp(min=0) / channels**2
        if self.variant == "code":
            return (squares.mean() + _EPSILON).sqrt() / (channels * places)
        return (squares + _EPSILON).sqrt().mean() / places


def _adapter(kind: str, student_channels: int, teacher_channels: int) -> nn.Module:
    if kind == "none":
        if student_channels != teacher_channels:
            raise PreceptorError(
                f"adapter: none, but the student's map has {student_channels} channels, the teacher's "
                f"{teacher_channels}",
                expected="maps of as many channels",
                remedy="set adapter=conv_bn_relu or adapter=conv",
            )
        return nn.Identity()
    if kind == "conv":
        return nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
    if kind == "conv_bn_relu":
        return nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False),  # the normalisation has one
            nn.BatchNorm2d(teacher_channels),
            nn.ReLU(),
        )
    raise PreceptorError(f"adapter: {kind!r}", expected="conv_bn_relu, conv or none")


def _square_differences(student: Tensor, teacher: Tensor) -> Tensor:
    """‖AAᵀ - SSᵀ‖²_F of each image, (B,), for maps (B, K, HW); the gradient is the student's."""
    batch, channels, places = student.shape
    form = _from_places if places <= channels else _from_channels
    together = max(1, (_TILE_CUDA if student.is_cuda else _TILE) // (channels * places))
    ours = student.detach()
    values = ours.new_empty(batch)
    gradient = torch.empty_like(ours, memory_format=torch.contiguous_format) if wants_gradient(student) else None
    for at in range(0, batch, together):
        part = slice(at, at + together)
        values[part] = form(ours[part], teacher[part], None if gradient is None else gradient[part])
    return values if gradient is None else with_gradient(student, values, gradient)


def _from_places(student: Tensor, teacher: Tensor, gradient: Tensor | None) -> Tensor:
    less, more = teacher - student, teacher + student  # U and V
    less_less, more_more = less.mT @ less, more.mT @ more
    less_more = less.mT @ more
    if gradient is not None:
        torch.bmm(less, less_more.mT - more_more, out=gradient).baddbmm_(more, less_less - less_more)
    return ((less_less * more_more).sum((1, 2)) + (less_more * less_more.mT).sum((1, 2))) / 2


def _from_channels(student: Tensor, teacher: Tensor, gradient: Tensor | None) -> Tensor:
    product = (teacher - student) @ (teacher + student).mT
    difference = (product + product.mT) / 2
    if gradient is not None:
        torch.bmm(difference, student, out=gradient).mul_(-4)
    return difference.square().sum((1, 2))
