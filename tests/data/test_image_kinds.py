"""Masks in the place of photographs, and images that show nothing, are named wherever images are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from conftest import TINY
from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.check import check
from preceptor.data.image_kinds import Kind, kind_notes, kind_of
from preceptor.data.images import read_image
from preceptor.data.readers import read
from preceptor.recipes.resolve import resolve
from preceptor.runs.complete import decoder
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.utils.errors import PreceptorWarning
from small_images import save_image

NOISE = np.random.default_rng(0)


def outline(side: int = 96, value: int = 255) -> np.ndarray:
    """(side, side) uint8, an ellipse on black."""
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).ellipse((side // 5, side // 4, side // 2, 3 * side // 4), fill=value)
    return np.array(image)


def rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, axis=2)


def as_jpeg(levels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=75)
    return rgb(np.array(Image.open(file)))


def masks() -> dict[str, np.ndarray]:
    labels = outline(value=1) + outline().T // 128
    coloured = rgb(outline())
    coloured[..., 1] = 0
    return {
        "0 and 255": rgb(outline()),
        "0 and 1": rgb(outline(value=1)),
        "indices of three classes": rgb(labels),
        "levels of three classes": rgb(labels * 120),
        "red on black": coloured,
        "white ground": rgb(255 - outline()),
        "stored as JPEG": as_jpeg(outline()),
        "tiny": rgb(outline(20)),
        "wide": rgb(outline(300)[100:200]),
    }


def photographs() -> dict[str, np.ndarray]:
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    scan = np.where(outline() > 0, NOISE.integers(60, 240, (96, 96)), 0).astype(np.uint8)
    return {
        "noise": NOISE.integers(0, 256, (96, 96, 3), dtype=np.uint8),
        "noise in black and white": rgb(NOISE.choice(np.array([0, 255], np.uint8), (96, 96))),
        "a ramp": rgb(np.tile(ramp, (96, 1))),
        "an organ on black": rgb(scan),
        "the same, dark": rgb((scan // 40 * NOISE.integers(0, 2, scan.shape)).astype(np.uint8)),
        "noise of 4 bits": rgb(NOISE.integers(0, 16, (96, 96), dtype=np.uint8)),
        "a bright wall": rgb(NOISE.integers(240, 256, (96, 96), dtype=np.uint8)),
        "an overexposed scan": rgb(np.clip(scan.astype(int) * 2, 0, 255).astype(np.uint8)),
    }


@pytest.mark.parametrize("name", masks())
def test_masks_are_told(name: str) -> None:
    assert kind_of(masks()[name]) == "mask"


@pytest.mark.parametrize("name", photographs())
def test_photographs_are_told(name: str) -> None:
    assert kind_of(photographs()[name]) == "photograph"


def test_one_colour_is_blank_and_one_other_pixel_is_not() -> None:
    image = np.full((600, 600, 3), 7, np.uint8)
    assert kind_of(image) == "blank"
    image[599, 598] = 8
    assert kind_of(image) == "photograph"
    assert kind_of(np.zeros((1, 1, 3), np.uint8)) == "blank"


def test_images_of_the_phantom_are_photographs(phantom_root: Path) -> None:
    catalog = read("phantom", phantom_root)
    assert {kind_of(read_image(catalog.path(row))) for row in range(len(catalog))} == {"photograph"}


def catalog(**images: int) -> Catalog:
    labels = [name for name, number in images.items() for _ in range(number)]
    ids = [f"{number:03}" for number in range(len(labels))]
    rows = pd.DataFrame({"id": ids, "image": ids, "label": labels, "group": ids, "mask": ""})
    return Catalog("folder", Path("nowhere"), rows, tuple(images))


def test_a_class_of_masks_is_named_and_a_few_dark_slices_are_not() -> None:
    data = catalog(a=40, b=10)
    kinds: list[Kind] = ["photograph"] * 50
    assert kind_notes(data, kinds) == []
    kinds[:3] = ["mask"] * 3
    assert kind_notes(data, kinds) == []
    kinds[40:] = ["mask"] * 10
    (note,) = kind_notes(data, kinds)
    assert note.startswith("10 of 50 images (10 of 10 of class 'b') look like masks, not like photographs")
    assert ": 040, 041, 042 and 7 more. If" in note
    (note,) = kind_notes(data, ["mask"] * 50)
    assert note.startswith("50 of 50 images look like masks")
    (note,) = kind_notes(data, [*["photograph"] * 49, "blank"])
    assert note == "1 of 50 images are of one colour throughout: 049"
    assert kind_notes(data, None) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of masks."""
    for number in range(24):
        place = tmp_path / "data" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        save_image(place / f"{number}.png", np.roll(outline(40), number, axis=0))
    return tmp_path / "data"


def test_the_check_and_the_start_of_training_say_so(folder: Path, tmp_path: Path) -> None:
    data = read("folder", folder)
    (note,) = [note for note in check(data).notes if "look like masks" in note]
    assert note.startswith("24 of 24 images look like masks")
    assert "look like masks" not in "".join(check(data, decode=False).notes), "their pixels are not read"
    recipe = resolve("student", {**TINY, "backbone": "test_efficientnet", "pretrained": "none"})
    for number in (1, 2):  # the second finds the cache filled
        with pytest.warns(PreceptorWarning, match="24 of 24 images look like masks"):
            run = prepare(
                recipe, Data("folder", folder), tmp_path / f"run{number}", decode=decoder(tmp_path / "cache", True)
            )
        assert note in run.environment.data.notes


def test_a_cache_of_before_is_still_read(folder: Path, tmp_path: Path) -> None:
    data = read("folder", folder)
    first = open_pixels(data, 16, directory=tmp_path / "cache")
    assert first.kinds is not None
    assert first.entry is not None
    (first.entry / "kinds.npy").unlink()
    again = open_pixels(data, 16, directory=tmp_path / "cache")
    assert (again.kinds, again.digest) == (None, first.digest)
