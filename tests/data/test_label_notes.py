"""Names of classes that stand for no class, or for one that is there already, are named; none is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from preceptor.data.catalog import UNLABELLED, Catalog
from preceptor.data.check import check
from preceptor.data.label_notes import label_notes
from preceptor.data.readers import read
from preceptor.data.split import make_split, split_notes
from small_images import PIXELS, save_image


def catalog(labels: list[str], name: str = "folder") -> Catalog:
    ids = [f"{number}" for number in range(len(labels))]
    rows = pd.DataFrame({"id": ids, "image": ids, "label": labels, "group": ids, "mask": ""})
    return Catalog(name, Path("nowhere"), rows, tuple(dict.fromkeys(labels)))


@pytest.mark.parametrize(
    "word", ["NA", "n/a", "NaN", "None", "null", "Unknown", "UNK", "-", "?", "missing", "Unlabelled"]
)
def test_a_class_called_as_a_missing_value_is_named(word: str) -> None:
    (note,) = label_notes(catalog(["mel", word, "nv", word, word]))
    assert f"missing value: {word!r} (3 images);" in note
    assert "--exclude FILE" in note


def test_real_names_are_not_noted() -> None:
    assert label_notes(catalog(["nv", "mel", "no finding", "normal", "nil-like", "0", "1", "HER2-", "HER2"])) == []
    assert label_notes(catalog([UNLABELLED] * 3)) == [], "a data set of masks alone"
    assert label_notes(catalog(["MEL", "UNK"], "isic2019")) == [], "the publisher's own class"
    assert label_notes(catalog(["MEL", "UNK"])), "but in a folder of users' own nobody knows"


@pytest.mark.parametrize(
    "pair",
    [
        ("Nevus", "nevus"),
        ("2", "2.0"),
        ("basal cell", "Basal_Cell"),
        ("basal-cell", "basal cell"),
        ("normal", "Normal_"),
        ("\u00e4", "a\u0308"),
    ],
)
def test_two_spellings_of_one_class_are_named(pair: tuple[str, str]) -> None:
    (note,) = label_notes(catalog([pair[0], "x", pair[1]]))
    assert note.endswith(f"are different classes: {pair[0]!r} = {pair[1]!r}")


def test_several_labels_of_an_image_are_named_too() -> None:
    rows = pd.DataFrame({"id": ["1", "2"], "image": ["1", "2"], "label": "", "group": ["1", "2"], "mask": ""})
    rows = rows.assign(**{"Edema": [1, 0], "edema": [0, 1], "NA": [0, 1]})
    names = ("Edema", "edema", "NA")
    missing, alike = label_notes(Catalog("table", Path("nowhere"), rows, names, label_names=names))
    assert "'NA' (1 image);" in missing
    assert "'Edema' = 'edema'" in alike


def test_the_check_of_a_data_set_and_the_start_of_training_say_so(tmp_path: Path) -> None:
    for name in ("mel", "NA"):
        (tmp_path / name).mkdir()
        for number in range(6):
            save_image(tmp_path / name / f"{number}.png", PIXELS + number + 10 * (name == "NA"))
    images = read("folder", tmp_path)
    (note,) = label_notes(images)
    assert note in check(images).notes
    assert note in split_notes(images, make_split(images, folds=2, validation=0.5))
