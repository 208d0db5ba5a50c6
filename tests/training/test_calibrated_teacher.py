"""A teacher whose logits are divided by a temperature of the validation part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from conftest import TINY, without_reports
from preceptor import resume, train
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import stage_recipe
from preceptor.runs.directory import Run
from preceptor.training.calibrate_teachers import cases
from preceptor.training.checkpoint import load_state
from preceptor.training.checks import check_objectives
from preceptor.training.loop import Training
from preceptor.utils.errors import PreceptorError
from small_recipe import refused

pytestmark = pytest.mark.usefixtures("no_reports")

SMALL = {**TINY, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}


@pytest.fixture(scope="module")
def teacher(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    small = {**TINY, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    with without_reports():
        return train("teacher", data="phantom", root=phantom_root, out=folder, overrides=small)


def test_the_temperature_is_that_of_the_validation_part(teacher: Run, phantom_root: Path, tmp_path: Path) -> None:
    changes = {**SMALL, "teacher": str(teacher.path), "epochs": 1}
    run = train("calibrated_teacher", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    fitted = run.metrics.networks["teacher"].temperature
    rows = teacher.predictions.query("part == 'validation' and network == 'teacher'")
    scores = torch.tensor(rows[[f"p_{name}" for name in run.metrics.classes]].to_numpy()).log()
    targets = torch.tensor([run.metrics.classes.index(name) for name in rows["target"]])
    grid = np.geomspace(fitted / 2, fitted * 2, 801)
    losses = [functional.cross_entropy(scores / t, targets).item() for t in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(fitted, rel=0.01)
    assert abs(fitted - 1) > 0.02, "the teacher was calibrated already, so that this shows nothing"
    assert run.history["temperature/teacher"].iloc[0] == pytest.approx(fitted)
    state = load_state(run.checkpoint)["model"]
    assert state["temperatures.teacher"].item() == pytest.approx(fitted)
    before, after = (each.networks["teacher"].test["nll"] for each in (teacher.metrics, run.metrics))
    assert after == pytest.approx(before), "the teacher itself is judged as it is"


def test_a_resumed_run_takes_the_temperature_of_its_checkpoint(
    teacher: Run, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = Training.save

    def save_and_stop(self: Training, *given: object) -> None:
        saved(self, *given)
        raise KeyboardInterrupt

    changes = {**SMALL, "teacher": str(teacher.path)}
    with monkeypatch.context() as patch:
        patch.setattr(Training, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train("calibrated_teacher", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    monkeypatch.setattr(
        "preceptor.training.calibrate_teachers.determined_temperature", lambda *given: pytest.fail("again")
    )
    first, second = resume(tmp_path / "run").history["temperature/teacher"]
    assert first == second != 1


def test_every_known_label_is_a_case_of_its_own() -> None:
    logits = np.array([[3.0, -1.0], [0.5, 2.0]])
    scores, targets = cases(logits, np.array([[1.0, 0.0], [np.nan, 1.0]], dtype=np.float32))
    np.testing.assert_array_equal(scores, [[0, 3], [0, -1], [0, 2]])
    np.testing.assert_array_equal(targets, [1, 0, 1])


def test_stages_and_identities_know_it() -> None:
    recipe = resolve("calibrated_teacher")
    assert recipe.networks["teacher"].calibrated
    assert not stage_recipe(recipe, "teacher").networks["teacher"].calibrated
    assert resolve("dkd", {"networks.teacher.calibrated": True}).networks["teacher"].calibrated
    with pytest.raises(PreceptorError, match=r"networks\.teacher\.calibrated: masks are not calibrated"):
        check_objectives(resolve("calibrated_teacher", {"task": "segmentation"}))


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("kd", {"networks.student.calibrated": True}, "calibrated fits a temperature to the logits of a frozen"),
        ("kd", {"networks.teacher.calibrated": True, "protocol": "paper"}, "has no validation part to fit it on"),
        ("embedding_kd", {"networks.teacher.calibrated": True}, "frozen network with classes"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(recipe: str, changes: dict[str, object], words: str) -> None:
    refused(lambda: resolve(recipe, changes), words)
