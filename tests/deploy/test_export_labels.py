"""Exports of networks with several labels per image: sigmoids, thresholds of the validation part, and their uses."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from chromium import chromium
from conftest import without_reports
from preceptor import evaluate, export, load, predict, train
from preceptor.deploy import serve
from preceptor.deploy.export import int8
from preceptor.deploy.export.networks import Ensemble
from preceptor.deploy.manifest import read_manifest
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.deploy.page.assemble import write_page
from preceptor.deploy.quantise import VARIANTS
from preceptor.runs.directory import Run
from preceptor.tasks import TASKS
from small_labels import LABELS, write_labelled_images
from small_networks import classifier, images

from .test_page import drop, in_a_browser, png, show


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_images(tmp_path_factory.mktemp("labels"), 120)


@pytest.fixture(scope="module")
def labels(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    overrides = {
        "image_size": 32,
        "batch_size": 16,
        "epochs": 6,
        "optimiser.lr": 0.003,
        "networks.student.backbone": "test_resnet",
        "networks.student.pretrained": "none",
        "data.labels": ",".join(LABELS),
    }
    out = tmp_path_factory.mktemp("run") / "labels"
    with without_reports():
        return train("student", data="table", root=table, out=out, overrides=overrides, task="multi_label")


@pytest.fixture(scope="module")
def exported_labels(labels: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "labels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "VARIANTS", dict(list(VARIANTS.items())[:1]))
        export(labels.path, out=out, int8=True, bound=100.0, class_names={"mass": "mass or nodule"})
    return out


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_probabilities_are_sigmoids_at_the_temperature(labels: Run, exported_labels: Path) -> None:
    model = OnnxModel(exported_labels)
    with torch.no_grad():
        logits = load(labels.path)(torch.from_numpy(pixels().transpose(2, 0, 1)[None].copy()).float() / 255).logits
    expected = (logits / model.manifest.calibration.temperature).sigmoid()
    torch.testing.assert_close(torch.from_numpy(model.run(pixels()[None])["probabilities"]), expected)
    calibration = model.manifest.calibration
    assert calibration.fitted_on == "validation"
    assert calibration.after["validation"].nll <= calibration.before["validation"].nll


def test_thresholds_are_the_best_of_the_validation_part(labels: Run, exported_labels: Path) -> None:
    manifest = read_manifest(exported_labels)
    rows = labels.predictions
    validation = rows[(rows["network"] == "student") & (rows["part"] == "validation")]
    truth, scores = TASKS["multi_label"].metric_cases(validation, LABELS)
    for index, limit in enumerate(manifest.thresholds):
        known = ~np.isnan(truth[:, index])
        present, odds = truth[known, index] == 1, scores[known, index] / (1 - scores[known, index])
        powers = odds ** (1 / manifest.calibration.temperature)
        tempered = powers / (1 + powers)

        def youden(threshold: float, present: np.ndarray = present, tempered: np.ndarray = tempered) -> float:
            called = tempered >= threshold
            return float(called[present].mean() + (~called[~present]).mean() - 1)

        best = max(youden(threshold) for threshold in tempered)
        assert limit.chosen
        assert youden(limit.threshold) == pytest.approx(best)
        rates = limit.rates["validation"]
        assert rates.sensitivity + rates.specificity - 1 == pytest.approx(best)
        assert set(limit.rates) == {"validation", "test"}


def test_predict_names_the_labels_that_reach_their_thresholds(
    labels: Run, exported_labels: Path, table: Path, tmp_path: Path
) -> None:
    predict(exported_labels, table.parent, out=tmp_path / "onnx.csv")
    result = pd.read_csv(tmp_path / "onnx.csv", keep_default_na=False)
    limits = [item.threshold for item in read_manifest(exported_labels).thresholds]
    for _, row in result.iterrows():
        reached = [name for name, limit in zip(LABELS, limits, strict=True) if row[f"p_{name}"] >= limit]
        assert row["predicted"] == ";".join(reached)
    of_run = predict(labels.path, table.parent).table
    assert of_run["predicted"][0] == ";".join(name for name in LABELS if of_run[f"p_{name}"][0] >= 0.5)


def test_figures_are_those_of_the_run(labels: Run, exported_labels: Path, table: Path) -> None:
    overrides = {"data.labels": ",".join(LABELS)}
    test = labels.split[labels.split["part"] == "test"]["id"]
    others = [name for name in labels.split["id"] if name not in set(test)]
    result = evaluate(exported_labels, overrides, data="table", root=table, exclude=others)
    expected = labels.metrics.networks["student"].test
    for key in ("label_auc", "label_average_precision"):
        assert result.metrics["exported"][key] == pytest.approx(expected[key], abs=1e-3)
    assert result.task == "multi_label"


def test_the_int8_model_is_measured_by_labels(exported_labels: Path) -> None:
    record = read_manifest(exported_labels).quantised
    assert record is not None
    assert (record.metric, record.accepted) == ("label_auc", True)
    assert 0 <= record.agreement <= 1
    assert OnnxModel(exported_labels, "int8").predict([pixels()])[0].shape == (3,)


def test_the_service_names_labels(exported_labels: Path) -> None:
    model = OnnxModel(exported_labels)
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "PNG")
    client = TestClient(serve.create_app(model), base_url="http://127.0.0.1")
    answer = client.post("/predict", content=buffer.getvalue()).json()
    limits = answer["thresholds"]
    assert answer["predicted"] == [name for name in LABELS if answer["probabilities"][name] >= limits[name]]


def test_the_card_has_thresholds_and_rates(exported_labels: Path) -> None:
    text = (exported_labels / "README.md").read_text()
    manifest = read_manifest(exported_labels)
    assert "several labels per image" in text
    assert "mass or nodule" in text
    assert f"| {manifest.thresholds[1].threshold:.3f} |" in text


def test_an_ensemble_gives_a_label_its_largest_probability() -> None:
    members = [classifier(seed=seed, several_labels=True).eval() for seed in range(2)]
    with torch.no_grad():
        (joint,) = Ensemble(members, "labels")(images(3))
        single = torch.stack([member(images(3)).logits.sigmoid() for member in members])
    torch.testing.assert_close(joint.sigmoid(), single.amax(0))


@in_a_browser
def test_the_page_names_the_labels_that_reach_their_marks(
    exported_labels: Path, web_runtime: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(exported_labels, tmp_path / "labels")
    manifest = read_manifest(folder)
    page = write_page(folder, manifest, web_runtime)
    with chromium(tmp_path / "browser") as tab:
        show(tab, page)
        result = drop(tab, png(pixels()), "photo.png")
        marks = tab.evaluate("[...document.querySelectorAll('.bar b')].map(mark => parseFloat(mark.style.left) / 100)")
    precision = "int8"  # which this export has accepted
    (expected,) = OnnxModel(folder, precision).predict([pixels()])
    np.testing.assert_allclose(json.loads(result["probabilities"]), expected, atol=0.02)
    limits = [item.threshold for item in manifest.thresholds]
    assert sorted(marks) == pytest.approx(sorted(limits), abs=1e-4)
    shown = json.loads(result["probabilities"])
    reached = [item.name for item, value, limit in zip(manifest.classes, shown, limits, strict=True) if value >= limit]
    answer = f"Predicted: {', '.join(reached)}" if reached else "No label reaches its threshold"
    assert answer in result["textContent"]


# --- grades -----


@pytest.mark.usefixtures("no_reports")
def test_grades_are_exported_and_measured_by_their_distance(phantom_root: Path, tmp_path: Path) -> None:
    overrides = {
        "image_size": 32,
        "batch_size": 32,
        "epochs": 1,
        "networks.student.backbone": "test_resnet",
        "networks.student.pretrained": "none",
    }
    run = train("student", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=overrides, task="ordinal")
    manifest = export(run.path, out=tmp_path / "out")
    assert (manifest.task, manifest.test_figures[0].key) == ("ordinal", "quadratic_kappa")
    test = run.split[run.split["part"] == "test"]["id"]
    others = [name for name in run.split["id"] if name not in set(test)]
    result = evaluate(tmp_path / "out", data="phantom", root=phantom_root, exclude=others)
    for key in ("quadratic_kappa", "off_by_one_accuracy"):
        expected = run.metrics.networks["student"].test[key]
        assert result.metrics["exported"][key] == pytest.approx(expected, abs=1e-3)
    assert "| index | code | grade |" in (tmp_path / "out" / "README.md").read_text()
