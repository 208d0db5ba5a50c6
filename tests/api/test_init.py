"""``preceptor init`` on folders, tables and a published data set, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import preceptor
from preceptor.data.readers import read
from preceptor.data.recognise import group_pattern, recognise
from preceptor.recipes.resolve import resolve
from preceptor.study.plan import read_plan
from preceptor.utils.errors import PreceptorError


@pytest.fixture(scope="module")
def phantom_table(phantom_root: Path) -> pd.DataFrame:
    return read("phantom", phantom_root).table


@pytest.fixture
def folders(phantom_root: Path, phantom_table: pd.DataFrame, tmp_path: Path) -> Path:
    """A folder for each class, file names with the lesion in front."""
    root = tmp_path / "photos"
    for row in phantom_table.itertuples():
        number = str(row.group).rpartition("_")[2]
        target = root / str(row.label) / f"L{number}_{row.id}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantom_root / str(row.image), target)
    return root


@pytest.fixture
def odd_table(phantom_root: Path, phantom_table: pd.DataFrame, tmp_path: Path) -> Path:
    """Semicolons, German headings, ids without an ending, the images in a folder below."""
    shutil.copytree(phantom_root / "images", tmp_path / "odd" / "Bilder")
    rows = phantom_table.assign(Alter=40, Bemerkung="", nr=range(len(phantom_table)))
    rows = rows.rename(columns={"id": "Bild", "label": "Diagnose", "group": "Patienten-Nr"})
    path = tmp_path / "odd" / "liste.csv"
    rows[["nr", "Bild", "Diagnose", "Patienten-Nr", "Alter", "Bemerkung"]].to_csv(path, index=False, sep=";")
    return path


def test_a_folder_of_classes(folders: Path, tmp_path: Path) -> None:
    project = preceptor.init(folders, out=tmp_path / "project", progress=False)
    assert (project.data, project.task, dict(project.options)) == ("folder", "classification", {})
    assert any("data.group_pattern=" in reason and "not used" in reason for reason in project.reasons)
    assert project.report.images == 160
    recipe = resolve(str(project.recipe))
    assert (recipe.image_size, recipe.batch_size, recipe.task) == (32, 16, "classification")
    plan = read_plan(str(project.plan))
    assert (plan.data.reader, plan.data.root, plan.baseline) == ("folder", str(folders.resolve()), "alone")
    assert project.cost.runs == 3 * len(plan.folds)
    assert project.cost.study is not None
    assert project.cost.method is not None
    assert 0 < project.cost.method < project.cost.study
    assert sorted(path.name for path in project.recipe.parent.iterdir()) == ["plan.yaml", "recipe.yaml"]


def test_an_answer_keeps_groups_together(folders: Path, tmp_path: Path) -> None:
    asked = []

    def answer(question: preceptor.api.init.Question) -> str:
        asked.append(question.key)
        return "yes"

    project = preceptor.init(folders, out=tmp_path / "project", ask=answer, progress=False)
    assert asked == ["data.group_pattern"]
    assert project.report.groups < project.report.images
    assert yaml.safe_load(project.plan.read_text())["data"]["options"] == dict(project.options)
    pattern = project.options["group_pattern"]
    assert group_pattern(read("folder", folders)) == (pattern, project.report.groups, project.report.most_in_group)


def test_options_are_those_of_the_reader_that_is_recognised(folders: Path, tmp_path: Path) -> None:
    pattern = "^(L[0-9]+)_"
    project = preceptor.init(folders, [f"data.group_pattern={pattern}"], out=tmp_path / "project", progress=False)
    assert dict(project.options) == {"group_pattern": pattern}
    assert project.report.groups < project.report.images
    for wrong, message in (("data.label=dx", "'folder' has no such option"), ("epochs=3", "'epochs' cannot be set")):
        with pytest.raises(PreceptorError, match=message):
            preceptor.init(folders, [wrong], out=tmp_path / "other", progress=False)
    with pytest.raises(PreceptorError, match="is one image"):
        preceptor.init(next(folders.rglob("*.jpg")), out=tmp_path / "other", progress=False)


def test_a_table_with_odd_columns(odd_table: Path, phantom_table: pd.DataFrame) -> None:
    recognised = recognise(odd_table)
    assert recognised.reader == "table"
    assert dict(recognised.options) == {
        "separator": ";",
        "image": "Bild",
        "label": "Diagnose",
        "group": "Patienten-Nr",
        "attributes": "Alter",
    }
    catalog = read("table", odd_table, recognised.options)
    assert catalog.counts() == phantom_table["label"].value_counts().sort_index().to_dict()
    assert set(catalog.table["group"]) == set(phantom_table["group"])


def test_a_table_beside_other_tables(odd_table: Path) -> None:
    options = dict(recognise(odd_table).options)
    (odd_table.parent / "notes.csv").write_text("image,remark\n")
    assert recognise(odd_table).options == options
    read("table", odd_table, options)
    of_folder = recognise(odd_table.parent, {"csv": odd_table.name}).options
    assert of_folder == {**options, "csv": odd_table.name}
    read("table", odd_table.parent, of_folder)


def test_options_that_are_given_are_kept(odd_table: Path) -> None:
    options = recognise(odd_table, {"label": "Bemerkung", "group": "nr"}).options
    assert (options["label"], options["group"]) == ("Bemerkung", "nr")


def test_a_published_data_set_with_masks(real: object, tmp_path: Path) -> None:
    root = real("LGG")  # type: ignore[operator]
    recognised = recognise(root)
    assert recognised.reader == "lgg"
    project = preceptor.init(root, out=tmp_path / "project", progress=False)
    assert project.task == "segmentation"
    assert resolve(str(project.recipe)).task == "segmentation"


def test_two_columns_that_may_be_the_label(odd_table: Path) -> None:
    rows = pd.read_csv(odd_table, sep=";").drop(columns="Diagnose")
    rows["a"], rows["b"] = ["x", "y"] * 80, ["u", "v"] * 80
    rows.to_csv(odd_table, index=False)
    with pytest.raises(PreceptorError, match="several columns may be the label: a, b") as refused:
        recognise(odd_table)
    assert refused.value.remedy == "name it: data.label=a"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root), "photos does not exist"),
        (lambda root: [path.unlink() for path in root.rglob("*.jpg")], "photos holds no images"),
        (lambda root: next(root.rglob("*.jpg")).write_bytes(b"no image"), "1 of 160 images"),
        (lambda root: [shutil.rmtree(path) for path in sorted(root.iterdir())[1:]], "one class only"),
    ],
    ids=["nowhere", "no images", "a damaged image", "one class"],
)
def test_refusals_write_nothing(folders: Path, tmp_path: Path, damage: object, message: str) -> None:
    damage(folders)  # type: ignore[operator]
    with pytest.raises(PreceptorError, match=message):
        preceptor.init(folders, out=tmp_path / "project", progress=False)
    assert not (tmp_path / "project").exists()


def test_a_recipe_that_is_there_is_not_replaced(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(PreceptorError, match=r"recipe\.yaml exists, and is not replaced"):
        preceptor.init(folders, out=tmp_path, progress=False)
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_a_wrong_path_is_named_before_a_recipe_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("mine")
    for wrong, message in (("photo", "photo does not exist"), (".", "holds no images")):
        with pytest.raises(PreceptorError, match=message):
            preceptor.init(tmp_path / wrong, out=tmp_path, progress=False)
    with pytest.raises(PreceptorError, match=r"plan\.yaml is not a folder"):
        preceptor.init(tmp_path / "plan.yaml", data="folder", out=tmp_path, progress=False)


def test_a_task_without_targets(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="mask"):
        preceptor.init(folders, task="segmentation", out=tmp_path / "project", progress=False)
