"""What ``evaluate`` refuses before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

import preceptor
from preceptor.api.measurement import read_class_map
from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.utils.errors import PreceptorError


def test_other_data_have_no_parts(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="'part' validation: belongs to the runs' own data"):
        preceptor.evaluate(tmp_path, part="validation", data="phantom")


def test_runs_of_different_tasks(tmp_path: Path) -> None:
    folders = []
    for task in ("classification", "ordinal"):
        (folder := tmp_path / task).mkdir()
        (folder / "recipe.yaml").write_text(to_yaml(resolve("kd", {"task": task})))
        folders.append(folder)
    for settings in ({}, {"data": "phantom"}):
        with pytest.raises(PreceptorError, match="different tasks: classification, ordinal"):
            preceptor.evaluate(folders, **settings)


@pytest.mark.parametrize("text", ["nevus: [melanoma, [naevus]]", "nevus: {melanoma: 1}", "- nevus"])
def test_class_maps_of_other_kinds(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "map.yaml").write_text(text)
    with pytest.raises(PreceptorError, match="is not a class map"):
        read_class_map(path)


def test_a_class_map_from_a_file(tmp_path: Path) -> None:
    (path := tmp_path / "map.yaml").write_text("benign: [nevus, 1]\nother: null\n2: melanoma")
    assert read_class_map(path) == {"benign": ["nevus", "1"], "other": None, "2": "melanoma"}
