"""The contact sheet: the right images at the right places, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.policy import Policy
from preceptor.data.preview import contact_sheet
from preceptor.utils.errors import PreceptorError

TILE, STEP, LEFT, HEAD = 144, 148, 132, 30
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], dtype=np.uint8)  # of the classes a, b, c
OUTLINE = (0, 255, 210)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Four images of a, two of b, none of c."""
    table = pd.DataFrame({"id": [f"im{i}" for i in range(6)], "image": "x.png", "label": list("aababa"), "group": "g"})
    return Catalog("made", tmp_path, table, ("a", "b", "c"))


@pytest.fixture
def pixels(catalog: Catalog) -> Pixels:
    """Images in the colour of their class with a white left half, and its mask."""
    images = np.repeat(np.repeat(COLOURS[catalog.labels][:, :, None, None], 18, 2), 18, 3)
    images[:, :, :, :9] = 255
    masks = np.zeros((6, 18, 18), np.uint8)
    masks[:, :, :9] = 1
    return Pixels(images, masks, "key")


def sheet(pixels: Pixels, catalog: Catalog, path: Path, **options: int) -> np.ndarray:
    policies = {"mirror": Policy(h_flip=1), "turn": Policy(quarter_turns=1)}
    contact_sheet(pixels, catalog, policies, path, **options)
    return np.asarray(Image.open(path))


def tile(page: np.ndarray, row: int, left: int) -> np.ndarray:
    top = HEAD + row * STEP
    return page[top : top + TILE, left : left + TILE]


def test_rows_are_classes_and_columns_are_the_image_and_its_views(
    pixels: Pixels, catalog: Catalog, tmp_path: Path
) -> None:
    page = sheet(pixels, catalog, tmp_path / "sheet.png", per_class=3, views=2)
    assert page.shape == (HEAD + 5 * STEP, LEFT + 5 * STEP + 16, 3)  # three of a, both of b
    mirrored = LEFT + STEP + 8
    for row, colour in enumerate(COLOURS[[0, 0, 0, 1, 1]]):
        original = tile(page, row, LEFT)
        assert (original[70, 20] == 255).all()
        assert (original[70, -20] == colour).all()
        for left in (mirrored, mirrored + STEP):
            view = tile(page, row, left)
            assert (view[70, 20] == colour).all()
            assert (view[70, -20] == 255).all()


def test_the_outline_of_the_mask_follows_the_view(pixels: Pixels, catalog: Catalog, tmp_path: Path) -> None:
    page = sheet(pixels, catalog, tmp_path / "sheet.png", views=1)
    outlined = (tile(page, 0, LEFT) == OUTLINE).all(2)
    assert outlined.sum(0)[71] == TILE  # the last column of the white half
    assert outlined.sum() == TILE
    turned = (tile(page, 0, LEFT + 2 * STEP + 16) == OUTLINE).all(2)
    assert max(turned.sum(0).max(), turned.sum(1).max()) == turned.sum() == TILE
    bare = sheet(Pixels(pixels.images, None, "key"), catalog, tmp_path / "bare.png", views=1)
    assert not (bare == OUTLINE).all(2).any()


def test_rows_and_columns_are_named(pixels: Pixels, catalog: Catalog, tmp_path: Path) -> None:
    page = sheet(pixels, catalog, tmp_path / "sheet.png", views=1)
    for area in (page[:HEAD, LEFT : LEFT + TILE], page[:HEAD, LEFT + STEP + 8 :], page[HEAD : HEAD + TILE, :LEFT]):
        assert area.min() < 100


def test_the_same_seed_gives_the_same_file(pixels: Pixels, catalog: Catalog, tmp_path: Path) -> None:
    varied = Pixels(np.random.default_rng(0).integers(0, 256, pixels.images.shape, dtype=np.uint8), None, "key")
    paths = [tmp_path / "deep" / "er" / name for name in ("one.png", "two.png", "three.png")]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        sheet(varied, catalog, path, seed=seed)
    one, two, three = (path.read_bytes() for path in paths)
    assert one == two
    assert one != three


def test_a_sheet_that_cannot_be_written_is_an_error(pixels: Pixels, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PreceptorError, match="cannot be written"):
        sheet(pixels, catalog, tmp_path / "file" / "sheet.png")
