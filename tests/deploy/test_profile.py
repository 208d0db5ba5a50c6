"""``preceptor profile``: what it writes, and whom it measures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from preceptor.api.reporting import profile as profile_models
from preceptor.cli.console import print_profiles
from preceptor.deploy.profile import LEAST, profile
from preceptor.evaluation.cost import cost_of
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.network_file import save_network
from preceptor.utils.errors import PreceptorError

HALF = (0.5, 0.5, 0.5)


def network(side: int = 32) -> Classifier:
    return Classifier(Architecture("test_resnet", ("a", "b", "c"), side, HALF, HALF))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_network(network(), tmp_path / "runs" / "student.safetensors")
    return tmp_path / "runs" / "student.safetensors"


def test_json_and_csv(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    print_profiles(profile_models([file, file], batch=[1, 2], repeats=3, json=out / "cost.json", csv=out / "cost.csv"))
    (text,) = json.loads((out / "cost.json").read_text())  # a file given twice is measured once
    cost = cost_of(network(), 32, repeats=1)
    assert set(text) == {
        "name", "backbone", "image_size", "parameters", "bytes", "flops", "latency_ms", "threads", "device",
    }  # fmt: skip
    assert {key: text[key] for key in ("parameters", "flops", "image_size")} == {
        key: cost[key] for key in ("parameters", "flops", "image_size")
    }
    assert text["bytes"] == file.stat().st_size
    assert (text["name"], text["threads"], text["device"]) == ("runs/student", 1, "cpu")
    assert set(text["latency_ms"]) == {"1", "2"}
    for latency in text["latency_ms"].values():
        assert set(latency) == {"p50", "p90", "p99", "repeats"}
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
        assert latency["repeats"] == 3
    (row,) = pd.read_csv(out / "cost.csv").to_dict("records")
    assert row["latency_2_p90_ms"] == pytest.approx(text["latency_ms"]["2"]["p90"])
    assert row["parameters"] == text["parameters"]
    shown = capsys.readouterr().out
    assert "runs/student" in shown
    assert "1 threads" in shown


def test_patience_ends_the_timing_but_not_before_enough_passes() -> None:
    result = profile({"one": network()}, {}, batches=(1,), repeats=1000, patience=0)
    assert result[0].latency_ms[1]["repeats"] == LEAST
    assert result[0].bytes > 4 * result[0].parameters


def test_files_of_one_name_are_told_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "runs" / "student.safetensors"
    save_network(network(48), other)
    profile_models([file, other], batch=[1], repeats=1, json=tmp_path / "cost.json")
    names = [item["name"] for item in json.loads((tmp_path / "cost.json").read_text())]
    assert names == ["runs/student", str(other)]


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no network")
    wrong = {"nowhere": "no such run or file", "note.txt": "cannot be read", ".": r"recipe\.yaml is missing"}
    for model, text in wrong.items():
        with pytest.raises(PreceptorError, match=text):
            profile_models([tmp_path / model], batch=[1], repeats=1)


def test_unwritable_place_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="cannot be written"):
        profile_models([file], batch=[1], repeats=1, json=tmp_path)
