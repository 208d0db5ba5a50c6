"""Images that two data sets share: by file, by picture, and none by chance."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from test_near_duplicates import scene

from preceptor.data import copies
from preceptor.data.catalog import Catalog
from preceptor.data.copies import Contents


def catalog(root: Path, pictures: dict[str, Image.Image]) -> Catalog:
    root.mkdir()
    for name, picture in pictures.items():
        picture.save(root / name, **({"quality": 60} if name.endswith("jpg") else {}))
    names = list(pictures)
    return Catalog("made", root, pd.DataFrame({"id": names, "image": names, "group": names, "label": "x"}), ("x",))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Catalog, Catalog]:
    """Three scenes; and two others beside one whole file and one re-encoded, scaled picture of the first three."""
    own = catalog(tmp_path / "own", {f"{seed}.png": scene(seed) for seed in range(3)})
    small = scene(1).resize((60, 60), Image.Resampling.LANCZOS)
    other = catalog(tmp_path / "other", {"a.png": scene(7), "b.jpg": small, "c.png": scene(8), "d.png": scene(9)})
    shutil.copy(own.path(2), other.path(2))
    return own, other


def test_files_and_pictures_are_recognised(pair: tuple[Catalog, Catalog]) -> None:
    own, other = pair
    assert sorted(Contents(other).copies_in(Contents(own))) == [("b.jpg", "1.png"), ("c.png", "2.png")]


def test_whole_files_are_recognised_without_imagehash(
    pair: tuple[Catalog, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "COMPARES_PICTURES", False)
    own, other = pair
    assert Contents(other).copies_in(Contents(own)) == [("c.png", "2.png")]


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sets whose files are all of one size, as bitmaps are; it was once for every pair."""
    own = catalog(tmp_path / "own", {f"{seed}.bmp": scene(seed) for seed in range(4)})
    other = catalog(tmp_path / "other", {f"{seed}.bmp": scene(seed) for seed in range(3, 8)})
    monkeypatch.setattr(copies, "COMPARES_PICTURES", False)
    read: list[Path] = []
    monkeypatch.setattr(copies, "_digest", lambda path: read.append(path) or path.read_bytes())
    assert Contents(other).copies_in(Contents(own)) == [("3.bmp", "3.bmp")]
    assert len(read) == len(set(read)) == 9
