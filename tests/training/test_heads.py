"""A student with a classifier for each of its teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from conftest import TINY, without_reports
from preceptor import load, train
from preceptor.losses.kl import KLDivergence
from preceptor.networks.heads import TeacherHeads
from preceptor.networks.network_file import load_network, save_network
from preceptor.recipes.resolve import resolve, validate
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError
from small_model import BATCH, model, one_step
from small_recipe import refused

CE = {"loss": "cross_entropy", "of": "student"}
TEACHERS: dict[str, Any] = {
    "student": {"backbone": "test_efficientnet", "heads": ["t1", "t2"]},
    "t1": {"backbone": "test_resnet"},
    "t2": {"backbone": "test_resnet"},
}
#: The teachers learn too, since a recipe's frozen ones come from files.
LEARN = [{**CE, "of": name, "name": f"ce_{name}"} for name in ("t1", "t2")]
KL = {"loss": "kl", "from": {"t1": 0.25, "t2": 0.75}, "to": "student"}


def test_each_head_learns_from_its_teacher_and_the_labels_teach_their_mean() -> None:
    built = model([CE, *LEARN, KL], TEACHERS).eval()
    views = dict.fromkeys(TEACHERS, torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    losses = one_step(built, views).losses
    student, first, second = (built.networks[name](views[name]) for name in ("student", "t1", "t2"))
    each, kl = student.head_logits, KLDivergence()
    expected = 0.25 * kl(each["t1"], first.logits) + 0.75 * kl(each["t2"], second.logits)
    torch.testing.assert_close(losses["kl"], expected)
    mean = (each["t1"].softmax(1) + each["t2"].softmax(1)) / 2
    torch.testing.assert_close(student.logits.softmax(1), mean)
    torch.testing.assert_close(losses["cross_entropy"], functional.nll_loss(mean.log(), BATCH))
    (gradient,) = torch.autograd.grad(
        kl(each["t1"], first.logits), built.networks["student"].head.layers["t2"].weight, allow_unused=True
    ) or (None,)
    assert gradient is None, "the first teacher does not teach the second's classifier"


def test_labels_of_an_image_are_averaged_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = {name: 4 * torch.randn(3, 5, generator=generator, dtype=torch.float64) for name in ("t1", "t2", "t3")}
    heads = TeacherHeads({name: torch.nn.Identity() for name in logits}, several_labels=True)
    mean = torch.stack([value.sigmoid() for value in logits.values()]).mean(0)
    torch.testing.assert_close(heads.joint(logits).sigmoid(), mean)


def test_pixels_have_heads_too() -> None:
    masks = {name: {**network, "backbone": "test_resnet"} for name, network in TEACHERS.items()}
    terms = [{"loss": "dice", "of": name, "name": f"dice_{name}"} for name in masks]
    views = {name: {"same_as": "student"} for name in ("t1", "t2")}
    built = model(
        [*terms, KL], masks, task="segmentation", views={"student": "plain", **views}, select={"metric": "iou"}
    )
    output = built.networks["student"].eval()(torch.rand(2, 3, 32, 32))
    mean = torch.stack([value.softmax(1) for value in output.head_logits.values()]).mean(0)
    torch.testing.assert_close(output.logits.softmax(1), mean)


def test_a_file_keeps_the_heads(tmp_path: Path) -> None:
    student = model([CE, *LEARN, KL], TEACHERS).networks["student"].eval()
    save_network(student, tmp_path / "student.safetensors")
    read, _ = load_network(tmp_path / "student.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(read(images).logits, student(images).logits)


@pytest.fixture(scope="module")
def teachers(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small teacher in two runs, with different seeds."""
    folder = tmp_path_factory.mktemp("teachers")
    small = {**TINY, "epochs": 1, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    with without_reports():
        for seed in (0, 1):
            changes = {**small, "seed": seed}
            train("teacher", data="phantom", root=phantom_root, out=folder / str(seed), overrides=changes)
    return [str(folder / "0"), str(folder / "1")]


SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_efficientnet"}


def test_a_run_reports_fidelity_to_each_teacher(teachers: list[str], phantom_root: Path, tmp_path: Path) -> None:
    changes = {**SMALL, "teachers": teachers, "heads": "each"}
    run = train("multi_teacher", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    fidelity = run.metrics.networks["student"].test["fidelity"]
    assert fidelity["to"] == "teacher_1"
    assert set(fidelity["others"]) == {"teacher_2"}
    rows = run.predictions.query("part == 'test'").pivot(index="id", columns="network", values="predicted")
    for name, measured in {"teacher_1": fidelity, **fidelity["others"]}.items():
        assert measured["agreement"] == pytest.approx(np.mean(rows["student"] == rows[name]))
    assert "fidelity" not in run.metrics.networks["teacher_2"].test
    assert "with its teacher_2 on" in run.report.read_text()
    assert list(load(run.path, "student").head.layers) == ["teacher_1", "teacher_2"]


@pytest.mark.usefixtures("no_reports")
def test_every_teacher_is_checked_for_leaks(teachers: list[str], phantom_root: Path, tmp_path: Path) -> None:
    small = {**TINY, "epochs": 1, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    other = train("teacher", data="phantom", root=phantom_root, fold=1, out=tmp_path / "other", overrides=small)
    changes = {**SMALL, "teachers": [teachers[0], str(other.path)], "heads": "each"}
    with pytest.raises(PreceptorError, match=r"networks\.teacher_2\.run: .* was trained on \d+ images of this run's"):
        train("multi_teacher", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    assert not Run(tmp_path / "run").exists


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ({"heads": ["t1"]}, "two or more teachers"),
        ({"heads": ["t1", "t1"]}, "each once"),
        ({"heads": ["t1", "t3"]}, "there is no network 't3'"),
        ({"heads": ["t1", "t2"], "run": "x"}, "as it was trained"),
        ({"heads": ["t1", "t2"], "trained_by": "student"}, "starts from its backbone"),
    ],
)
def test_heads_that_cannot_be_are_refused(student: dict[str, Any], words: str) -> None:
    plain = resolve("multi_teacher").plain()
    networks = {"t1": plain["networks"]["teacher_1"], "t2": plain["networks"]["teacher_2"]}
    networks["student"] = {"backbone": "test_resnet", **student}
    text = {"name": "t", "networks": networks, "views": dict.fromkeys(networks, "plain")}
    refused(lambda: validate({**text, "objectives": [CE, {**KL, "from": ["t1", "t2"]}]}, "t"), words)


def test_a_head_without_a_lesson_is_refused() -> None:
    message = r"networks\.student\.heads: no objective leads from t2"
    with pytest.raises(PreceptorError, match=message):
        model([CE, *LEARN, {**KL, "from": "t1"}], TEACHERS)
