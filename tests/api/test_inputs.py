"""Arguments in the forms that a notebook gives them: runs as paths, numbers of numpy, None; wrong ones are named."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import preceptor
from preceptor.api.inputs import excluded_ids, path_list, whole_number
from preceptor.recipes.overrides import split_overrides
from preceptor.utils.errors import PreceptorError


def test_a_run_is_given_wherever_its_folder_is() -> None:
    run = preceptor.Run(Path("runs") / "kd")
    assert os.fspath(run) == "runs/kd"
    assert path_list(run) == path_list([run]) == [Path("runs/kd")]


def test_functions_take_a_run(tmp_path: Path) -> None:
    """None is finished here: what they say of it shows that they have looked into its folder."""
    run = preceptor.Run(tmp_path / "none")
    (tmp_path / "photo.png").touch()
    for call in (
        lambda: preceptor.report(run, out=tmp_path / "page.html"),
        lambda: preceptor.resume(run),
        lambda: preceptor.evaluate(run),
        lambda: preceptor.predict(run, tmp_path / "photo.png"),
        lambda: preceptor.export(run, out=tmp_path / "out"),
        lambda: preceptor.profile(run, batch=1),
    ):
        with pytest.raises(PreceptorError, match=re.escape(str(run.path))):
            call()


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_numpy_become_those_of_python(value: Any) -> None:
    assert type(whole_number("fold", value, 0)) is int
    assert whole_number("fold", value, 0) == 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("fold", value) for value in ("1", 1.0, -1, True, None)),
        *(("seed", value) for value in ("1", 1.5, -1)),
        *(("devices", value) for value in (0, -1, "2", None)),
        *(("data", value) for value in (None, 3)),
    ],
)
def test_a_wrong_argument_of_train_is_named(tmp_path: Path, argument: str, value: Any) -> None:
    arguments = {"data": "phantom", argument: value}
    with pytest.raises(PreceptorError, match=rf"^'{argument}'"):
        preceptor.train("student", out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_other_functions_name_theirs(tmp_path: Path) -> None:
    wrong: Any = None
    for argument, call in (
        ("recipe", lambda: preceptor.train(wrong, data="phantom")),
        ("trials", lambda: preceptor.tune("student", data="phantom", trials=0)),
        ("workers", lambda: preceptor.study("crckd_table1", workers=0)),
        ("repeats", lambda: preceptor.profile(tmp_path, repeats=0)),
        ("batch", lambda: preceptor.profile(tmp_path, batch=[0])),
        ("per_class", lambda: preceptor.explain(tmp_path, per_class=0)),
    ):
        with pytest.raises(PreceptorError, match=rf"^'{argument}'"):
            call()


def test_a_recipe_may_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"lost\.yaml: no such recipe file"):
        preceptor.train(tmp_path / "lost.yaml", data="phantom")


def test_none_is_no_override_and_no_id() -> None:
    assert split_overrides(None) == ({}, {})
    assert excluded_ids(None) == ()


def test_numbers_of_numpy_in_overrides_become_those_of_python() -> None:
    given = {"epochs": np.int64(1), "optimiser.lr": np.float32(0.5), "schedule.milestones": [np.int64(2)]}
    settings, _ = split_overrides(given)
    assert settings == {"epochs": 1, "optimiser.lr": 0.5, "schedule.milestones": [2]}
    assert [type(value) for value in settings.values()] == [int, float, list]
    assert type(settings["schedule.milestones"][0]) is int
