from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import TINY
from preceptor.recipes.resolve import resolve
from preceptor.runs.complete import decoder
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.worker import load_parts
from preceptor.utils.errors import PreceptorError, PreceptorWarning

SETTINGS = {**TINY, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}


@pytest.fixture
def run(phantom_root: Path, tmp_path: Path) -> Run:
    """A run that is prepared and not trained, on data of its own."""
    shutil.copytree(phantom_root, tmp_path / "data")
    data = Data("phantom", tmp_path / "data")
    return prepare(resolve("student", SETTINGS), data, tmp_path / "run", decode=decoder(tmp_path / "cache", quiet=True))


def load(run: Run, cache: Path) -> None:
    run = Run(run.path)
    load_parts(run, run.recipe, run.catalog(), cache, torch.device("cpu"))


def exchange(run: Run) -> None:
    """Turn one picture upside down, and keep the size of its file."""
    catalog = run.catalog()
    file = catalog.path(0, "image")
    size = file.stat().st_size
    with Image.open(file) as image:
        turned = image.transpose(Image.Transpose.ROTATE_180).convert("RGB")
    for quality in range(5, 101):
        turned.save(file, "JPEG", quality=quality)
        if file.stat().st_size > size:
            break
        short = file.read_bytes()
    file.write_bytes(short + b"\0" * (size - len(short)))
    assert file.stat().st_size == size


def test_the_same_images_are_taken_from_any_cache(run: Run, tmp_path: Path) -> None:
    assert len(run.environment.data.pixels) == 64
    load(run, tmp_path / "cache")
    load(run, tmp_path / "another")


def test_an_image_exchanged_for_one_of_the_same_size_is_refused(run: Run, tmp_path: Path) -> None:
    exchange(run)
    with pytest.raises(PreceptorError, match=r"data: images or masks changed since \S+run was started"):
        load(run, tmp_path / "cache")


def test_another_decoder_is_only_pointed_out(run: Run, tmp_path: Path) -> None:
    exchange(run)
    file = run.path / "environment.json"
    file.write_text(file.read_text().replace('"pillow": "', '"pillow": "1.'))
    with pytest.warns(PreceptorWarning, match=r"or Pillow \S+ decodes them otherwise than 1\."):
        load(run, tmp_path / "cache")
