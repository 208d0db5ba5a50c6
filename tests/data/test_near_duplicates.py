"""Near-duplicates: found across encodings and sizes, counted by group, part and label, offered as groups."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from preceptor.api.data_sets import check_data
from preceptor.data.catalog import Catalog
from preceptor.data.near_duplicates import near_duplicates
from preceptor.data.readers import read
from preceptor.utils.errors import PreceptorError


def scene(seed: int, side: int = 96) -> Image.Image:
    """A picture with large and small shapes, as photographs have them."""
    random, pixels = np.random.default_rng(seed), np.zeros((side, side))
    for count, strength in ((3, 1.0), (6, 0.6), (12, 0.4), (24, 0.25)):
        shapes = Image.fromarray(random.uniform(-1, 1, (count, count)).astype(np.float32))
        pixels += strength * np.asarray(shapes.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(128 + 55 * pixels, 0, 255).astype(np.uint8)).convert("RGB")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Six scenes; of scene 0 a re-encoded, a scaled and a brighter copy, in other groups, parts and classes."""
    pictures = {f"{seed}.png": scene(seed) for seed in range(6)}
    pictures["jpeg.jpg"] = scene(0)
    pictures["small.png"] = scene(0).resize((40, 40), Image.Resampling.LANCZOS)
    pictures["bright.png"] = ImageEnhance.Brightness(scene(0)).enhance(0.85)
    pictures["black1.png"], pictures["black2.png"] = Image.new("RGB", (9, 9)), Image.new("RGB", (20, 20))
    for name, picture in pictures.items():
        picture.save(tmp_path / name, **({"quality": 50} if name.endswith("jpg") else {}))
    rows = pd.DataFrame({"id": list(pictures), "image": list(pictures), "group": list(pictures), "label": "x"})
    rows["part"] = ["test" if name in ("small.png", "1.png") else "train" for name in pictures]
    rows.loc[rows["id"] == "bright.png", "label"] = "y"
    rows.loc[rows["id"] == "jpeg.jpg", "group"] = "0.png"
    return Catalog("made", tmp_path, rows, ("x", "y"))


def test_pairs_are_told_by_group_part_and_label(catalog: Catalog) -> None:
    result = near_duplicates(catalog)
    ids = catalog.table["id"].to_numpy(str)
    pairs = {frozenset(ids[pair]) for pair in result.pairs}
    copies = ("0.png", "jpeg.jpg", "small.png", "bright.png")
    expected = {frozenset(pair) for pair in combinations(copies, 2)}
    assert pairs == {*expected, frozenset(("black1.png", "black2.png"))}
    assert len(result.pairs) == 7
    assert len(result.across_groups()) == 6
    assert len(result.across_parts(catalog.table["part"].to_numpy(str))) == 3
    assert len(result.contradictions()) == 3
    text = "\n".join(result.lines())
    for what in ("7 pairs near", "6 pairs of different groups", "3 pairs across the", "3 pairs with different"):
        assert what in text
    assert "0.png (x) = bright.png (y)" in text


def test_offered_groups_keep_them_together(catalog: Catalog, tmp_path: Path) -> None:
    near_duplicates(catalog).write_groups(tmp_path / "groups.csv")
    catalog.table.rename(columns={"part": "set"}).to_csv(tmp_path / "t.csv", index=False)
    options = {"csv": "t.csv", "id": "id", "groups_csv": str(tmp_path / "groups.csv"), "mask": "mask"}
    groups = read("table", tmp_path, options).table.set_index("id")["group"]
    assert groups[["0.png", "jpeg.jpg", "small.png", "bright.png"]].nunique() == 1
    assert groups.nunique() == 7


def test_unreadable_images_are_counted_and_not_compared(catalog: Catalog) -> None:
    for name in ("black1.png", "black2.png"):
        (catalog.root / name).write_bytes(b"x")
    result = near_duplicates(catalog)
    assert len(result.pairs) == 6
    assert result.lines()[-1] == "2 images could not be read and are not compared"


def test_data_check_searches_on_request_and_keeps_other_peoples_files(catalog: Catalog, tmp_path: Path) -> None:
    catalog.table.drop(columns="mask").to_csv(tmp_path / "t.csv", index=False)
    assert check_data("table", tmp_path).near_duplicates == ()
    (tmp_path / "notes").write_text("mine\n")
    with pytest.raises(PreceptorError, match="not a file that this command wrote"):
        check_data("table", tmp_path, groups=tmp_path / "notes")
    report = check_data("table", tmp_path, groups=tmp_path / "groups")
    assert report.near_duplicates[-1].startswith("groups that keep near-duplicates together")
    assert "7 pairs near-duplicates" in "\n".join(report.lines())
    check_data("table", tmp_path, groups=tmp_path / "groups")
