"""A search that is started again: over other data, over damaged files, after Ctrl-C."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from conftest import TINY
from preceptor.cli import app
from preceptor.runs.create import Data
from preceptor.tune import trial
from preceptor.tune.record import OUTCOME, SEARCH, STORE, Search, Trial
from preceptor.tune.search import tune
from preceptor.tune.space import split_space
from preceptor.utils.errors import PreceptorError

SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_efficientnet"}
ENDED = {"value": 0.5, "epoch": 1, "epochs": 1}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the trials that are trained, which here takes no time."""
    numbers: list[int] = []

    def train(search: Search, number: int, values: object) -> dict[str, Any]:
        numbers.append(number)
        return search.write_outcome(number, **ENDED, seconds=1.0)

    monkeypatch.setattr(trial, "_train", train)
    return numbers


def _search(root: Path, out: Path) -> Search:
    space, _ = split_space(["optimiser.lr=log(0.0001,0.1)"])
    return Search("student", SMALL, space, Data("phantom", root), out)


def test_data_that_changed_end_a_search(phantom_root: Path, tmp_path: Path, trained: list[int]) -> None:
    root, out = shutil.copytree(phantom_root, tmp_path / "data"), tmp_path / "out"
    tune(_search(root, out), 1)
    image = next(root.rglob("*.png"))
    whole = image.read_bytes()
    image.write_bytes(whole + b"more")
    with pytest.raises(PreceptorError, match=re.escape(f"the images or labels of {root} have changed")):
        tune(_search(root, out), 2)
    image.write_bytes(whole)
    tune(_search(root, out), 2)
    assert trained == [0, 1]
    with pytest.raises(PreceptorError, match="another folder of the data; see"):  # not the same data changed
        tune(_search(phantom_root, out), 3)


def test_what_differs_from_the_search_before_is_named(phantom_root: Path, tmp_path: Path, trained: list[int]) -> None:
    search = _search(phantom_root, tmp_path / "out")
    tune(search, 1)
    with pytest.raises(PreceptorError, match="holds a search with another fold; see"):
        tune(replace(search, data=replace(search.data, fold=1)), 2)
    few = replace(search.data, exclude=("phantom_0000000",))
    with pytest.raises(PreceptorError, match="holds a search with another list of ids left out and another seed; see"):
        tune(replace(search, data=few, seed=7), 2)


@pytest.mark.parametrize("text", [b"", b"a: [", b"- 1", b"data: 3", b"\xff\xfe\xfa"])
def test_a_damaged_description_is_named(text: bytes, phantom_root: Path, tmp_path: Path, trained: list[int]) -> None:
    tune(_search(phantom_root, tmp_path), 1)
    path = tmp_path / SEARCH
    path.write_bytes(text)
    with pytest.raises(PreceptorError, match=re.escape(f"{path}: is damaged")):
        tune(_search(phantom_root, tmp_path), 2)
    path.unlink()  # as the message says
    tune(_search(phantom_root, tmp_path), 2)
    assert trained == [0, 1]
    assert yaml.safe_load(path.read_text())["seed"] == 0


@pytest.mark.parametrize(("start", "reason"), [(0, "file is not a database"), (4096, "disk image is malformed")])
def test_damaged_trials_are_named(
    start: int, reason: str, phantom_root: Path, tmp_path: Path, trained: list[int]
) -> None:
    tune(_search(phantom_root, tmp_path), 1)
    path = tmp_path / STORE
    path.write_bytes(path.read_bytes()[:start] + b"junk" * 5000)
    text = re.escape(f"{path}: cannot be read as the trials of a search (")
    with pytest.raises(PreceptorError, match=rf"{text}[a-z ]*{reason}\)\n"):
        tune(_search(phantom_root, tmp_path), 2)


@pytest.mark.parametrize("text", [b"", b'{"value": 0.', b"[]", b"{}", b'{"value": "much"}', b"\xff"])
def test_a_damaged_note_is_named_before_anything_is_trained(
    text: bytes, phantom_root: Path, tmp_path: Path, trained: list[int]
) -> None:
    tune(_search(phantom_root, tmp_path), 1)
    path = tmp_path / "trials/0000" / OUTCOME
    path.write_bytes(text)
    with pytest.raises(PreceptorError, match=re.escape(f"{path}: is damaged")):
        tune(_search(phantom_root, tmp_path), 2)
    assert trained == [0]
    shutil.rmtree(path.parent)  # as the message says: the value is in trials.db
    tune(_search(phantom_root, tmp_path), 2)
    assert trained == [0, 1]
    assert pd.read_csv(tmp_path / "trials.csv")["value"].tolist() == [0.5, 0.5]
    assert "0.5000.\n" in (tmp_path / "best.yaml").read_text()  # nobody knows the epoch


