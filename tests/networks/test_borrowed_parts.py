"""Teachers of features straight from pretrained weights, and a student on its teacher's classifier (SimKD)."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from preceptor.evaluation.cost import cost_of
from preceptor.networks.build import build_networks
from preceptor.networks.classifier import Classifier
from preceptor.networks.network_file import load_network, save_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import validate
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError
from small_recipe import plain

CLASSES = ("a", "b", "c")


@pytest.fixture
def vit(tmp_path: Path) -> str:
    torch.manual_seed(0)
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    return str(path)


def images(side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_a_teacher_of_features_sees_images_at_its_own_size_and_with_its_own_statistics(vit: str) -> None:
    config = NetworkConfig(backbone="test_vit", pretrained=vit, frozen=True, input_size=160)
    built, _ = build_networks({"teacher": config}, CLASSES, 32, 0)
    network = built["teacher"].eval()
    reference = timm.create_model("test_vit", num_classes=0, img_size=160).eval()
    reference.load_state_dict(timm.models.load_state_dict(vit))
    mean, std = (torch.tensor(reference.default_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    larger = torch.nn.functional.interpolate(images(), (160, 160), mode="bilinear", antialias=True)
    with torch.no_grad():
        output = network(images(), features=("tokens", "class_token"))
        expected = reference.forward_features((larger - mean) / std)
    torch.testing.assert_close(output.features["tokens"], expected[:, 1:])
    torch.testing.assert_close(output.features["class_token"], expected[:, 0])
    assert output.logits.shape == (2, 0)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def recipe(objective: dict[str, object], **teacher: object) -> Recipe:
    networks = {
        "student": {"backbone": "test_resnet"},
        "teacher": {"backbone": "test_vit", "pretrained": "imagenet", "frozen": True, **teacher},
    }
    term = {"from": "teacher", "to": "student", **objective}
    views = {"student": "plain", "teacher": {"same_as": "student"}}
    return validate(plain(networks=networks, views=views, objectives=[plain()["objectives"][0], term]), "t")


def test_logits_of_a_teacher_of_features_are_refused() -> None:
    with pytest.raises(PreceptorError, match=r"objectives\.kl: the loss kl needs the logits of teacher"):
        check_objectives(recipe({"loss": "kl"}))
    check_objectives(recipe({"loss": "sp_embedding"}))


@pytest.mark.parametrize("change", [{"pretrained": "none"}, {"frozen": False, "input_size": 160}])
def test_it_needs_weights_and_only_it_has_a_size_of_its_own(change: dict[str, object]) -> None:
    with pytest.raises(PreceptorError, match="teacher"):
        recipe({"loss": "sp_embedding"}, **change)


def pair() -> dict[str, Classifier]:
    teacher = NetworkConfig(backbone="test_efficientnet")
    student = NetworkConfig(backbone="test_resnet", classifier_of="teacher")
    built, starts = build_networks({"student": student, "teacher": teacher}, CLASSES, 32, 0)
    assert list(built) == ["student", "teacher"]
    assert starts["student"] == "random, classifier of teacher"
    return built  # type: ignore[return-value]


def test_a_student_on_its_teachers_classifier_predicts_with_it() -> None:
    networks = pair()
    student, teacher = networks["student"].eval(), networks["teacher"].eval()
    with torch.no_grad():
        output = student(images())
        expected = teacher.classifier(output.feature_map.mean((2, 3)))
    assert output.feature_map.shape[1] == teacher.channels
    torch.testing.assert_close(output.logits, expected)
    learned = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith("head.") for name in learned)
    assert any(name.startswith("block.") for name in learned)


def test_its_file_and_its_cost_hold_projector_and_classifier(tmp_path: Path) -> None:
    student = pair()["student"].eval()
    save_network(student, tmp_path / "student.safetensors")
    loaded, _ = load_network(tmp_path / "student.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(images()).logits, student(images()).logits)
    alone, _ = build_networks({"student": NetworkConfig(backbone="test_resnet")}, CLASSES, 32, 0)
    added = sum(p.numel() for p in student.block.parameters()) + sum(p.numel() for p in student.head.parameters())
    replaced = sum(p.numel() for p in alone["student"].classifier.parameters())
    assert cost_of(student, 32)["parameters"] == cost_of(alone["student"], 32)["parameters"] + added - replaced


def test_a_teacher_without_a_linear_layer_on_its_averaged_map_is_refused() -> None:
    teacher = NetworkConfig(backbone="mobilenetv3_small_050")
    student = NetworkConfig(backbone="test_resnet", classifier_of="teacher")
    with pytest.raises(PreceptorError, match=r"networks\.student\.classifier_of: teacher does not average"):
        build_networks({"student": student, "teacher": teacher}, CLASSES, 64, 0)
