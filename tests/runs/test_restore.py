"""Finished runs that lost files: what ``resume`` writes again, and what every command says of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import preceptor
from conftest import TINY, without_reports
from preceptor import evaluate, export, report, resume, train
from preceptor.runs.directory import Run
from preceptor.runs.load_networks import finished_networks
from preceptor.utils.errors import PreceptorError

KD = {
    **TINY,
    "epochs": 1,
    "networks.teacher.backbone": "test_resnet",
    "networks.teacher.pretrained": "none",
    "networks.student.backbone": "test_efficientnet",
}
EACH = {
    **TINY, "epochs": 1, "backbone": "test_efficientnet", "pretrained": "none", "select.epoch": "each",
    "select.metric": "nll",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with without_reports():
        return train("kd", KD, data="phantom", root=phantom_root, out=tmp_path_factory.mktemp("run") / "run").path


@pytest.fixture
def path(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run without a report."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


WRITTEN = ["predictions.csv", "student.safetensors", "history.csv", "teacher/teacher.safetensors"]


@pytest.mark.usefixtures("no_reports")
@pytest.mark.parametrize("lost", [WRITTEN[:1], WRITTEN[1:2], WRITTEN[2:3], WRITTEN[:2], WRITTEN])
def test_resume_writes_again_what_is_gone(path: Path, lost: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    whole = {name: (path / name).read_bytes() for name in (*WRITTEN, "metrics.json", "recipe.yaml")}
    for name in lost:
        (path / name).unlink()
    resume(path, progress=True)
    output = capsys.readouterr().out
    assert all(name in output for name in lost if "/" not in name)
    assert "is finished already" not in output
    assert {name: (path / name).read_bytes() for name in whole} == whole


@pytest.mark.usefixtures("no_reports")
def test_a_first_checkpoint_suffices_for_weights(path: Path) -> None:
    """``last.pt`` is the larger one, and is removed to save room."""
    weights = (path / "student.safetensors").read_bytes()
    for name in ("student.safetensors", "checkpoints/last.pt"):
        (path / name).unlink()
    resume(path)
    assert (path / "student.safetensors").read_bytes() == weights


@pytest.mark.usefixtures("no_reports")
def test_predictions_need_no_checkpoint(path: Path) -> None:
    predictions = (path / "predictions.csv").read_bytes()
    (path / "predictions.csv").unlink()
    shutil.rmtree(path / "checkpoints")
    resume(path)
    assert (path / "predictions.csv").read_bytes() == predictions


@pytest.mark.usefixtures("no_reports")
def test_weights_of_another_version_get_their_checksum(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their header names the version; the figures stay."""
    monkeypatch.setattr("preceptor.networks.network_file.__version__", "9.9")
    before = Run(path).metrics
    (path / "student.safetensors").unlink()
    resume(path)
    after = Run(path).metrics
    assert after.networks["student"].sha256 != before.networks["student"].sha256
    assert after.networks["student"].test == before.networks["student"].test
    preceptor.load(path)


def test_what_cannot_be_written_again_is_named_by_every_command(path: Path) -> None:
    (path / "student.safetensors").unlink()
    (path / "predictions.csv").unlink()
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(PreceptorError, match=r"without student\.safetensors, and without checkpoints/best\.pt") as lost:
        resume(path)
    assert "copy it back, or remove" in lost.value.remedy
    for command in (preceptor.load, lambda run: finished_networks(Run(run))):
        with pytest.raises(PreceptorError, match=r"student\.safetensors is missing") as lost:
            command(path)
        assert "copy it back, or remove" in lost.value.remedy
    assert not (path / "predictions.csv").exists()


@pytest.fixture(scope="module")
def finished_each(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    with without_reports():
        return train("ml_v1", EACH, data="phantom", root=phantom_root, out=out).path


@pytest.mark.usefixtures("no_reports")
def test_a_network_with_an_epoch_of_its_own_needs_its_own_checkpoint(finished_each: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished_each, tmp_path / "run"))
    weights = (path / "student_2.safetensors").read_bytes()
    for name in ("student_1.safetensors", "student_2.safetensors", "history.csv", "checkpoints/best-student_1.pt"):
        (path / name).unlink()
    refusal = r"without student_1\.safetensors, and without checkpoints/best-student_1\.pt to write it from"
    with pytest.raises(PreceptorError, match=refusal):
        resume(path)
    assert not (path / "history.csv").exists()
    with pytest.raises(PreceptorError, match=r"student_1\.safetensors is missing") as missing:
        preceptor.load(path, "student_1")
    assert missing.value.remedy.startswith("copy it back")
    shutil.copy(finished_each / "student_1.safetensors", path)
    with pytest.raises(PreceptorError, match=r"student_2\.safetensors is missing") as missing:
        preceptor.load(path, "student_2")
    assert "from checkpoints/best.pt and checkpoints/best-student_2.pt" in missing.value.remedy
    resume(path)
    assert (path / "student_2.safetensors").read_bytes() == weights, "which needs no checkpoint of the other one"


def test_commands_name_the_file_and_what_writes_it_again(path: Path, tmp_path: Path) -> None:
    (path / "student.safetensors").unlink()
    with pytest.raises(PreceptorError, match=r"student\.safetensors is missing") as missing:
        preceptor.load(path)
    assert missing.value.remedy == f"preceptor resume {path} writes it again from checkpoints/best.pt"
    (path / "predictions.csv").unlink()
    with pytest.raises(PreceptorError, match=r"predictions\.csv is missing") as missing:
        report(path, out=tmp_path / "report.html")
    assert f"preceptor resume {path}" in missing.value.remedy
    (path / "split.csv").unlink()
    with pytest.raises(PreceptorError, match=r"split\.csv is missing") as missing:
        resume(path)
    assert "resume" not in missing.value.remedy


def test_an_edited_recipe_of_a_finished_run_is_refused_by_every_command(path: Path, tmp_path: Path) -> None:
    """Its figures are not those of what it says now."""
    recipe = path / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs: 1", "epochs: 2"))
    for command in (
        lambda: resume(path),
        lambda: evaluate(path),
        lambda: report(path, out=tmp_path / "report.html"),
        lambda: export(path, out=tmp_path / "export"),
    ):
        with pytest.raises(PreceptorError, match=r"recipe\.yaml: the recipe was changed since"):
            command()
    recipe.write_text(text)
    assert Run(path).recipe.epochs == 1