def test_a_trial_without_a_value_whose_note_is_damaged_is_trained_again(
    phantom_root: Path, tmp_path: Path, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(search: Search, number: int, values: object) -> None:
        (search.folder(number)).mkdir(parents=True)
        (search.folder(number) / OUTCOME).write_text('{"value"')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial, "_train", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(_search(phantom_root, tmp_path), 1)
    with pytest.raises(PreceptorError, match="does not say how trial 0 ended"):
        tune(_search(phantom_root, tmp_path), 1)
    shutil.rmtree(tmp_path / "trials/0000")
    assert [item.value for item in tune(_search(phantom_root, tmp_path), 1)] == [0.5]
    assert trained == [0]


def test_ctrl_c_says_how_a_search_goes_on(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "_train", stopped)
    settings = [f"{key}={value}" for key, value in SMALL.items()]
    command = ["tune", "student", "--data", "phantom", "--root", str(phantom_root), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*command, "optimiser.lr=log(0.001,0.1)", *settings])
    assert result.exit_code == 130
    assert "the same command continues" in result.stderr
    assert "resume" not in result.stderr


def test_weights_of_a_trial_that_ended_as_its_search_was_killed_are_not_kept(
    phantom_root: Path, tmp_path: Path, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "out" / "trials" / "0000" / "checkpoints" / "last.pt"

    def killed(path: Path, ignore_errors: bool = False) -> None:
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"weights")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(_search(phantom_root, tmp_path / "out"), 1)
    assert checkpoint.exists()
    tune(_search(phantom_root, tmp_path / "out"), 1)
    assert trained == [0]
    assert not checkpoint.parent.exists()


@pytest.fixture
def unlucky(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Number → why that trial fails; the others are trained, which here takes no time."""
    reasons: dict[int, str] = {}

    def train(search: Search, number: int, values: object) -> dict[str, Any]:
        if number in reasons:
            raise PreceptorError(reasons[number])
        return search.write_outcome(number, **ENDED, seconds=1.0)

    monkeypatch.setattr(trial, "_train", train)
    return reasons


def _values(trials: list[Trial]) -> dict[int, object]:
    return {item.number: item.values["optimiser.lr"] for item in trials}


def test_failed_trials_are_tried_again_in_their_places(
    phantom_root: Path, tmp_path: Path, unlucky: dict[int, str]
) -> None:
    whole = _values(tune(_search(phantom_root, tmp_path / "whole"), 4))
    unlucky[1] = "no memory"
    for _ in range(2):  # whatever fails again is tried once a command
        before = tune(_search(phantom_root, tmp_path / "out"), 4)
        assert [item.number for item in before if item.error] == [1]
    unlucky.clear()
    sentences: list[str] = []
    after = tune(replace(_search(phantom_root, tmp_path / "out"), say=sentences.append), 4)
    assert _values(after) == whole
    assert [item.value for item in after] == [0.5] * 4
    assert [line.split(":")[0] for line in sentences] == ["a trial that failed before", "trial 1"]
    assert "no memory" not in (tmp_path / "out" / "trials.csv").read_text()


def test_a_search_without_a_value_gives_way_to_another(
    phantom_root: Path, tmp_path: Path, unlucky: dict[int, str]
) -> None:
    unlucky.update(dict.fromkeys(range(9), "no memory"))
    for _ in range(2):
        with pytest.raises(PreceptorError, match=r"all 3 trials failed for the same reason: no memory\n.*mend that"):
            tune(_search(phantom_root, tmp_path), 9)
    smaller = _search(phantom_root, tmp_path)
    smaller = replace(smaller, overrides={**smaller.overrides, "batch_size": 16})
    unlucky.clear()
    assert len(tune(smaller, 2)) == 2
    assert yaml.safe_load((tmp_path / SEARCH).read_text())["recipe"]["batch_size"] == 16
    unlucky[2] = "no memory"
    assert len(tune(smaller, 3)) == 3
    with pytest.raises(PreceptorError, match="holds a search with another recipe"):  # which has values
        tune(_search(phantom_root, tmp_path), 2)


def test_failures_for_different_reasons_are_not_called_one(
    phantom_root: Path, tmp_path: Path, unlucky: dict[int, str]
) -> None:
    unlucky.update({0: "no memory", 1: "no memory", 2: "nan"})
    with pytest.raises(PreceptorError, match="all 3 trials failed; the first: no memory"):
        tune(_search(phantom_root, tmp_path), 9)
