"""Relations between channels (CRKD): the Gram matrix of a feature map in the student against the teacher's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from preceptor.losses.adapters import conv_bn_relu
from preceptor.losses.maps import at_common_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice
from preceptor.utils.errors import PreceptorError

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
    """CRKD of SSD-KD (Wang et al. 2023, eqs. 7 and 8). With F an image's map as a K×HW matrix, R = F·Fᵀ, and K the
    number of the teacher's channels, to which an adapter takes the student's:

        code    √( mean_{b,k,k'} (R_t - R_s)² ) / (K·H·W)
        text    mean_b ‖R_t - R_s‖_F / (K·H·W)

    ``code`` is what the authors' code computes, and the weight λ = 1000 belongs to it. The text has the sum over the
    batch where ``text`` has the mean, so that a weight counts alike in a last batch that is smaller. Where all images
    differ alike, ``text`` is K times ``code`` and the printed sum B·K times (2.6·10⁵ at B = 128, K = 2048): there λ
    would be 1000/K, and 1000/(B·K).

    No K×K matrix is made while HW ≤ K. With U = A - S and V = A + S for the two maps,

        ‖AAᵀ - SSᵀ‖²_F = ½·( ⟨UᵀU, VᵀV⟩ + ⟨UᵀV, (UᵀV)ᵀ⟩ )

    which does not cancel as S nears A, and the gradient U·(VᵀU - VᵀV) + V·(UᵀU - UᵀV) are products with HW×HW
    matrices. A few images at a time: of the size of the maps there is only the gradient. Where HW > K it is ‖E‖² with
    the K×K matrix E = ½·(UVᵀ + VUᵀ).

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

    >>> loss = ChannelRelation(8, 16)
    >>> loss(torch.rand(2, 8, 4, 4), torch.rand(2, 16, 4, 4)) > 0
    tensor(True)
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        variant: Variant = "code",
        adapter: Adapter = "conv_bn_relu",
    ) -> None:
        super().__init__()
        check_choice("variant", variant, get_args(Variant))
        check_choice("adapter", adapter, get_args(Adapter))
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
    return nn.Sequential(*conv_bn_relu(student_channels, teacher_channels))


def _square_differences(student: Tensor, teacher: Tensor) -> Tensor:
    """‖AAᵀ - SSᵀ‖²_F of each image, (B,), for maps (B, K, HW); the gradient is the student's."""
    if student.shape[2] <= student.shape[1]:
        return _ByPlaces.apply(student, teacher)
    product = (teacher - student) @ (teacher + student).mT
    return ((product + product.mT) / 2).square().sum((1, 2))


class _ByPlaces(torch.autograd.Function):
    """Keeps the maps as they came and two HW×HW matrices per image; U and V exist for a few images at a time."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        batch, _, places = student.shape
        values = student.new_empty(batch)
        of_less, of_more = student.new_empty(2, batch, places, places)
        for part in _parts(student):
            less, more = teacher[part] - student[part], teacher[part] + student[part]
            less_less, more_more, less_more = less.mT @ less, more.mT @ more, less.mT @ more
            values[part] = ((less_less * more_more).sum((1, 2)) + (less_more * less_more.mT).sum((1, 2))) / 2
            torch.sub(less_more.mT, more_more, out=of_less[part])
            torch.sub(less_less, less_more, out=of_more[part])
        ctx.save_for_backward(student, teacher, of_less, of_more)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, above: Tensor) -> tuple[Tensor, None]:
        student, teacher, of_less, of_more = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = torch.empty_like(student, memory_format=torch.contiguous_format)
        for part in _parts(student):
            scale = above[part, None, None]
            less, more = teacher[part] - student[part], teacher[part] + student[part]
            torch.bmm(less, of_less[part] * scale, out=gradient[part]).baddbmm_(more, of_more[part] * scale)
        return gradient, None


def _parts(maps: Tensor) -> Iterator[slice]:
    together = max(1, (_TILE_CUDA if maps.is_cuda else _TILE) // maps[0].numel())
    for at in range(0, len(maps), together):
        yield slice(at, at + together)
