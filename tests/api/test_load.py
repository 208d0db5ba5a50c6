"""Which network of a run is loaded: the one that was named, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import preceptor
from conftest import TINY, without_reports
from preceptor.api.training import default_folder
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.network_file import save_network
from preceptor.recipes.resolve import resolve
from preceptor.runs.data import Data
from preceptor.runs.directory import Run


@pytest.fixture(scope="module")
def distilled(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    base, half = tmp_path_factory.mktemp("load"), (0.5, 0.5, 0.5)
    classes = Data("phantom", phantom_root).catalog().classes
    save_network(Classifier(Architecture("test_resnet", classes, 32, half, half)), base / "teacher.safetensors")
    with without_reports():
        return preceptor.train(
            "kd",
            {**TINY, "epochs": 1, "networks.teacher.run": str(base / "teacher.safetensors")},
            data="phantom",
            root=phantom_root,
            out=base / "run",
        )


def test_a_frozen_teacher_is_followed_to_its_run(distilled: Run) -> None:
    teacher, student = preceptor.load(distilled.path, "teacher"), preceptor.load(distilled.path)
    assert teacher.architecture.backbone == "test_resnet"
    assert student.architecture.backbone != "test_resnet"
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    source = preceptor.load(distilled.path.parent / "teacher.safetensors")
    torch.testing.assert_close(teacher(image).logits, source(image).logits)


def test_a_network_that_is_not_there_is_refused(distilled: Run) -> None:
    with pytest.raises(preceptor.PreceptorError, match=r"no network 'techer'\. Did you mean 'teacher'"):
        preceptor.load(distilled.path, "techer")
    with pytest.raises(preceptor.PreceptorError, match="holds the network 'student', not 'teacher'"):
        preceptor.load(distilled.network_file("student"), "teacher")


def test_the_default_folder_says_what_was_changed() -> None:
    recipe = resolve("student", {"seed": 3})
    plain = default_folder(recipe, "phantom", 1, {"seed": 3})
    assert plain == Path("runs/phantom/student-fold1-seed3")
    changed = [default_folder(recipe, "phantom", 1, {"epochs": epochs}) for epochs in (2, 3)]
    excluded = default_folder(recipe, "phantom", 1, {}, ["x"])
    assert len({plain, *changed, excluded}) == 4
    assert changed[0] == default_folder(recipe, "phantom", 1, {"seed": 3, "epochs": 2})
