"""The catalog: what it carries besides image and label, what its fingerprint covers, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preceptor.data.catalog import Catalog
from preceptor.utils.errors import PreceptorError


def frame(**columns: list[object]) -> pd.DataFrame:
    ids = ["a10", "a9", "b"]
    plain = {"id": ids, "image": [f"{name}.png" for name in ids], "label": ["x", "y", "x"], "group": ids}
    return pd.DataFrame({**plain, **columns})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("a10", "a9", "b")):
        (tmp_path / f"{name}.png").write_bytes(b"x" * (number + 1))
    return tmp_path


def test_attributes_follow_their_images(root: Path) -> None:
    table = frame(sex=["f", "m", ""], age=["50", "", "70"], comment=["1", "2", "3"])
    catalog = Catalog("made", root, table, ("x", "y"), attribute_names=("sex", "age"))
    assert catalog.table["id"].tolist() == ["a9", "a10", "b"], "numbers by their value"
    assert catalog.attributes.to_dict("list") == {"sex": ["m", "f", ""], "age": ["", "50", "70"]}
    assert catalog.without(["a10"]).attributes["sex"].tolist() == ["m", ""]
    assert "comment" not in catalog.table


def test_attributes_do_not_change_the_fingerprint_and_what_is_trained_on_does(root: Path) -> None:
    plain = Catalog("made", root, frame(), ("x", "y"))
    described = Catalog("made", root, frame(sex=["f", "m", "f"]), ("x", "y"), attribute_names=("sex",))
    assert described.fingerprint() == plain.fingerprint()
    parts = Catalog("made", root, frame(part=["train", "test", "train"]), ("x", "y"))
    findings = frame(one=[1, 0, 1], two=[0, np.nan, 1])
    several = Catalog("made", root, findings, ("one", "two"), label_names=("one", "two"))
    other = Catalog("made", root, findings.assign(two=[0, 0, 1]), ("one", "two"), label_names=("one", "two"))
    prints = {catalog.fingerprint() for catalog in (plain, parts, several, other, plain.without(["b"]))}
    assert len(prints) == 5


def test_several_labels_an_image(root: Path) -> None:
    table = frame(label=["one", "", "one|two"], one=[1, np.nan, 1], two=[0, np.nan, 1])
    catalog = Catalog("made", root, table, ("one", "two"), label_names=("one", "two"))
    assert catalog.label_matrix is not None
    np.testing.assert_array_equal(catalog.label_matrix, [[np.nan, np.nan], [1, 0], [1, 1]])
    assert catalog.labelled.tolist() == [False, True, True]
    assert catalog.labels.tolist() == [-1, -1, -1], "no image has one class"
    assert catalog.counts() == {"one": 2, "two": 1}
    assert catalog.without(["b"]).classes == ("one", "two"), "a label without images stays a label"


def test_unlabelled_images_have_no_class(root: Path) -> None:
    catalog = Catalog("made", root, frame(label=["x", "", "y"]), ("x", "y"))
    assert catalog.labels.tolist() == [-1, 0, 1]
    assert catalog.labelled.tolist() == [False, True, True]
    assert catalog.label_matrix is None
    assert catalog.counts() == {"x": 1, "y": 1}


def test_prescribed_parts_are_kept_where_there_are_any(root: Path) -> None:
    catalog = Catalog("made", root, frame(part=["train", "", "test"]), ("x", "y"))
    assert catalog.has_parts
    assert catalog.table["part"].tolist() == ["", "train", "test"]
    assert not Catalog("made", root, frame(part=["", "", ""]), ("x", "y")).has_parts
    with pytest.raises(PreceptorError, match="prescribed parts"):
        Catalog("made", root, frame(part=["train", "dev", "test"]), ("x", "y"))


def test_names_that_clash_or_are_no_names(root: Path) -> None:
    plain = Catalog("made", root, frame(), ("x", "y"))
    with pytest.raises(PreceptorError, match="name that is taken: group"):
        replace(plain, attribute_names=("group",))
    with pytest.raises(PreceptorError, match="name that is taken: sex"):
        replace(plain, attribute_names=("sex",), label_names=("sex",))
    with pytest.raises(PreceptorError, match="a name of 300 characters"):
        replace(plain, classes=("x", "y" * 300))


def test_identical_files_are_known_by_content(root: Path) -> None:
    assert Catalog("made", root, frame(), ("x", "y")).identical == ()
    (root / "b.png").write_bytes((root / "a9.png").read_bytes())
    catalog = Catalog("made", root, frame(), ("x", "y"))
    assert catalog.identical == ((0, 2),)
