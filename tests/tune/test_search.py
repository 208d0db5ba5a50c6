"""Searches: what they may try, that they go on after any end, and that the test part does not exist for them."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from conftest import TINY
from preceptor.api.completion import continue_run
from preceptor.cli import app
from preceptor.data.cache import open_pixels
from preceptor.data.readers import read
from preceptor.data.split import make_split
from preceptor.recipe import Recipe, Select
from preceptor.recipes.registry import RECIPES, RecipeSpec
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import Data
from preceptor.runs.directory import Run
from preceptor.tune import checks, trial
from preceptor.tune import search as tuning
from preceptor.tune.record import Search
from preceptor.tune.search import tune
from preceptor.tune.space import split_space
from preceptor.utils.errors import PreceptorError

SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_efficientnet"}
KD = {**SMALL, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
WEIGHT = "objectives.kl.weight"


@pytest.fixture(scope="module")
def poisoned(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A phantom whose test images of fold 0 cannot be read, and their ids."""
    root = shutil.copytree(phantom_root, tmp_path_factory.mktemp("poisoned") / "data")
    catalog = read("phantom", root, {})
    split = make_split(catalog)
    test = set(split.loc[split["part"] == "test", "id"])
    for row in catalog.table.itertuples():
        if row.id in test:
            (root / str(row.image)).write_bytes(f"poison {row.id}".encode())
    return root, test


