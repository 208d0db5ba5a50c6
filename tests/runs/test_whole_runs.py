"""Whole runs on the phantom: what they leave behind, and how they end when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import preceptor
from conftest import TINY
from preceptor import train
from preceptor.api.completion import continue_run
from preceptor.evaluation import evaluate
from preceptor.networks.network_file import load_network
from preceptor.recipes.resolve import resolve, validate
from preceptor.runs.complete import train_run
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.runs.worker import build_model
from preceptor.training.checkpoint import load_state
from preceptor.utils.errors import PreceptorError
from small_images import PIXELS, save_image
from small_recipe import CE, plain

STUDENT = {**TINY, "backbone": "test_efficientnet", "pretrained": "none"}
KD = {
    **TINY,
    "networks.teacher.backbone": "test_resnet",
    "networks.teacher.pretrained": "none",
    "networks.student.backbone": "test_efficientnet",
}


@pytest.fixture(scope="module")
def kd(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("kd") / "run"
    return train("kd", data="phantom", root=phantom_root, out=out, overrides=KD)


def test_run_directory(kd: Run) -> None:
    names = {path.name for path in kd.path.iterdir()}
    assert names >= {
        "recipe.yaml", "environment.json", "split.csv", "history.csv", "metrics.json", "predictions.csv", "checkpoints",
        "student.safetensors", "report.html", "tensorboard", "teacher",
    }  # fmt: skip
    assert not [path for path in kd.path.rglob("*") if path.name.endswith(".tmp")]
    assert kd.stage("teacher").finished, "the teacher was trained first, in a run of its own"
    history = pd.read_csv(kd.path / "history.csv")
    assert list(history["epoch"]) == list(range(1, TINY["epochs"] + 1))
    assert {"lr", "loss", "loss/kl", "loss/cross_entropy", "weight/kl", "seconds"} <= set(history)
    assert np.allclose(history["loss"], 0.5 * history["loss/kl"] + 0.5 * history["loss/cross_entropy"], rtol=1e-5)


def test_weights_of_a_teacher_that_is_trained_first_are_asked_for_first(phantom_root: Path, tmp_path: Path) -> None:
    """Else a folder with a run that cannot be trained lies there, and refuses the mended command."""
    lost = {**KD, "networks.teacher.pretrained": str(tmp_path / "lost.safetensors")}
    with pytest.raises(PreceptorError, match=r"lost\.safetensors: no such weights file"):
        train("kd", lost, data="phantom", root=phantom_root, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "weightless",
    [
        {"objectives.kl.weight": 0, "objectives.cross_entropy.weight": 0},
        {"networks.teacher.trained_by.set": {"objectives.cross_entropy.weight": 0}},
    ],
)
def test_weights_of_0_are_refused_before_a_teacher_is_trained(
    weightless: dict[str, Any], phantom_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(PreceptorError, match="all weights are 0 in every epoch"):
        train("kd", {**KD, **weightless}, data="phantom", root=phantom_root, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_notes_on_the_data_are_given_once_however_many_runs_are_trained_first(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for name in ("mel", "NA"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            save_image(tmp_path / "data" / name / f"{number}.png", np.roll(PIXELS, number + len(name), axis=0))
    recipe = resolve("kd", {**KD, "epochs": 1, "batch_size": 8})
    run = train_run(recipe, Data("folder", tmp_path / "data"), tmp_path / "run")
    warnings = [str(each.message) for each in recwarn if "missing value" in str(each.message)]
    assert len(warnings) == 1
    for each in (run, run.stage("teacher")):
        assert any("missing value" in note for note in each.environment.data.notes)


def test_stage_inherits_the_budget(kd: Run) -> None:
    teacher, student = kd.stage("teacher").recipe, kd.recipe
    assert teacher.networks["teacher"].backbone == "test_resnet"
    for key in ("epochs", "batch_size", "image_size", "seed", "split"):
        assert getattr(teacher, key) == getattr(student, key)
    assert (kd.stage("teacher").path / "split.csv").read_bytes() == (kd.path / "split.csv").read_bytes()


def test_frozen_teacher_is_the_one_that_was_trained(kd: Run) -> None:
    own = kd.stage("teacher").metrics.networks["teacher"].test
    assert kd.metrics.networks["teacher"].test == own


def test_metrics_follow_from_predictions(kd: Run) -> None:
    table = pd.read_csv(kd.path / "predictions.csv", dtype={"id": str})
    test = table[(table["network"] == "student") & (table["part"] == "test")]
    text = kd.metrics.networks["student"].test
    assert text["cases"] == len(test) == (kd.split["part"] == "test").sum()
    assert text["accuracy"] == pytest.approx((test["target"] == test["predicted"]).mean())
    recalls = [(rows["target"] == rows["predicted"]).mean() for _, rows in test.groupby("target")]
    assert text["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_selected_epoch_is_the_best_of_validation(kd: Run) -> None:
    history = pd.read_csv(kd.path / "history.csv")["validation/student/balanced_accuracy"]
    assert kd.metrics.selected_epoch == int(history.idxmax()) + 1
    validation = kd.metrics.networks["student"].validation["balanced_accuracy"]
    assert validation == pytest.approx(history.max(), abs=1e-6)


def test_load_gives_the_selected_network(kd: Run, phantom_root: Path) -> None:
    network = preceptor.load(kd.path)
    images = torch.rand(3, 3, 32, 32)
    assert network(images).logits.shape == (3, 7)
    best = load_state(kd.best)["model"]
    for key, value in network.state_dict().items():
        assert torch.equal(value, best[f"networks.student.{key}"])
    _, header = load_network(kd.path / "student.safetensors")
    assert header["recipe"] == "kd"
    assert "not for diagnosis" in header["intended_use"]


def test_a_changed_bit_in_the_weights_is_noticed(kd: Run, tmp_path: Path) -> None:
    run = shutil.copytree(kd.path, tmp_path / "run")
    preceptor.load(run)
    file = run / "student.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(PreceptorError, match=r"student\.safetensors: .*changed since"):
        preceptor.load(run)


def test_a_changed_bit_in_a_teachers_weights_is_noticed_before_training(
    kd: Run, phantom_root: Path, tmp_path: Path
) -> None:
    teacher = shutil.copytree(kd.stage("teacher").path, tmp_path / "teacher")
    recipe = resolve("kd", {**KD, "networks.teacher.run": str(teacher)})
    started = prepare(recipe, Data("phantom", phantom_root), tmp_path / "started")
    file = teacher / "teacher.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(PreceptorError, match=r"teacher\.safetensors: .*changed since"):
        prepare(recipe, Data("phantom", phantom_root), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PreceptorError, match=r"teacher\.safetensors: .*changed since"):  # when it is resumed, too
        build_model(started, started.recipe, started.catalog(), torch.from_numpy(started.catalog().labels))


def test_student_starts_alike_alone_and_distilled(phantom_root: Path, tmp_path: Path, kd: Run) -> None:
    """A fair comparison: same first weights, same batches, same views."""
    alone = prepare(resolve("student", STUDENT), Data("phantom", phantom_root), tmp_path / "alone")
    catalog = alone.catalog()
    labels = torch.from_numpy(catalog.labels)
    first = build_model(alone, alone.recipe, catalog, labels).networks["student"].state_dict()
    fresh = Run(tmp_path / "kd")
    prepare(
        resolve("kd", {**KD, "networks.teacher.run": str(kd.stage("teacher").path)}),
        Data("phantom", phantom_root),
        fresh.path,
    )
    second = build_model(fresh, fresh.recipe, catalog, labels).networks["student"].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (alone.path / "split.csv").read_bytes() == (fresh.path / "split.csv").read_bytes()


def test_paper_protocol(phantom_root: Path, tmp_path: Path) -> None:
    run = train(
        "student", data="phantom", root=phantom_root, out=tmp_path / "run",
        overrides={**STUDENT, "epochs": 12, "protocol": "paper"},
    )  # fmt: skip
    assert set(run.split["part"]) == {"train", "test"}
    history = pd.read_csv(run.path / "history.csv")
    column = history["test/student/balanced_accuracy"]
    assert column.isna().sum() == 2, "the test part is looked at in the last ten epochs only"
    assert run.metrics.networks["student"].test["balanced_accuracy"] == pytest.approx(column.tail(10).mean())
    assert run.metrics.mean_of_last_epochs == 10
    assert run.metrics.networks["student"].validation is None
    assert "optimistic" in run.report.read_text()


@pytest.mark.usefixtures("no_reports")
def test_grouped_run_never_looks_at_the_test_part_before_the_end(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = evaluate.predict_part

    def spy(networks, loader, *arguments, **keywords):  # type: ignore[no-untyped-def]
        sizes.append(len(loader))
        return real(networks, loader, *arguments, **keywords)

    monkeypatch.setattr(evaluate, "predict_part", spy)
    run = train("student", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=STUDENT)
    parts = run.metrics.parts
    assert parts["validation"] != parts["test"]
    evaluations = TINY["epochs"] + 1
    assert sizes == [parts["validation"]] * evaluations + [parts["test"]], (
        "each epoch, then the selected weights on both parts"
    )


@pytest.mark.usefixtures("no_reports")
def test_early_stop_and_plateau(phantom_root: Path, tmp_path: Path) -> None:
    """A learning rate that cannot learn: no epoch improves on the first."""
    overrides = {
        **STUDENT, "epochs": 9, "early_stop": 3, "optimiser.lr": 1e-6,
        "schedule.name": "plateau", "schedule.patience": 0,
        "objectives.cross_entropy.class_weights": "none",
    }  # fmt: skip
    run = train("student", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=overrides)
    history = pd.read_csv(run.path / "history.csv")
    assert run.metrics.early_stopped
    assert run.metrics.epochs_run == len(history) == run.metrics.selected_epoch + 3
    assert history["lr"].iloc[-1] < history["lr"].iloc[0]


def test_nan_is_found_before_the_checkpoint(phantom_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    overrides = {**STUDENT, "epochs": 3, "optimiser.name": "sgd", "optimiser.lr": 1e18, "schedule.name": "constant"}
    with pytest.raises(PreceptorError, match=r"objectives\.cross_entropy: the loss became (nan|inf)") as caught:
        train("student", data="phantom", root=phantom_root, out=out, overrides=overrides)
    assert "optimiser.lr" in str(caught.value)
    run = Run(out)
    assert not run.finished
    if run.checkpoint.is_file():
        state = load_state(run.checkpoint)["model"]
        assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())


class NotANumber(nn.Module):
    """NaN from its second call on, of value and gradient."""

    calls = 0

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return logits.mean() * (torch.nan if self.calls > 1 else 1.0)


def test_the_objective_that_became_nan_first_is_blamed(register: Any, phantom_root: Path, tmp_path: Path) -> None:
    register("not_a_number", NotANumber)
    objectives = [CE, {"loss": "not_a_number", "of": "student"}]
    recipe = validate(plain(objectives=objectives, image_size=32, batch_size=8, epochs=1), "small")
    with pytest.raises(PreceptorError) as caught:
        train(recipe, data="phantom", root=phantom_root, out=tmp_path / "run")
    assert str(caught.value).startswith(
        "objectives.not_a_number: the loss became nan in epoch 1 (and then cross_entropy)"
    )


@pytest.mark.usefixtures("no_reports")
def test_what_training_alone_needs_is_not_exported(phantom_root: Path, tmp_path: Path) -> None:
    """Projection heads, banks and the teacher stay behind: the student's file is that of a plain network."""
    overrides = {
        **TINY, "backbone": "test_efficientnet", "networks.student.pretrained": "none",
        "objectives.ccd.negatives": 32, "objectives.ccd.positives": 4, "epochs": 1,
    }  # fmt: skip
    run = train("crckd", data="phantom", root=phantom_root, out=tmp_path / "crckd", overrides=overrides)
    alone = train("student", data="phantom", root=phantom_root, out=tmp_path / "alone", overrides=STUDENT)
    taught, plain = (load_network(each.path / "student.safetensors")[0] for each in (run, alone))
    assert {k: v.shape for k, v in taught.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    costs = [each.metrics.networks["student"].cost for each in (run, alone)]
    assert costs[0]["parameters"] == costs[1]["parameters"]
    assert costs[0]["flops"] == costs[1]["flops"]
    state = load_state(run.checkpoint)["model"]
    assert {"banks.student.rows", "banks.teacher.class_sums", "networks.student.projection.linear.weight"} <= set(state)


def test_excluded_ids_are_left_out_and_said(phantom_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = train("student", data="phantom", root=phantom_root, out=out, exclude=["phantom_0000003"], overrides=STUDENT)
    assert "phantom_0000003" not in set(run.split["id"])
    assert run.environment.data.excluded == ["phantom_0000003"]
    assert "phantom_0000003" in run.report.read_text()


@pytest.mark.usefixtures("no_reports")
def test_changed_data_are_noticed(phantom_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(phantom_root, root)
    run = train("student", data="phantom", root=root, out=tmp_path / "run", overrides=STUDENT)
    (run.path / "metrics.json").unlink()
    table = pd.read_csv(root / "metadata.csv", dtype=str)
    table.loc[0, "lesion_id"] = "another"
    table.to_csv(root / "metadata.csv", index=False)
    with pytest.raises(PreceptorError, match="the data changed"):
        continue_run(run)


def test_a_run_goes_back_to_the_very_table(phantom_root: Path, tmp_path: Path) -> None:
    catalog = Data("phantom", phantom_root).catalog()
    for name in ("mine.csv", "other.csv"):
        rows = catalog.table[["image", "label", "group"]]
        rows.assign(image=[str(catalog.root / image) for image in rows["image"]]).to_csv(tmp_path / name, index=False)
    file = tmp_path / "mine.csv"
    run = prepare(resolve("student", STUDENT), Data("table", file), tmp_path / "run")
    assert run.environment.data.root == str(file)
    assert len(run.catalog()) == len(catalog)


def test_a_teacher_of_another_fold_is_refused(kd: Run, phantom_root: Path, tmp_path: Path) -> None:
    recipe = resolve("kd", {**KD, "networks.teacher.run": str(kd.stage("teacher").path)})
    with pytest.raises(PreceptorError, match=r"networks\.teacher\.run: .* of this run's test part .* fold 0 of 5"):
        prepare(recipe, Data("phantom", phantom_root, fold=1), tmp_path / "other")
    with pytest.raises(PreceptorError, match="test part"):  # nor in a search, whose runs have no such part
        prepare(recipe, Data("phantom", phantom_root, fold=1), tmp_path / "other", tested=False)
    assert not (tmp_path / "other").exists()
    assert prepare(recipe, Data("phantom", phantom_root), tmp_path / "same").path.is_dir()


def test_finished_runs_are_not_trained_again(kd: Run) -> None:
    stamp = kd.checkpoint.stat().st_mtime_ns
    continue_run(kd)
    assert kd.checkpoint.stat().st_mtime_ns == stamp


def test_occupied_folder_is_refused(kd: Run, phantom_root: Path) -> None:
    with pytest.raises(PreceptorError, match="holds a run already") as caught:
        train("student", data="phantom", root=phantom_root, out=kd.path, overrides=STUDENT)
    assert "resume" in str(caught.value)


def test_foreign_folder_is_refused(phantom_root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(PreceptorError, match=r"thesis\.tex"):
        train("student", data="phantom", root=phantom_root, out=tmp_path, overrides=STUDENT)


@pytest.mark.usefixtures("no_reports")
def test_a_run_that_was_killed_before_it_began_starts_afresh(phantom_root: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: stu")
    (tmp_path / ".split.csv.4711.tmp").write_text("id,pa")
    run = train("student", data="phantom", root=phantom_root, out=tmp_path, overrides={**STUDENT, "epochs": 1})
    assert run.metrics.networks["student"].test
    assert not list(tmp_path.glob(".*.tmp"))


def test_foreign_temporary_files_are_refused_and_kept(phantom_root: Path, tmp_path: Path) -> None:
    (tmp_path / ".thesis.tex.tmp").write_text("x")
    with pytest.raises(PreceptorError, match=r"\.thesis\.tex\.tmp"):
        train("student", data="phantom", root=phantom_root, out=tmp_path, overrides=STUDENT)
    assert (tmp_path / ".thesis.tex.tmp").read_text() == "x"


def test_environment_says_what_ran(kd: Run) -> None:
    text = json.loads((kd.path / "environment.json").read_text())
    assert text["starts"] == {"teacher": "trained first, in teacher/", "student": "random"}
    assert text["data"]["fingerprint"] == kd.catalog().fingerprint()
    assert text["versions"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.usefixtures("no_reports")
def test_an_unreadable_image_leaves_no_run_behind(phantom_root: Path, tmp_path: Path) -> None:
    """So that the same command with --exclude works at once; the message names the file and the way out."""
    root = tmp_path / "data"
    shutil.copytree(phantom_root, root)
    image = root / "images" / "phantom_0000005.jpg"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(PreceptorError, match=r"phantom_0000005\.jpg") as caught:
        train("student", data="phantom", root=root, out=tmp_path / "run", overrides=STUDENT)
    assert "'exclude'" in str(caught.value)
    assert not (tmp_path / "run").exists()
    run = train(
        "student", data="phantom", root=root, out=tmp_path / "run", exclude=["phantom_0000005"], overrides=STUDENT
    )
    assert run.finished
