"""The folder reader on trees as publishers, hospitals and file servers leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.data.readers import read
from preceptor.data.split import make_split
from preceptor.utils.errors import PreceptorError


def photo(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def photos(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        photo(root / name, seed)
    return root


def test_a_tree_of_parts_is_read_as_the_publishers_split(tmp_path: Path) -> None:
    names = [f"{part}/{name}/{n}.png" for part in ("Train", "val", "TEST") for name in ("mel", "nv") for n in range(3)]
    catalog = read("folder", photos(tmp_path, *names))
    assert catalog.classes == ("mel", "nv")
    assert dict(catalog.table["part"].value_counts()) == {"train": 6, "validation": 6, "test": 6}
    assert catalog.table["id"].iloc[0] == "TEST/mel/0"
    assert any("TEST/, Train/, val/ are read as the publisher's parts" in note for note in catalog.notes)
    assert make_split(catalog)["part"].tolist() == catalog.table["part"].tolist()


def test_folders_that_only_resemble_parts_are_classes(tmp_path: Path) -> None:
    catalog = read("folder", photos(tmp_path, "test/a.png", "train/b.png"))  # without classes below
    assert catalog.classes == ("test", "train")
    assert not catalog.has_parts
    catalog = read("folder", photos(tmp_path, "bird/c/a.png", "test/d/a.png", "train/e/a.png"))
    assert catalog.classes == ("bird", "test", "train")


def test_masks_beside_their_images(tmp_path: Path) -> None:
    root = photos(tmp_path, "ill/x (1).png", "ill/x (2).png", "well/y.png", "well/face_mask.png")
    for name in ("ill/x (1)_mask.png", "ill/x (1)_mask_1.png", "ill/x (2)_segmentation.png"):
        photo(root / name, mode="L")
    catalog = read("folder", root)
    assert catalog.counts() == {"ill": 2, "well": 2}
    masks = dict(zip(catalog.table["image"], catalog.table["mask"], strict=True))
    assert masks == {
        "ill/x (1).png": "ill/x (1)_mask.png|ill/x (1)_mask_1.png",
        "ill/x (2).png": "ill/x (2)_segmentation.png",
        "well/face_mask.png": "",
        "well/y.png": "",
    }
    assert any("3 files are read as masks of the images beside them" in note for note in catalog.notes)


@pytest.mark.parametrize("top", ["", "train/"])
def test_folders_of_images_and_masks_are_no_classes(tmp_path: Path, top: str) -> None:
    root = photos(tmp_path, f"{top}images/a.jpg", f"{top}images/b.jpg", f"{top}Masks/a_mask.png")
    if top:
        photos(tmp_path, "test/images/c.jpg", "test/Masks/c.png")
    catalog = read("folder", root)
    assert not catalog.has_labels
    assert catalog.table.set_index("image").at[f"{top}images/a.jpg", "mask"] == f"{top}Masks/a_mask.png"
    assert any("1 of" in note and "have no mask" in note for note in catalog.notes)
    assert catalog.has_parts == bool(top)
    photo(root / f"{top}Masks/z.png")
    with pytest.raises(PreceptorError, match=r"1 masks without an image of that name: \S*z\.png"):
        read("folder", root)


def test_litter_is_passed_over_and_other_files_are_named(tmp_path: Path) -> None:
    root = photos(tmp_path, "a/1.jfif.png", "b/1.png", "a/@eaDir/1.png/THUMB.png", "__MACOSX/a/1.png", "a/.cache/1.png")
    for name in ("a/Thumbs.db", "a/._1.png", "b/readme.txt", "b/list.csv"):
        (root / name).write_bytes(b"x")
    catalog = read("folder", root)
    assert catalog.table["image"].tolist() == ["a/1.jfif.png", "b/1.png"]
    assert any("2 files are not images by their names: b/list.csv, b/readme.txt" in note for note in catalog.notes)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    store = photos(tmp_path / "store", "site/1.png", "site/2.png")
    root = photos(tmp_path / "root", "a/0.png", "b/0.png")
    os.symlink(store / "site", root / "a" / "site")
    os.symlink(root / "a", root / "a" / "loop")
    assert read("folder", root).counts() == {"a": 3, "b": 1}


def test_the_patient_may_be_a_folder(tmp_path: Path) -> None:
    names = [f"{label}/patient{n}/{view}.png" for label in ("a", "b") for n in range(2) for view in range(2)]
    catalog = read("folder", photos(tmp_path, *names), {"group_pattern": "^([^/]+)/"})
    assert catalog.table["group"].tolist() == ["patient0", "patient0", "patient1", "patient1"] * 2


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda root: photos(root, "data/mel/1.png", "data/nv/1.png"), r"one class only\n.*\n.*'root' \S+/data"),
        (lambda root: photos(root, "mel/1.png", "mel/2.png"), "one class only"),
        (lambda root: photos(root, "train/a/1.png", "test/a/1.png", "test/2.png"), r"lie in no class: test/2\.png"),
        (lambda root: photos(root, "train/a/1.png", "test/a/1.png"), "one directory of a class, a/"),
    ],
)
def test_trees_that_no_network_should_learn_from(tmp_path: Path, make: Callable[[Path], Path], match: str) -> None:
    with pytest.raises(PreceptorError, match=match):
        read("folder", make(tmp_path))
