"""Files of a run that can be parsed and still hold what no run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError


def metrics_with(folder: Path, accuracy: Any) -> Run:
    result = {"role": "trained", "backbone": "resnet18", "test": {"accuracy": accuracy, "balanced_accuracy": 0.5}}
    whole = {"format": 2, "task": "classification", "protocol": "grouped", "classes": ["a", "b"], "epochs": 1}
    whole |= {"epochs_run": 1, "training_seconds": 1.0, "networks": {"student": result}}
    (folder / "metrics.json").write_text(json.dumps(whole), encoding="utf-8")
    return Run(folder)


@pytest.mark.parametrize("accuracy", [0.5, 1, None])
def test_a_metric_is_a_number_or_unknown(tmp_path: Path, accuracy: Any) -> None:
    assert metrics_with(tmp_path, accuracy).metrics.networks["student"].test["accuracy"] == accuracy


@pytest.mark.parametrize("accuracy", [[1], "high", {}, 10**400])
def test_a_metric_that_is_no_number_is_refused(tmp_path: Path, accuracy: Any) -> None:
    with pytest.raises(PreceptorError, match=r"metrics\.json: .*(accuracy|digits)"):
        _ = metrics_with(tmp_path, accuracy).metrics


@pytest.mark.parametrize("epoch", ["99999999999999999999", "-1", "one", "1.5", ""])
def test_an_epoch_that_is_none_is_refused(tmp_path: Path, epoch: str) -> None:
    (tmp_path / "history.csv").write_text(f"epoch,lr,loss\n1,0.1,2.0\n{epoch},0.1,1.0\n", encoding="utf-8")
    with pytest.raises(PreceptorError, match=r"history\.csv: .*epoch"):
        _ = Run(tmp_path).history


@pytest.mark.parametrize("score", ["0.5{{", ""])
def test_a_prediction_that_is_no_number_is_named(tmp_path: Path, score: str) -> None:
    run = metrics_with(tmp_path, 0.5)
    head = "id,part,network,target,predicted,p_a,p_b\n1,test,student,a,a,0.9,0.1\n"
    (tmp_path / "predictions.csv").write_text(f"{head}2,test,student,a,a,{score},0.1\n", encoding="utf-8")
    with pytest.raises(PreceptorError, match=r"predictions\.csv: line 3: the column p_a"):
        _ = run.predictions


def test_a_history_without_epochs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,lr,loss\n", encoding="utf-8")
    with pytest.raises(PreceptorError, match=r"history\.csv"):
        _ = Run(tmp_path).history


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cost", {"parameters": "many"}, r"student\.cost: parameters is 'many'"),
        ("cost", {"latency_ms": {"median": {}}}, r"student\.cost: latency_ms\.median is '\{\}'"),
        ("relations", {"r_d": "x"}, r"student\.relations: r_d is 'x'"),
        ("test", {"balanced_accuracy": 0.5, "per_class_recall": {"a": []}}, r"student\.test: per_class_recall\.a"),
        ("test", {"balanced_accuracy": 0.5, "fidelity": {"to": "teacher"}}, r"fidelity\.agreement is missing"),
        ("validation", {"accuracy": "x"}, r"student\.validation\.accuracy is 'x'"),
    ],
)
def test_a_nested_value_of_another_shape_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    metrics_with(tmp_path, 0.5)
    path = tmp_path / "metrics.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["networks"]["student"][key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PreceptorError, match=message):
        _ = Run(tmp_path).metrics
