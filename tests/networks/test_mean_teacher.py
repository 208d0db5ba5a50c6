"""The mean teacher: the average that it is, and what of it learns."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.networks.build import build_networks
from preceptor.networks.classifier import Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.recipe import NetworkConfig
from small_networks import CLASSES, CNN, classifier, images, same_state


def move(student: Classifier, step: int) -> None:
    """What an optimiser's step and a training pass leave behind: other weights, other batch-norm statistics."""
    random = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in (*student.parameters(), *student.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=random) * 0.1)


def followed(batch_norm: Any, decay: float = 0.8, steps: int = 12) -> tuple[Classifier, MeanTeacher, dict, dict]:
    """A teacher after some steps; its backbone at the start; and what the formula makes of it, in float64."""
    student = classifier(projection=4)
    teacher = MeanTeacher(student, decay, batch_norm)
    start = {key: value.clone() for key, value in teacher.network.backbone.state_dict().items()}
    literal = {key: value.double() for key, value in start.items()}
    for step in range(steps):
        move(student, step)
        teacher.update(student, step)
        alpha = min(1 - 1 / (step + 1), decay)
        for key, value in student.backbone.state_dict().items():
            literal[key] = alpha * literal[key] + (1 - alpha) * value.double()
    return student, teacher, start, literal


@pytest.mark.parametrize("batch_norm", ["averaged", "batch"])
def test_the_average_is_its_formula(batch_norm: str) -> None:
    student, teacher, start, literal = followed(batch_norm)
    statistics = [key for key in start if "running_" in key]
    assert statistics
    for key, value in teacher.network.backbone.state_dict().items():
        if "num_batches_tracked" in key:
            continue
        if key in statistics and batch_norm == "batch":
            assert torch.equal(value, start[key]), f"{key} is the teacher's own"
        else:
            torch.testing.assert_close(value.double(), literal[key], rtol=1e-5, atol=1e-6, msg=key)
            assert not torch.allclose(value, student.backbone.state_dict()[key])


def test_after_the_first_step_the_teacher_is_the_student() -> None:
    student, teacher, _, _ = followed("averaged", steps=1)
    assert same_state(teacher.network.backbone, student.backbone)


@pytest.mark.parametrize("change", ["moved", "copied", "another student", "loaded"])
def test_a_teacher_follows_whatever_becomes_of_both(change: str) -> None:
    """It looks its tensors up once, and must not go on with those of before."""
    student, teacher, _, _ = followed("averaged", steps=2)
    pair = nn.ModuleDict({"student": student, "teacher": teacher})
    if change == "moved":
        pair.double()  # gives new buffers, as another device does
    elif change == "copied":
        pair = copy.deepcopy(pair)
    elif change == "another student":
        pair["student"] = classifier(projection=4)
    else:
        pair.load_state_dict({key: value.clone() for key, value in pair.state_dict().items()}, assign=True)
    student, teacher = pair["student"], pair["teacher"]  # type: ignore[assignment]
    move(student, 5)
    teacher.update(student, 0)  # with α = 0 the teacher is the student
    assert same_state(teacher.network.backbone, student.backbone)


def test_the_projection_head_is_the_teachers_own() -> None:
    student = classifier(projection=4)
    torch.manual_seed(1)
    teacher = MeanTeacher(student, 0.9)
    assert not torch.equal(teacher.network.projection.linear.weight, student.projection.linear.weight)
    before = copy.deepcopy(teacher.network.projection.state_dict())
    move(student, 0)
    teacher.update(student, 0)
    after = teacher.network.projection.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("batch_norm", ["averaged", "batch"])
def test_gradient_reaches_the_teachers_head_and_nothing_else(batch_norm: Any) -> None:
    student = classifier(projection=4)
    teacher = MeanTeacher(student, 0.9, batch_norm).train()
    output = teacher(images(4))
    assert not output.logits.requires_grad
    assert not output.embedding.requires_grad
    (output.projection[:, 0].sum() + output.projection[:, 1].square().sum()).backward()
    assert [n for n, p in teacher.named_parameters() if p.requires_grad] == [
        "network.projection.linear.weight", "network.projection.linear.bias",
    ]  # fmt: skip
    assert teacher.network.projection.linear.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.network.backbone.parameters())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_an_averaged_teacher_always_runs_in_evaluation_mode() -> None:
    teacher = MeanTeacher(classifier(), 0.9, "averaged").train()
    assert teacher.training
    before = copy.deepcopy(teacher.network.backbone.state_dict())
    whole = teacher(images(4)).logits
    assert same_state(teacher.network.backbone, load_into(teacher.network.backbone, before))
    torch.testing.assert_close(whole[:1], teacher(images(4)[:1]).logits)  # an image's logits stand alone


def test_a_batch_teacher_trains_on_the_batch_and_is_evaluated_on_its_own_statistics() -> None:
    teacher = MeanTeacher(classifier(), 0.9, "batch").train()
    before = teacher.network.backbone.bn1.running_mean.clone()
    whole = teacher(images(4)).logits
    assert not torch.allclose(whole[:2], teacher(images(4)[:2]).logits, atol=1e-4)
    assert not torch.equal(before, teacher.network.backbone.bn1.running_mean)
    teacher.eval()
    kept = teacher.network.backbone.bn1.running_mean.clone()
    torch.testing.assert_close(teacher(images(4)).logits[:2], teacher(images(4)[:2]).logits)
    assert torch.equal(kept, teacher.network.backbone.bn1.running_mean)


def load_into(like: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    other = copy.deepcopy(like)
    other.load_state_dict(state)
    return other


def test_a_teacher_takes_decay_and_treatment_from_its_recipe() -> None:
    wanted = {
        "student": NetworkConfig(backbone=CNN),
        "teacher": NetworkConfig(mean_of="student", decay=0.5, batch_norm="batch"),
    }
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    teacher = networks["teacher"]
    assert isinstance(teacher, MeanTeacher)
    assert (teacher.decay, teacher.batch_norm) == (0.5, "batch")
    assert starts["teacher"] == "mean of student"
    assert same_state(teacher.network, networks["student"])