@pytest.fixture(scope="module")
def searched(poisoned: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search on it, as the command runs it: its folder and what was printed."""
    out = tmp_path_factory.mktemp("tune") / "out"
    settings = [f"{key}={value}" for key, value in KD.items()]
    command = ["tune", "kd", "--data", "phantom", "--root", str(poisoned[0]), "--trials", "2", "--out", str(out)]
    result = CliRunner().invoke(app, [*command, f"{WEIGHT}=log(0.05,10)", *settings], catch_exceptions=False)
    assert result.exit_code == 0
    return out, result.output


def test_poison_works(poisoned: tuple[Path, set[str]]) -> None:
    """Whoever decodes the test part is found out."""
    with pytest.raises(PreceptorError, match="cannot be"):
        open_pixels(read("phantom", poisoned[0], {}), 32)


def test_the_test_part_is_not_touched(searched: tuple[Path, str], poisoned: tuple[Path, set[str]]) -> None:
    out, _ = searched
    runs = [path.parent for path in out.rglob("split.csv")]
    assert len(runs) == 3  # the teacher, once, and two trials
    for run in runs:
        split = Run(run).split
        assert set(split["part"]) == {"train", "validation"}
        assert not set(split["id"]) & poisoned[1]
        assert not set(Run(run).catalog().table["id"]) & poisoned[1]
    assert not [*out.rglob("predictions.csv"), *out.rglob("metrics.json"), *out.rglob("relations.npz")]


def test_no_command_tests_a_trial(searched: tuple[Path, str]) -> None:
    with pytest.raises(PreceptorError, match="is a trial of a search, and has no test part"):
        continue_run(Run(searched[0] / "trials/0000"))


def test_results(searched: tuple[Path, str]) -> None:
    out, text = searched
    table = pd.read_csv(out / "trials.csv")
    assert list(table["trial"]) == [0, 1]
    assert table[WEIGHT][0] == 0.5  # the recipe's own value comes first
    assert table[WEIGHT].between(0.05, 10).all()
    for row in table.itertuples():
        history = pd.read_csv(out / f"trials/{row.trial:04d}/history.csv")["validation/student/balanced_accuracy"]
        assert row.value == pytest.approx(history.max())
    best = table.sort_values("value", ascending=False, kind="stable").iloc[0]
    recipe = resolve(str(out / "best.yaml"))
    weights = {objective.name: objective.weight for objective in recipe.objectives}
    assert weights["kl"] == pytest.approx(best[WEIGHT])
    assert recipe.networks["teacher"].trained_by is not None  # trained anew, where the best recipe is trained
    assert recipe == resolve("kd", {**KD, WEIGHT: float(best[WEIGHT])})
    assert "the test part was not read" in text
    assert not list(out.rglob("*.pt")) or all("stages" in str(path) for path in out.rglob("*.pt"))


def test_the_hint_tests_what_was_not_searched(poisoned: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Taken literally, the printed command trains on the search's data and tests its fold."""
    root = shutil.copytree(poisoned[0], tmp_path / "a root")
    (tmp_path / "left out.txt").write_text(f"{min(read('phantom', root, {}).table['id'])}\n")
    where = ["--root", str(root), "--fold", "2", "--exclude", str(tmp_path / "left out.txt")]
    out, options = tmp_path / "out", [*where, "data.hair=0.1", "data.size=32"]
    command = ["tune", "student", "--data", "phantom", "--trials", "1", "--out", str(out), *options]
    settings = [f"{key}={value}" for key, value in SMALL.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "_train", lambda *_: {"value": 0.5, "epoch": 1})
        result = CliRunner().invoke(app, [*command, *settings, "optimiser.lr=log(0.001,0.1)"], catch_exceptions=False)
    hint = re.search(r"^train it: (.*)$", result.output, re.MULTILINE)
    assert hint
    text = shlex.split(hint[1])
    assert text[:3] == ["preceptor", "train", str(out / "best.yaml")]
    given = ["--data", "phantom", *options]
    assert sorted(text[3:]) == sorted(given)
    for name in (item for item in given if item.startswith("--")):
        assert text[text.index(name) + 1] == given[given.index(name) + 1]
    assert "# Searched on fold 2; train it with --fold 2." in (out / "best.yaml").read_text()


def _search(root: Path, out: Path, *ranges: str, **overrides: object) -> Search:
    space, _ = split_space(ranges or ("optimiser.lr=log(0.0001,0.1)",))
    return Search("student", {**SMALL, **overrides}, space, Data("phantom", root), out)


def test_a_search_that_was_stopped_ends_as_it_would_have(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(_search(phantom_root, tmp_path / "whole"), 2)
    calls = []

    def stopped(*args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return launch(*args)  # type: ignore[arg-type]

    launch = trial.train_epochs
    monkeypatch.setattr(trial, "train_epochs", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(_search(phantom_root, tmp_path / "cut"), 2)
    cut = tune(_search(phantom_root, tmp_path / "cut"), 2)
    assert [(item.number, item.values, item.value) for item in cut] == [
        (item.number, item.values, item.value) for item in whole
    ]
    assert len({item.values["optimiser.lr"] for item in cut}) == 2
    with pytest.raises(PreceptorError, match="another space"):
        tune(_search(phantom_root, tmp_path / "cut", "optimiser.lr=log(0.001,0.1)"), 3)


def test_a_failed_trial_is_written_down(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run: Run, *given: Any) -> object:
        if run.path.name == "0000":
            raise PreceptorError("objectives.kl: the loss became nan")
        return launch(run, *given)

    launch = trial.train_epochs
    monkeypatch.setattr(trial, "train_epochs", broken)
    with pytest.raises(PreceptorError, match=r"the only trial failed: objectives\.kl"):
        tune(_search(phantom_root, tmp_path / "out"), 1)
    ranked = tune(_search(phantom_root, tmp_path / "out"), 2)
    assert [item.number for item in ranked] == [1, 0]
    table = pd.read_csv(tmp_path / "out/trials.csv")
    assert table["error"][0] == "objectives.kl: the loss became nan"
    assert table["value"].isna().tolist() == [True, False]
    assert (
        yaml.safe_load((tmp_path / "out/best.yaml").read_text())["optimiser"]["lr"] == ranked[0].values["optimiser.lr"]
    )


def test_one_reason_with_the_values_of_each_trial_is_still_one(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(run: Run, *_: object) -> None:
        lr = run.recipe.optimiser.lr
        raise PreceptorError("the loss became nan", expected="a finite loss", remedy=f"lower optimiser.lr (now {lr})")

    monkeypatch.setattr(trial, "train_epochs", diverged)
    with pytest.raises(PreceptorError) as refused:
        tune(_search(phantom_root, tmp_path / "out"), 10)
    first = pd.read_csv(tmp_path / "out/trials.csv").set_index("trial").loc[0, "optimiser.lr"]
    assert refused.value.what == "all 3 trials failed for the same reason: the loss became nan"
    again = "the same command, or one with other settings, then tries anew"
    assert refused.value.remedy == f"lower optimiser.lr (now {first}); {again}"
    assert str(refused.value).count("to do:") == 1


def test_a_search_outlives_errors_that_nobody_foresaw(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    launch = trial.train_epochs
    monkeypatch.setattr(trial, "train_epochs", full)
    reason = "OutOfMemoryError: CUDA out of memory"
    with pytest.raises(PreceptorError, match=f"all 3 trials failed for the same reason: {reason}"):
        tune(_search(phantom_root, tmp_path / "out"), 10)
    assert "Traceback" in capsys.readouterr().err
    assert set(pd.read_csv(tmp_path / "out/trials.csv")["error"]) == {reason}
    monkeypatch.setattr(trial, "train_epochs", launch)
    ranked = tune(_search(phantom_root, tmp_path / "out"), 3)
    assert sorted(item.number for item in ranked) == [0, 1, 2]
    assert not any(item.error for item in ranked)


@pytest.mark.parametrize("explained", [False, True])
def test_a_full_disk_is_no_trials_failure(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, explained: bool
) -> None:
    def full(*_: object) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        if explained:
            raise PreceptorError("the pixel cache is full: No space left on device") from error
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(trial, "train_epochs", full)
        with pytest.raises((OSError, PreceptorError), match="No space left"):
            tune(_search(phantom_root, tmp_path / "out"), 2)
    assert all(item.error == "" for item in tune(_search(phantom_root, tmp_path / "out"), 2))


def test_a_failure_that_was_noted_and_not_yet_told_is_told(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, a search goes on all the same."""

    def noted_only(search: Search, study: object, number: int, values: dict[str, object]) -> None:
        search.write_outcome(number, error="CUDA out of memory", seconds=1.0)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_try", noted_only)
        with pytest.raises(KeyboardInterrupt):
            tune(_search(phantom_root, tmp_path / "out"), 1)
    with pytest.raises(PreceptorError, match="the only trial failed: CUDA out of memory"):
        tune(_search(phantom_root, tmp_path / "out"), 1)


def test_a_search_outlives_its_first_failures_but_not_only_failures(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    launch = trial.train_epochs

    def sometimes(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) <= broken:
            raise PreceptorError("objectives.kl: the loss became nan")
        return launch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "train_epochs", sometimes)
    broken = 2
    assert [item.value is None for item in tune(_search(phantom_root, tmp_path / "two"), 3)] == [False, True, True]
    broken, calls[:] = 99, []
    with pytest.raises(PreceptorError, match="all 3 trials failed"):
        tune(_search(phantom_root, tmp_path / "all"), 10)


@pytest.mark.parametrize(
    ("ranges", "overrides", "message"),
    [
        (("optimiser.lr=log(0.001,0.1)",), {"protocol": "paper"}, "has no validation part"),
        (("optimiser.lr=log(0.001,0.1)",), {"select.metric": "last"}, "judges no epoch"),
        (("optimiser.rl=log(0.001,0.1)",), {}, "rl"),
        (("epochs=uniform(1,3)",), {}, "epochs"),
        (("optimiser.name=choice(adam,adamm)",), {}, "adamm"),
        (("objectives.cross_entropy.weight=choice(1.0,0.0)",), {}, "all weights are 0"),
    ],
)
def test_what_cannot_be_searched_is_refused_first(
    ranges: tuple[str, ...], overrides: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PreceptorError, match=message):
        tune(_search(tmp_path / "nowhere", tmp_path / "out", *ranges, **overrides), 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fold", "overrides", "message"),
    [(5, {}, "fold is 5"), (0, {"split.folds": 80}, "classes with fewer groups than the 80 folds")],
)
def test_a_fold_that_fails_every_trial_is_refused_first(
    fold: int, overrides: dict[str, object], message: str, phantom_root: Path, tmp_path: Path
) -> None:
    search = _search(phantom_root, tmp_path / "out", **overrides)
    with pytest.raises(PreceptorError, match=message) as caught:
        tune(replace(search, data=replace(search.data, fold=fold)), 4)
    assert "trial" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ("networks.student.backbone=choice(test_resnet,nosuch)", "timm knows no backbone 'nosuch'"),
        ("networks.student.pretrained=choice(none,/nowhere.pth)", "/nowhere.pth: no such weights file"),
        ("networks.student.pretrained=choice(none,~/nowhere.pth)", f"{Path.home()}/nowhere.pth: no such weights file"),
        ("networks.teacher.backbone=choice(test_resnet,nosuch)", "timm knows no backbone 'nosuch'"),
        ("networks.teacher.run=choice(/nowhere,/there)", "there is no run at /nowhere"),
    ],
)
def test_networks_that_cannot_be_built_are_found_first(
    dimension: str, message: str, phantom_root: Path, tmp_path: Path
) -> None:
    """Those of a teacher that is trained first, too."""
    space, _ = split_space([dimension])
    with pytest.raises(PreceptorError, match=message):
        tune(Search("kd", KD, space, Data("phantom", phantom_root), tmp_path / "out"), 1)
    assert not (tmp_path / "out").exists()


def test_weights_that_no_trial_starts_from_need_not_be_had(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's own are not asked for where others are to be chosen from; what many trials share is built once."""
    built: list[str] = []
    monkeypatch.setattr(
        checks, "build_networks", lambda wanted, *_: built.extend(item.pretrained for item in wanted.values())
    )
    assert resolve("teacher").networks["teacher"].pretrained == "imagenet"
    space, _ = split_space(["networks.teacher.pretrained=choice(none,mine.pth)", "optimiser.lr=log(0.001,0.1)"])
    tuning._check(Search("teacher", TINY, space, Data("phantom", phantom_root), tmp_path))
    assert built == ["none", str(Path("mine.pth").resolve())]


@pytest.mark.parametrize(
    ("dimension", "reason"),
    [
        ("split.seed=int(0,9)", "decides which images are the test part"),
        ("split.folds=choice(5,3)", "decides which images are the test part"),
        ("split.validation=uniform(0.1,0.3)", "decides which images are the test part"),
        ("protocol=choice(grouped,paper)", "decides which images are the test part"),
        ("select.metric=choice(accuracy,balanced_accuracy)", "trials are judged by"),
        ("select.metric=choice(last,accuracy)", "trials are judged by"),
        ("task=choice(classification,segmentation)", "trials are judged by"),
        ("seed=int(0,9)", "the luckiest"),
        ("networks.teacher.trained_by.set.seed=int(0,9)", "the luckiest"),
        ("data.label=choice(dx,dx_type)", "the same images"),
    ],
)
def test_what_is_tested_and_how_is_no_dimension(dimension: str, reason: str, tmp_path: Path) -> None:
    space, _ = split_space([dimension])
    with pytest.raises(PreceptorError, match=rf"^{re.escape(space[0].key)}: cannot be searched: .*{reason}"):
        tune(Search("kd", KD, space, Data("phantom", tmp_path / "nowhere"), tmp_path / "out"), 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ranges", "overrides"),
    [
        (["networks.teacher.trained_by.set.split.folds=int(3,9)"], {}),
        (["networks.teacher.trained_by.set.protocol=choice(grouped,paper)"], {}),
        ([f"{WEIGHT}=log(0.1,1)"], {"networks.teacher.trained_by": {"recipe": "teacher", "set": {"split.folds": 3}}}),
    ],
)
def test_a_teacher_that_is_trained_first_has_the_test_part_of_the_search(
    ranges: list[str], overrides: dict[str, object], tmp_path: Path
) -> None:
    space, _ = split_space(ranges)
    with pytest.raises(PreceptorError, match=r"^trained_by: the recipe 'teacher' is given another split"):
        tune(Search("kd", {**KD, **overrides}, space, Data("phantom", tmp_path / "nowhere"), tmp_path / "out"), 1)


def test_a_recipes_argument_may_not_change_the_judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def judged(preset: str = "ours") -> Recipe:
        plain = resolve("student", SMALL)
        return plain.model_copy(update={"select": Select(metric="accuracy")}) if preset == "paper" else plain

    monkeypatch.setitem(RECIPES._entries, "judged", RecipeSpec("judged", judged, "none"))
    space, _ = split_space(["preset=choice(ours,paper)"])
    with pytest.raises(PreceptorError, match="preset=paper: cannot be searched: it changes select"):
        tune(Search("judged", {}, space, Data("phantom", tmp_path / "nowhere"), tmp_path / "out"), 1)


def test_a_search_of_few_combinations_ends_after_all_of_them(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def trained(search: Search, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
        tried.append(values["optimiser.lr"])
        return search.write_outcome(number, value=0.5, epoch=1)

    monkeypatch.setattr(trial, "_train", trained)
    sentences: list[str] = []
    search = replace(
        _search(phantom_root, tmp_path / "out", "optimiser.lr=choice(0.001,0.01,0.1)"), say=sentences.append
    )
    assert len(tune(search, 20)) == 3
    assert sorted(tried) == [0.001, 0.01, 0.1]
    assert sentences[0] == "there are 3 combinations, and each is tried once"
    assert len(tune(search, 20)) == 3  # nothing is left


def test_nothing_to_search_is_said(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="nothing to search"):
        tune(Search("student", SMALL, [], Data("phantom"), tmp_path), 1)
