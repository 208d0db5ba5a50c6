"""A network that has learned from images of the test part is refused, whichever reader read them then and now."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from preceptor.recipes.resolve import resolve
from preceptor.runs.create import prepare, split_of
from preceptor.runs.data import Data
from preceptor.runs.leakage import refuse_leak
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from tests.small_images import save_image

CLASSES = ("benign", "malignant")
RECIPE = resolve("student", ["networks.student.backbone=test_resnet", "networks.student.pretrained=none"])


def _folder(root: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(12):
            save_image(root / name / f"{number:02d}.png", pixels.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    return root


def _table(folder: Path) -> Path:
    """A table of the same files under ids of its own."""
    files = sorted(folder.rglob("*.png"))
    rows = [f"{file.relative_to(folder)},{file.parent.name}" for file in files]
    table = folder / "table.csv"
    table.write_text("\n".join(["image,label", *rows]) + "\n")
    return table


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network's file in its run, on fold 1 of a folder."""
    run = prepare(RECIPE, Data("folder", _folder(tmp_path / "images", 0), fold=1), tmp_path / "run")
    file = run.network_file("student")
    file.touch()
    return file


def _refuse(file: Path, data: Data) -> None:
    refuse_leak("networks.teacher.run", file, data, split_of(data.catalog(), RECIPE, data.fold))


def test_the_same_images_are_found_under_another_reader_and_other_names(network: Path, tmp_path: Path) -> None:
    words = r"run was trained on \d+ images of this run's test part .* it is of folder in "
    with pytest.raises(PreceptorError, match=words):
        _refuse(network, Data("table", _table(tmp_path / "images")))


def test_the_fold_that_it_was_trained_for_is_accepted(network: Path, tmp_path: Path) -> None:
    _refuse(network, Data("folder", tmp_path / "images", fold=1))
    with pytest.raises(PreceptorError, match="it is of fold 1 of 5"):
        _refuse(network, Data("folder", tmp_path / "images", fold=0))


def test_the_same_data_in_another_place_are_the_same_by_name(network: Path, tmp_path: Path) -> None:
    """Nothing is left at the old place to compare."""
    moved = (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(PreceptorError, match="was trained on"):
        _refuse(network, Data("folder", moved, fold=0))


def test_other_images_of_the_same_names_are_none_of_its_own(network: Path, tmp_path: Path) -> None:
    _refuse(network, Data("folder", _folder(tmp_path / "others", 1), fold=0))


@pytest.mark.parametrize("gone", ["run", "images"])
def test_what_cannot_be_compared_is_said(gone: str, network: Path, tmp_path: Path) -> None:
    data = Data("table", _table(_folder(tmp_path / "others", 1)))
    if gone == "images":
        shutil.rmtree(tmp_path / "images")
    else:
        network = network.rename(tmp_path / "student.safetensors")
    with pytest.warns(PreceptorWarning, match="make sure that the network has not learned from images of this run's"):
        _refuse(network, data)
