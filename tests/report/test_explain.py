"""``preceptor explain`` and ``evaluate`` on runs that were really made, if in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import preceptor
from conftest import TINY, without_reports
from preceptor import train
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.network_file import load_network, save_network
from preceptor.report.entries import Entry, entries_of, load_run
from preceptor.report.explain import explain, pick
from preceptor.report.gallery import read_gallery
from preceptor.runs.create import Data
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import save_networks
from preceptor.runs.load_networks import finished_networks
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.runs.schema import Metrics
from preceptor.utils.errors import PreceptorError

BACKBONE = "test_efficientnet"


@pytest.fixture(scope="module")
def runs(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``alone`` and ``kd`` in one folder, the teacher elsewhere; their predictions are written anew by the tests."""
    base = tmp_path_factory.mktemp("explain")
    half = (0.5, 0.5, 0.5)
    teacher = Classifier(Architecture("test_resnet", Data("phantom", phantom_root).catalog().classes, 64, half, half))
    save_network(teacher, base / "far" / "teacher.safetensors")
    settings = {**TINY, "image_size": 64, "epochs": 1}
    alone = {**settings, "backbone": BACKBONE}
    taught = {"networks.teacher.run": str(base / "far/teacher.safetensors"), "networks.student.backbone": BACKBONE}
    with without_reports():
        train("student", data="phantom", root=phantom_root, out=base / "runs" / "alone", overrides=alone)
        train("kd", data="phantom", root=phantom_root, out=base / "runs" / "kd", overrides={**settings, **taught})
    return base / "runs"


def predict(run: Path, network: str, right: set[str]) -> None:
    """Makes the network's test predictions right for these ids, surer the later the id, and wrong for all others."""
    path = run / "predictions.csv"
    table = pd.read_csv(path, dtype={"id": str})
    classes = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
    for place, row in table[(table["network"] == network) & (table["part"] == "test")].iterrows():
        other = classes[(classes.index(row["target"]) + 1) % len(classes)]
        text = row["target"] if row["id"] in right else other
        sure = 0.5 + 0.4 * sorted(table["id"].unique()).index(row["id"]) / table["id"].nunique()
        table.loc[place, [f"p_{name}" for name in classes]] = (1 - sure) / (len(classes) - 1)
        table.loc[place, ["predicted", f"p_{text}"]] = [text, sure]
    table.to_csv(path, index=False)


def entries(runs: Path) -> tuple[Entry, Entry, Entry]:
    teacher, taught = entries_of([load_run(runs / "kd")])
    return taught, entries_of([load_run(runs / "alone")])[0], teacher


def test_picks_what_distillation_mended(runs: Path) -> None:
    test = entries(runs)[0].predictions
    split = load_run(runs / "kd").split.set_index("id")
    name = test["target"].value_counts().idxmax()
    of_class = test[test["target"] == name]["id"].tolist()
    assert len(of_class) > 3
    all_ids = set(test["id"])
    predict(runs / "kd", "student", all_ids)
    predict(runs / "kd", "teacher", all_ids - {of_class[0]})
    predict(runs / "alone", "student", all_ids - set(of_class))
    picked = pick(*entries(runs), per_class=2)
    assert picked.total == len(of_class) - 1
    surest = sorted(set(of_class) - {of_class[0]}, reverse=True)
    expected = [surest[0], next(item for item in surest if split.at[item, "group"] != split.at[surest[0], "group"])]
    assert picked.ids == expected, "the surest, and no two of a lesion"

    predict(runs / "kd", "teacher", set())
    picked = pick(*entries(runs), per_class=1)
    assert picked.ids == [max(of_class)]
    assert "get no test image right that" in picked.story[0]
    assert f"gets {len(of_class)} test images right" in picked.story[1]

    predict(runs / "alone", "student", all_ids)
    picked = pick(*entries(runs), per_class=1)
    assert len(picked.story) == 3, "nothing was mended: the surest ones are shown, and it is said"
    assert len(picked.ids) == test["target"].nunique()


def test_gallery_of_runs(runs: Path) -> None:
    test = entries(runs)[0].predictions
    predict(runs / "kd", "student", set(test["id"]))
    predict(runs / "kd", "teacher", set(test["id"]))
    predict(runs / "alone", "student", set())
    gallery = preceptor.explain(runs / "kd", per_class=1)
    assert f"{len(test)} test images right that the student alone gets wrong" in gallery.story[0]
    result = read_gallery(runs / "kd")
    assert result is not None
    assert [network.title for network in result.networks] == ["teacher", "student alone", "distilled"]
    assert result.networks[1].source == "alone, student"
    assert result.story[-1].endswith("map has 2 × 2 cells: it shows a direction, not an outline.")
    assert len(result.cases) == test["target"].nunique()
    assert "synthetic melanoma" in {case.target for case in result.cases}, "names in full words, not codes"
    for case in result.cases:
        assert [shown.right for shown in case.maps] == [True, False, True]
        assert case.maps[0].predicted == case.target
        assert len({case.picture, *(shown.picture for shown in case.maps)}) > 1
    assert (runs / "kd" / "explain.html").is_file()
    assert (runs / "kd" / "explain.png").is_file()


