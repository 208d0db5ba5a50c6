"""Splits: no group straddles parts, every image has one part, the folds make up the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.catalog import Catalog
from preceptor.data.split import COLUMNS, make_split, read_split, split_hash, split_notes
from preceptor.utils.errors import PreceptorError


def catalog_of(groups: dict[str, list[int]], classes: tuple[str, ...] | None = None) -> Catalog:
    """Class -> number of images in each of its groups."""
    rows = [
        {"id": f"{label}-{number}-{image}", "label": label, "group": f"{label}-{number}", "image": "", "mask": ""}
        for label, sizes in groups.items()
        for number, size in enumerate(sizes)
        for image in range(size)
    ]
    return Catalog("made", Path(), pd.DataFrame(rows), classes or tuple(groups))


def plenty(seed: int = 0) -> Catalog:
    rng = np.random.default_rng(seed)
    return catalog_of({name: rng.integers(1, 5, count).tolist() for name, count in (("a", 90), ("b", 40), ("c", 20))})


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=15, max_size=30), min_size=2, max_size=4),
    folds=st.integers(2, 4),
    seed=st.integers(0, 10**12),
)
def test_the_folds_make_up_the_data_and_keep_groups_together(sizes: list[list[int]], folds: int, seed: int) -> None:
    catalog = catalog_of({f"c{number}": groups for number, groups in enumerate(sizes)})
    tested: list[str] = []
    for fold in range(folds):
        split = make_split(catalog, folds=folds, fold=fold, seed=seed, validation=0.25)
        assert split["id"].tolist() == catalog.table["id"].tolist()
        assert split.groupby("group")["part"].nunique().max() == 1
        for part in ("train", "validation", "test"):
            assert set(split.loc[split["part"] == part, "label"]) == set(catalog.classes)
        tested += split.loc[split["part"] == "test", "id"].tolist()
    assert sorted(tested) == sorted(catalog.table["id"])


def test_shares_and_class_proportions() -> None:
    catalog = plenty()
    split = make_split(catalog)
    shares = split["part"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.03)
    assert shares["validation"] == pytest.approx(0.1, abs=0.03)
    whole = catalog.table["label"].value_counts(normalize=True)
    for part in shares.index:
        inside = split.loc[split["part"] == part, "label"].value_counts(normalize=True)
        np.testing.assert_allclose(inside[list(catalog.classes)], whole[list(catalog.classes)], atol=0.05)


def test_the_seed_decides() -> None:
    one, same, other = (make_split(plenty(), seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert split_hash(one) == split_hash(same) != split_hash(other)


def test_the_test_folds_do_not_depend_on_the_validation_share() -> None:
    small, large = (make_split(plenty(), validation=share) for share in (0.1, 0.5))
    assert ((small["part"] == "test") == (large["part"] == "test")).all()


@pytest.mark.parametrize("share", [0.1, 0.125, 0.15, 0.18, 0.22, 0.3, 0.35, 0.4, 0.45, 0.5])
def test_the_validation_part_is_as_large_as_was_asked_for(share: float) -> None:
    catalog = catalog_of({"a": [1] * 500, "b": [1] * 250})
    parts = make_split(catalog, validation=share)["part"].value_counts()
    assert parts["validation"] / (parts["validation"] + parts["train"]) == pytest.approx(share, abs=0.012)


def test_little_data_are_cut_into_no_more_parts_than_they_bear() -> None:
    """0.45 is nine of twenty parts; six images of a class bear six at most."""
    parts = make_split(catalog_of({"a": [1] * 12, "b": [1] * 12}), folds=2, validation=0.45)["part"].value_counts()
    assert set(parts.index) == {"train", "validation", "test"}


def test_the_paper_protocol_splits_images_and_has_no_validation() -> None:
    catalog = plenty()
    splits = [make_split(catalog, fold=fold, protocol="paper") for fold in range(5)]
    assert all(set(split["part"]) == {"train", "test"} for split in splits)
    tested = np.concatenate([split.loc[split["part"] == "test", "id"] for split in splits])
    assert sorted(tested) == sorted(catalog.table["id"])
    assert any(split.groupby("group")["part"].nunique().max() == 2 for split in splits), "leaks, as is said of it"


def test_a_class_with_fewer_groups_than_folds() -> None:
    catalog = catalog_of({"a": [1] * 20, "rare": [9, 9, 9]})
    with pytest.raises(PreceptorError, match="fewer groups than the 5 folds: 'rare' has 3"):
        make_split(catalog)
    make_split(catalog, folds=5, protocol="paper")  # 27 images of it are enough there
    with pytest.raises(PreceptorError, match="'gone' has 0"):
        make_split(catalog_of({"a": [1] * 20}, classes=("a", "gone")))


def test_a_class_that_cannot_be_in_three_parts() -> None:
    catalog = catalog_of({"a": [1] * 20, "rare": [3, 3]})
    with pytest.raises(PreceptorError, match="the scarcest is 'rare' with 2 groups"):
        make_split(catalog, folds=2)


@pytest.mark.parametrize(
    ("sizes", "folds", "share", "match", "remedy"),
    [
        ([1] * 6, 5, 0.125, "one of 8 parts .*: 'a' has 5, 'b' has 4, in 9 groups", 0.25),
        ([1] * 9, 5, 0.125, "'a' has 7, 'b' has 7", 0.15),
        ([4] * 4, 2, 0.125, "'a' has 8, 'b' has 8, in 4 groups", 0.5),
        ([1] * 30, 5, 0.01, "one of 100 parts .*: 'a' has 24, 'b' has 24", 0.05),
    ],
)
def test_too_few_images_for_the_validation_share(
    sizes: list[int], folds: int, share: float, match: str, remedy: float
) -> None:
    catalog = catalog_of({"a": sizes, "b": sizes})
    with pytest.raises(PreceptorError, match=match) as caught:
        make_split(catalog, folds=folds, validation=share)
    assert f"set split.validation={remedy:g} or more" in caught.value.remedy
    split = make_split(catalog, folds=folds, validation=remedy)
    assert set(split["part"]) == {"train", "validation", "test"}


def test_too_few_images_for_any_validation_share() -> None:
    with pytest.raises(PreceptorError, match="'a' has 1, in 1 groups") as caught:
        make_split(catalog_of({"a": [1, 1]}), folds=2)
    assert caught.value.remedy == "take more data"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"folds": 1}, "folds is 1"),
        ({"fold": 5}, "fold is 5"),
        ({"fold": -1}, "fold is -1"),
        ({"validation": 0.0}, "validation is 0"),
        ({"validation": 0.6}, "validation is 0.6"),
        ({"validation": float("nan")}, "validation is nan"),
        ({"protocol": "image"}, "no protocol 'image'"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(PreceptorError, match=match):
        make_split(plenty(), **arguments)  # type: ignore[arg-type]


def test_split_csv_round_trip(tmp_path: Path) -> None:
    catalog = catalog_of({"0": [1] * 12, "1": [2] * 12})
    split = make_split(catalog)
    split.to_csv(tmp_path / "split.csv", index=False)
    again = read_split(tmp_path / "split.csv")
    assert tuple(again.columns) == COLUMNS
    assert again["label"].tolist() == split["label"].tolist(), "labels stay strings"
    assert split_hash(again) == split_hash(split) == split_hash(split.sample(frac=1, random_state=0))


def test_damaged_split_files(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    for text, match in {
        "id,group,part,label\na,a,trian,x\n": "line 2 names another part",
        "id,group,part,label\na,a,train,x\na,a,test,x\n": "ids more than once: a",
        "id,group,label\na,a,x\n": "no column 'part'",
    }.items():
        path.write_text(text)
        with pytest.raises(PreceptorError, match=match):
            read_split(path)


def prescribed(parts: list[str], sizes: int = 4) -> Catalog:
    """Two classes in groups of two images; ``parts`` are dealt out to the groups of each class in turn."""
    catalog = catalog_of({"a": [2] * sizes * len(parts), "b": [2] * sizes * len(parts)})
    table = catalog.table.copy()
    table["part"] = [parts[int(group.split("-")[1]) % len(parts)] for group in table["group"]]
    return Catalog("made", Path(), table, catalog.classes)


def test_prescribed_parts_are_taken_unless_folds_are_asked_for() -> None:
    catalog = prescribed(["train", "validation", "test"])
    split = make_split(catalog)
    assert split["part"].tolist() == catalog.table["part"].tolist()
    (note,) = split_notes(catalog, split)
    assert "split by the publisher, not into folds: train 16, validation 16, test 16 images" in note
    folds = make_split(catalog, source="folds", folds=3)
    assert folds["part"].tolist() != split["part"].tolist()
    assert any("prescribes are not taken" in note for note in split_notes(catalog, folds))
    assert set(make_split(catalog, protocol="paper")["part"]) == {"train", "test"}
    with pytest.raises(PreceptorError, match="fold is 1, but made prescribes"):
        make_split(catalog, fold=1)
    with pytest.raises(PreceptorError, match="prescribes no parts"):
        make_split(plenty(), source="prescribed")
    with pytest.raises(PreceptorError, match="protocol=paper"):
        make_split(catalog, source="prescribed", protocol="paper")


def test_a_validation_part_is_carved_out_of_the_prescribed_training_part() -> None:
    catalog = prescribed(["train", "train", "test"], sizes=8)
    split = make_split(catalog, validation=0.25)
    published = catalog.table["part"]
    assert ((split["part"] == "test") == (published == "test")).all()
    assert split.groupby("group")["part"].nunique().max() == 1
    assert (split["part"] == "validation").sum() == pytest.approx(0.25 * (published == "train").sum(), abs=2)
    with pytest.raises(PreceptorError, match="prescribed parts lack test"):
        make_split(prescribed(["train", "validation"]))


def test_images_without_a_prescribed_part_are_used_for_nothing() -> None:
    catalog = prescribed(["train", "validation", "test", ""])
    split = make_split(catalog)
    assert (split["part"] == "unused").sum() == (catalog.table["part"] == "").sum() > 0
    assert any("images are in no part" in note for note in split_notes(catalog, split))


def test_unlabelled_images_are_never_of_a_group_that_is_judged() -> None:
    table = plenty().table.copy()
    table.loc[table.index % 5 == 0, "label"] = ""
    catalog = Catalog("made", Path(), table, ("a", "b", "c"))
    split = make_split(catalog)
    parts = dict(split.groupby("part")["group"].agg(set))
    assert set(parts) == {"train", "validation", "test", "unlabelled", "unused"}
    assert not parts["unlabelled"] & (parts["validation"] | parts["test"])
    assert parts["unused"] <= parts["validation"] | parts["test"]
    assert (split.loc[split["part"].isin(["unlabelled", "unused"]), "label"] == "").all()


def test_folds_of_several_labels_are_stratified_by_the_rarest() -> None:
    rng = np.random.default_rng(0)
    ids = [f"i{number}" for number in range(300)]
    findings = {name: (rng.random(300) < share).astype(float) for name, share in (("often", 0.5), ("rare", 0.07))}
    table = pd.DataFrame({"id": ids, "image": "", "label": "", "group": ids, "never": 0.0, **findings})
    catalog = Catalog("made", Path(), table, ("often", "rare", "never"), label_names=("often", "rare", "never"))
    rare = catalog.table["rare"] == 1
    for fold in range(5):
        split = make_split(catalog, fold=fold)
        assert set(split["part"]) == {"train", "validation", "test"}
        assert (split["part"] == "test")[rare].sum() == pytest.approx(rare.sum() / 5, abs=2)


def test_attributes_are_columns_of_the_split(tmp_path: Path) -> None:
    table = plenty().table.assign(sex="f")
    split = make_split(Catalog("made", Path(), table, ("a", "b", "c"), attribute_names=("sex",)))
    assert split.columns.tolist() == [*COLUMNS, "sex"]
    split.to_csv(tmp_path / "split.csv", index=False)
    pd.testing.assert_frame_equal(read_split(tmp_path / "split.csv"), split)
    assert split_hash(split) == split_hash(make_split(plenty()))


def test_identical_files_are_kept_together_and_contradictions_are_named(tmp_path: Path) -> None:
    table = plenty().table.copy()
    table["image"] = [f"{number}.png" for number in range(len(table))]
    for number in range(len(table)):
        (tmp_path / f"{number}.png").write_bytes(f"{number if number % 9 else 0:09}".encode())
    catalog = Catalog("made", tmp_path, table, ("a", "b", "c"))
    same = catalog.table["image"].map(lambda name: int(name[:-4]) % 9 == 0)
    split = make_split(catalog, folds=2)
    assert split.loc[same, "part"].nunique() == split.loc[same, "group"].nunique() == 1
    notes = "\n".join(split_notes(catalog, split))
    assert f"{same.sum()} image files are byte for byte identical" in notes
    assert "1 sets of identical files contradict each other" in notes
    assert "(a, b, c)" in notes
