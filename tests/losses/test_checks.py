"""The shared check of inputs: every registered loss refuses what does not fit, as one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor.losses.ccd import ContrastiveRepresentation
from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.fitnet import FitNet
from preceptor.losses.kl import KLDivergence
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.testing.sample import let_train, trial
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

IMAGES = 6


def per_image(spec: LossSpec) -> list[str]:
    """Arguments that have an entry for each image, and another such argument to disagree with."""
    other = ("views", "generator", "to.bank", "from.bank", "to.classifier", "from.classifier")
    arguments = [argument for argument, feed in spec.feeds.items() if feed not in other]
    if "views" in spec.feeds.values():  # labels are once per image, outputs once per view
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


@pytest.mark.parametrize("loss", ["cross_entropy_masks", "focal_masks", "dice", "dice_pooled", "dkd_masks"])
def test_masks_that_were_read_as_images_of_0_to_1_are_refused(loss: str) -> None:
    """``.long()`` would make all of them background."""
    built = trial(LOSSES[loss])
    argument = next(name for name, feed in LOSSES[loss].feeds.items() if feed == "masks")
    built.inputs[argument] = built.inputs[argument] / 255
    with pytest.raises(PreceptorError, match=rf"{argument} is of type torch\.float32") as refused:
        built.value()
    assert "a mask that was read as an image" in refused.value.remedy


@pytest.mark.parametrize(
    ("logits", "labels"),
    [((4, 3), (4, 1)), ((4, 3), (4, 3)), ((4, 3, 8, 8), (4, 1, 8, 8)), ((4, 3, 8, 8), (4, 4, 4)), ((4, 3, 8, 8), (4,))],
)
def test_targets_of_another_shape_than_the_images_are_refused(logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(PreceptorError, match=r"labels has the shape .*, for logits") as refused:
        CrossEntropy()(torch.zeros(logits), torch.zeros(labels).long())
    assert refused.value.expected.endswith(str((4, *logits[2:])))


@pytest.mark.parametrize("loss", ["kl", "dist", "dkd", "cross_entropy", "focal", "dice", "mlld", "sskd_logits"])
def test_networks_with_one_logit_are_refused_where_a_softmax_would_be_constant(loss: str) -> None:
    """Its value is 0 or 2 and its gradient 0, whatever the networks say."""
    built = trial(LOSSES[loss])
    for argument, feed in LOSSES[loss].feeds.items():
        if feed.endswith("logits"):
            built.inputs[argument] = built.inputs[argument][:, :1]
        elif feed in ("labels", "masks"):
            built.inputs[argument] = torch.zeros_like(built.inputs[argument])
    with pytest.raises(PreceptorError, match=rf"{loss}: logits of .*1.* class"):
        built.value()


def test_region_logits_of_one_class_are_refused() -> None:
    maps, classifier = torch.rand(2, 3, 4, 4), torch.nn.Linear(3, 1)
    with pytest.raises(PreceptorError, match=r"sdd: logits of .* of one class"):
        LOSSES["sdd"].module()(maps, maps, classifier, classifier, torch.tensor([0, 0]))


def wide() -> list[tuple[str, str]]:
    """Losses that are built for the width of a network's output, with the argument that has it."""
    kinds = {"channels": "feature_map", "embedding": "embedding", "projection": "projection"}
    cases = []
    for name in LOSSES:
        for fact in LOSSES[name].facts.values():
            side, _, kind = fact.partition(".")
            feed = f"{side}.{kinds.get(kind)}"
            cases += [(name, argument) for argument, source in LOSSES[name].feeds.items() if source == feed]
    return cases


@pytest.mark.parametrize(("loss", "argument"), wide())
def test_a_network_of_another_width_than_the_loss_was_built_for_is_refused(loss: str, argument: str) -> None:
    """One channel would broadcast over all of the other network's."""
    built = trial(LOSSES[loss])
    whole = built.inputs[argument]
    built.inputs[argument] = whole[:, :1]
    with pytest.raises(PreceptorError, match=rf"{loss}: the .* of the .* has the shape") as refused:
        built.value()
    assert refused.value.expected.endswith("as the loss was built for")


@pytest.mark.parametrize("loss", list(LOSSES))
def test_outputs_of_a_teacher_in_inference_mode_are_taken(loss: str) -> None:
    built = trial(LOSSES[loss])
    teachers = [name for name, feed in LOSSES[loss].feeds.items() if feed.startswith("from.")]
    expected = built.value().item()
    built = trial(LOSSES[loss])
    with torch.inference_mode():
        for name in set(teachers) - set(LOSSES[loss].trains):
            value = built.inputs[name]
            if isinstance(value, Tensor):
                built.inputs[name] = value.clone()
            elif isinstance(value, list):
                built.inputs[name] = [point.clone() for point in value]
    let_train(LOSSES[loss], built.inputs)
    value = built.value()
    assert value.item() == expected
    value.backward()


@pytest.mark.parametrize("loss", ["sskd_pretext", "sskd_similarity"])
def test_self_supervised_losses_refuse_projections_that_are_not_unit(loss: str) -> None:
    built = trial(LOSSES[loss])
    argument = next(name for name, feed in LOSSES[loss].feeds.items() if feed == "to.projection")
    built.inputs[argument] = 3 * built.inputs[argument]
    with pytest.raises(PreceptorError, match="projections has rows that are not of unit length"):
        built.value()


@pytest.mark.parametrize(
    "weights", [[1.0, 2.0, 3.0], (1.0, 2.0, 3.0), torch.tensor([1.0, 2.0, 3.0]), np.arange(1.0, 4)]
)
def test_class_weights_may_be_any_sequence(weights: Any) -> None:
    logits, labels = torch.randn(6, 3, generator=generator(1)), torch.tensor([0, 1, 2, 0, 1, 2])
    assert CrossEntropy(weights)(logits, labels) == CrossEntropy([1.0, 2.0, 3.0])(logits, labels)


def test_facts_may_be_lists() -> None:
    inverse = CrossEntropy("inverse_frequency", class_counts=[70, 9, 30])
    assert torch.equal(inverse.weight, CrossEntropy("inverse_frequency", class_counts=torch.tensor([70, 9, 30])).weight)
    ContrastiveRepresentation(negatives=2, row_labels=[0, 0, 1, 1])
    LOSSES["src_mt"].module([5, 6, 7])
    LOSSES["ltkd"].module([5, 6, 7])
    LOSSES["crp"].module("official", row_labels=[0, 0, 1, 1])
    LOSSES["binary_cross_entropy"].module("balanced", row_labels=[[1, 0], [0, 1]])


@pytest.mark.parametrize("loss", [name for name in LOSSES if "to.feature_map" in LOSSES[name].feeds.values()])
def test_tokens_are_refused_where_a_loss_reads_maps(loss: str) -> None:
    built = trial(LOSSES[loss])
    argument = next(name for name, feed in LOSSES[loss].feeds.items() if feed == "to.feature_map")
    built.inputs[argument] = built.inputs[argument].flatten(2).transpose(1, 2)
    with pytest.raises(PreceptorError, match=f"{argument} has the shape") as refused:
        built.value()
    assert refused.value.expected.endswith("feature_map")


@pytest.mark.parametrize("loss", ["sdd", "synergic", "sskd_logits"])
def test_a_column_of_labels_is_refused_where_it_would_broadcast(loss: str) -> None:
    built = trial(LOSSES[loss])
    built.inputs["labels"] = built.inputs["labels"][:, None]
    with pytest.raises(PreceptorError, match=f"{loss}: labels has the shape"):
        built.value()