@pytest.mark.parametrize("quick", ["kd", "alone"])
def test_a_gallery_names_its_runs_of_a_quick_study(quick: str, runs: Path, tmp_path: Path) -> None:
    marked = shutil.copytree(runs, tmp_path / "runs")
    path = marked / quick / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "marked": NOT_EVIDENCE}))
    assert explain(marked / "kd", per_class=1).quick == (quick,)
    assert explain(runs / "kd", per_class=1, out=tmp_path).quick == ()


def test_the_mark_of_a_run_stands_beside_the_figures_in_its_networks(runs: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(runs / "alone", tmp_path / "alone"))
    networks, _ = finished_networks(run)
    for text in ({}, {"marked": NOT_EVIDENCE}):
        run.write_environment(run.environment.model_copy(update=text))
        save_networks(run, run.recipe, networks, {"student": {"accuracy": 0.5}})
        header = load_network(run.network_file("student"))[1]
        assert header["test"] == {"accuracy": 0.5}
        assert {key: header[key] for key in header if key == "marked"} == text


def test_what_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="'network' pupil"):
        explain(runs / "kd", network="pupil")
    lonely = shutil.copytree(runs / "kd", tmp_path / "lonely" / "kd")
    with pytest.raises(PreceptorError, match="trained alone on this split") as caught:
        explain(lonely)
    assert "--alone RUN" in caught.value.remedy
    for alone in (None, runs / "kd"):
        with pytest.raises(PreceptorError, match="has no distilled student") as caught:
            explain(runs / "alone", alone)
        assert caught.value.remedy.endswith(f"preceptor explain RUN --alone {runs / 'alone'}")
    other = shutil.copytree(runs / "alone", tmp_path / "other")
    table = (other / "predictions.csv").read_text()
    (other / "predictions.csv").write_text(table.replace("test,student", "validation,student", 1))
    with pytest.raises(PreceptorError, match="was not tested on the images"):
        explain(runs / "kd", other)


def test_maps_of_one_cell_are_refused(phantom_root: Path, tmp_path: Path) -> None:
    """Each would be of one colour."""
    settings = {**TINY, "epochs": 1, "networks.student.backbone": BACKBONE, "networks.student.pretrained": "none"}
    teacher = {"networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    with without_reports():
        train("student", settings, data="phantom", root=phantom_root, out=tmp_path / "alone")
        train("kd", {**settings, **teacher}, data="phantom", root=phantom_root, out=tmp_path / "kd")
    with pytest.raises(PreceptorError) as refused:
        explain(tmp_path / "kd")
    assert refused.value.what == (
        "Grad-CAM shows no place where the map of the last stage is so small: teacher (test_resnet): 1 × 1 cell at 32 "
        "px; student alone (test_efficientnet): 1 × 1 cell at 32 px; distilled (test_efficientnet): 1 × 1 cell at 32 px"
    )
    assert refused.value.remedy == "train the networks at a larger image_size, 64 or more"
    assert not (tmp_path / "kd" / "explain.json").exists()


def test_runs_have_relations_and_old_ones_get_them(runs: Path) -> None:
    run = Run(runs / "kd")
    before = run.metrics
    figures = {name: result.relations for name, result in before.networks.items()}
    assert set(figures) == {"teacher", "student"}
    assert all(set(figure) == {"r_d", "intra", "inter", "images"} for figure in figures.values())
    assert figures["student"]["images"] == before.parts["test"]

    (run.path / "relations.npz").unlink()
    old = before.plain()
    for text in old["networks"].values():
        del text["relations"]
    run.write_metrics(Metrics.model_validate(old))
    result = preceptor.evaluate(run.path)
    assert "relations" in result.added
    assert result.relations["student"]["r_d"] == pytest.approx(figures["student"]["r_d"])
    again = Run(run.path).metrics
    for name, relations in figures.items():
        assert again.networks[name].relations == pytest.approx(relations)
    assert (run.path / "relations.npz").is_file()
    preceptor.evaluate(run.path, part="validation")
    assert Run(run.path).metrics == again, "another part's relations are printed, not written"


def test_a_teacher_that_is_gone_is_left_out(runs: Path) -> None:
    teacher = runs.parent / "far" / "teacher.safetensors"
    hidden = teacher.rename(teacher.with_suffix(".away"))
    try:
        networks, lost = finished_networks(Run(runs / "kd"))
        with pytest.raises(PreceptorError, match=r"networks\.teacher\.run"):
            explain(runs / "kd")
    finally:
        hidden.rename(teacher)
    assert list(networks) == ["student"]
    assert list(lost) == ["teacher"]
