"""The shared check of inputs: every registered loss refuses what does not fit, as one clear error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor.losses.ccd import ContrastiveRepresentation
from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.fitnet import FitNet
from preceptor.losses.kl import KLDivergence
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.testing.sample import trial
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

IMAGES = 6


def per_image(spec: LossSpec) -> list[str]:
    """Arguments that have an entry for each image, and another such argument to disagree with."""
    other = ("views", "generator", "to.bank", "from.bank", "to.classifier", "from.classifier")
    arguments = [argument for argument, feed in spec.feeds.items() if feed not in other]
    if "views" in spec.feeds.values():  # labels are once an image, outputs once a view
        arguments = [argument for argument in arguments if "." in spec.feeds[argument]]
    return arguments if len(arguments) > 1 else []


CASES = [(loss, argument) for loss in LOSSES for argument in per_image(LOSSES[loss])]


def shortened(value: Any) -> Any:
    return [item[:1] for item in value] if isinstance(value, list) else value[:1]


@pytest.mark.parametrize(("loss", "argument"), CASES)
def test_a_batch_that_would_broadcast_is_refused(loss: str, argument: str) -> None:
    built = trial(LOSSES[loss])
    built.inputs[argument] = shortened(built.inputs[argument])
    with pytest.raises(PreceptorError, match=f"{argument}.*\\(1,"):
        built.value()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_an_input_that_is_no_tensor_is_refused(loss: str) -> None:
    built = trial(LOSSES[loss])
    argument = next(name for name, value in built.inputs.items() if isinstance(value, Tensor | list))
    built.inputs[argument] = "image"
    with pytest.raises(PreceptorError, match=f"{argument} is of type str"):
        built.value()


def test_the_error_names_loss_arguments_and_shapes() -> None:
    with pytest.raises(PreceptorError) as caught:
        KLDivergence()(torch.zeros(IMAGES, 7), torch.zeros(1, 7))
    assert "kl: inputs with different numbers of images: student_logits (6, 7), teacher_logits (1, 7)" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(6, 7), torch.zeros(6, 1), "different classes"),
        (torch.zeros(6, 7), torch.zeros(6, 7, 1, 1), "different classes"),
        (torch.zeros(6, 7, 2, 2), torch.zeros(6, 7, 1, 1), "of one shape"),
        (torch.zeros(0, 7), torch.zeros(0, 7), "at least one image"),
        (torch.zeros(6, 7), torch.zeros(6, 7).double(), "different types"),
        (torch.zeros(6, 7), torch.zeros(6, 7).long(), "floating-point"),
        (torch.zeros(6), torch.zeros(6), "dimensions"),
        (torch.zeros(6, 7), torch.zeros(6, 7, device="meta"), "different devices"),
    ],
)
def test_logits_that_do_not_fit_are_refused(student: Tensor, teacher: Tensor, message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        KLDivergence()(student, teacher)


def test_half_precision_beside_float32_is_no_fault() -> None:
    assert KLDivergence()(torch.zeros(6, 7).bfloat16(), torch.zeros(6, 7)).item() == 0


def test_a_loss_in_another_precision_than_its_inputs_is_refused() -> None:
    maps = torch.zeros(2, 3, 4, 4).double()
    with pytest.raises(PreceptorError, match="parameters of the loss"):
        FitNet(3, 3)(maps, maps)


def test_classes_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(PreceptorError, match=r"cross_entropy: labels is of type torch\.float32"):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor([0.7, 1.2]))


def test_arguments_may_be_named() -> None:
    with pytest.raises(PreceptorError, match="different numbers of images"):
        KLDivergence()(teacher_logits=torch.zeros(1, 7), student_logits=torch.zeros(6, 7))


def test_contrastive_losses_refuse_projections_that_are_not_unit() -> None:
    built = trial(LOSSES["crd"])
    assert isinstance(built.module, ContrastiveRepresentation)
    built.inputs["teacher"] = 3 * torch.randn(6, 8, generator=generator(1))
    with pytest.raises(PreceptorError, match="crd: teacher has rows that are not of unit length"):
        built.value()
