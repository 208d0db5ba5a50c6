"""Runs that draw masks, end to end: what they write, what their report shows, and what other commands make of them."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import preceptor
from compared_layers import compare_layers
from conftest import TINY
from fake_run import ALONE, write_fake_run
from page import Page
from preceptor import train
from preceptor.data.batches import Batch, Loader
from preceptor.data.cache import open_pixels
from preceptor.data.policy import Policy
from preceptor.deploy.predict import write_masks
from preceptor.deploy.torch_predictor import TorchPredictor
from preceptor.evaluation.examples import choose_cases
from preceptor.evaluation.layers import compare_networks
from preceptor.networks.network_file import save_network
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.recipe import View
from preceptor.recipes.resolve import resolve
from preceptor.report.entries import entries_of, load_run
from preceptor.report.explain import explain
from preceptor.report.run_report import write_report
from preceptor.runs.directory import Run
from preceptor.runs.load_networks import finished_networks
from preceptor.training.augment import make_views
from preceptor.utils.errors import PreceptorError

HALF = (0.5,) * 3
WHOLE_MASKS = ("hd95", "nsd_2px", "small_target_detection")
SMALL = {**TINY, "epochs": 1, "task": "segmentation", "backbone": "test_efficientnet"}


def segmenter(*classes: str) -> Segmenter:
    torch.manual_seed(1)
    return Segmenter(UNetArchitecture("test_resnet", ("background", *classes), 32, HALF, HALF))


@pytest.fixture(scope="module")
def student(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("masks") / "student"
    return train("student", data="phantom", root=phantom_root, out=out, overrides=SMALL)


@pytest.fixture(scope="module")
def pair(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two students under a teacher that knows nothing, but was not trained for it either."""
    base = tmp_path_factory.mktemp("pair")
    save_network(segmenter("lesion"), base / "far" / "teacher.safetensors")
    settings = {**SMALL, "teacher": str(base / "far" / "teacher.safetensors")}
    return train("kd_ml_v3", data="phantom", root=phantom_root, out=base / "pair", overrides=settings)


def said_by(page: Path) -> str:
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {value[1:] for _, name, value in parsed.attributes if name == "href" and value[0] == "#"} <= set(parsed.ids)
    return parsed.text


# --- what the networks are shown -----


def test_masks_follow_every_view_exactly() -> None:
    """Images that hold their own coordinates say where each pixel of a view came from: so must its mask."""
    side, count = 32, 12
    moved = Policy(
        h_flip=0.5, v_flip=0.5, transpose=0.5, quarter_turns=0.75, scale=(0.7, 1.4), shear=15, rotate=45, shift=0.2
    )
    recipe = resolve("mean_teacher", {"task": "segmentation"})
    views = {"student": View(policy=moved, extra_transforms=["rot90", "transpose"]), "teacher": View(policy=moved)}
    recipe = recipe.model_copy(update={"views": views})
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([column * 8, row * 8, 0 * row]).byte()
    masks = torch.randint(0, 5, (count, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = Batch(image.repeat(count, 1, 1, 1), torch.zeros(count).long(), torch.arange(count), masks)
    shown = make_views(recipe, ["student", "teacher"], batch, count, (0, 1, 2))
    assert not torch.equal(shown.masks["student"][:count], shown.masks["teacher"]), "each has draws of its own"
    for name, times in (("student", 3), ("teacher", 1)):
        place = shown.images[name][:, :2] * 255 / 8
        x, y = place.round().long().unbind(1)
        expected = masks.repeat(times, 1, 1)[torch.arange(times * count)[:, None, None], y, x]
        between = ((place - place.floor() - 0.5).abs() < 0.01).any(1)  # where either neighbour is the nearest
        assert between.float().mean() < 0.1
        assert torch.equal(shown.masks[name][~between], expected[~between].long())
        assert (shown.masks[name] != masks.repeat(times, 1, 1)).float().mean() > 0.5, "they did move"


# --- what a run writes -----


def test_figures_follow_from_the_rows(student: Run) -> None:
    metrics = student.metrics
    assert (metrics.task, metrics.classes) == ("segmentation", ["background", "lesion"])
    assert metrics.selected_by == "validation/student/iou_pooled"
    rows = pd.read_csv(student.path / "predictions.csv", dtype={"id": str})
    split = student.split.set_index("id")["part"]
    assert (rows["part"] == rows["id"].map(split)).all()
    for part, count in metrics.parts.items():
        if part != "train":
            text, of_part = getattr(metrics.networks["student"], part), rows[rows["part"] == part]
            assert text["images"] == len(of_part) == count
            for name in ("iou", "dice"):
                filled = of_part["target_pixels"] > 0
                assert text[name] == pytest.approx(of_part[name].mean())
                assert text[f"{name}_with_target"] == pytest.approx(of_part.loc[filled, name].mean())
            for name in ("hd95", "nsd_2px"):
                assert text[name] == pytest.approx(of_part[name].mean())
            assert text["small_target_detection"] is None, "no lesion is under 1 % of these images"
    history = pd.read_csv(student.path / "history.csv")
    assert history["validation/student/iou_pooled"].iloc[-1] == pytest.approx(
        metrics.networks["student"].validation["iou_pooled"], abs=1e-6
    )
    assert not [column for column in history if column.endswith(WHOLE_MASKS)], "they are not computed in each epoch"
    assert not (student.path / "layers.npz").exists(), "one network has nothing to be compared with"


def test_a_costly_metric_selects_the_epoch_where_it_is_named(phantom_root: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": 2, "select.metric": "hd95"}
    run = train("student", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=settings)
    history = pd.read_csv(run.path / "history.csv")
    assert run.metrics.selected_epoch == history["validation/student/hd95"].idxmin() + 1, "lower is better"
    assert "validation/student/nsd_2px" not in history


def test_kept_masks_are_those_of_the_rows(pair: Run) -> None:
    rows = pd.read_csv(pair.path / "predictions.csv", dtype={"id": str}).query("part == 'test'").set_index("id")
    with np.load(pair.path / "overlays.npz") as held:
        assert held["networks"].tolist() == ["student_1", "student_2", "teacher", "ensemble"]
        truth, masks = held["truth"] > 0, dict(zip(held["networks"].tolist(), held["masks"] > 0, strict=True))
        for name, drawn in masks.items():
            result = rows[rows["network"] == name].loc[held["ids"]]
            assert (truth.sum((1, 2)) == result["target_pixels"]).all()
            assert (drawn.sum((1, 2)) == result["predicted_pixels"]).all()
            either = (truth | drawn).sum((1, 2))
            assert np.where(either, (truth & drawn).sum((1, 2)) / either, 1) == pytest.approx(result["iou"].to_numpy())
        assert np.array_equal(masks["ensemble"], masks["student_1"] | masks["student_2"])
        assert sorted(held["ids"]) == sorted(rows.index.unique()), "of every test image, so that any can be shown"


def test_layers_are_compared_two_by_two(pair: Run) -> None:
    networks, _ = finished_networks(pair)
    catalog = pair.catalog()
    rows = np.flatnonzero(pair.split.set_index("id")["part"].reindex(catalog.table["id"]).to_numpy() == "test")
    loader = Loader(open_pixels(catalog, 32, masks=True), catalog.labels, rows)
    result = compare_networks(networks, loader, "teacher")
    assert list(result) == [("teacher", "student_1"), ("teacher", "student_2"), ("student_1", "student_2")]
    images = [batch.images.float() / 255 for batch in loader.batches([np.arange(len(rows))])]
    literal = compare_layers(networks["teacher"], networks["student_2"], images)
    same = result["teacher", "student_2"]
    assert (same.rows, same.columns, same.images) == (literal.rows, literal.columns, len(rows))
    assert same.values == pytest.approx(literal.values, abs=1e-4, nan_ok=True)
    with np.load(pair.path / "layers.npz") as held:
        assert held["pairs"].tolist() == [list(item) for item in result]
        assert held["values_1"] == pytest.approx(same.values, abs=1e-4, nan_ok=True)
    assert compare_networks({"student": networks["student_1"]}, loader) == {}


# --- its report -----


def test_report_of_a_student(student: Run) -> None:
    text = said_by(student.report)
    test = student.metrics.networks["student"].test
    for name in ("iou_pooled", "dice", "iou_with_target", "pixel_accuracy"):
        assert f"{test[name]:.3f}" in text
    assert "masks of lesion" in text
    page = student.report.read_text(encoding="utf-8")
    for section in ("sizes", "overlays", "cost", "training"):
        assert f'id="{section}"' in page
    for section in ("classes", "calibration", "layers"):
        assert f'id="{section}"' not in page
    assert "agrees with teacher" not in text


def test_report_of_two_students_and_a_teacher(pair: Run) -> None:
    text = said_by(pair.report)
    assert "ensemble: union of the masks of student_1 and student_2" in text
    assert "costs what its members cost together" in text
    fidelity = pair.metrics.networks["student_2"].test["fidelity"]
    assert f"student_2 agrees with its teacher on {fidelity['agreement'] * 100:.1f}" in text
    of_union = pair.metrics.networks["ensemble"].test["fidelity"]
    assert f"ensemble agrees with its teacher on {of_union['agreement'] * 100:.1f} % of the pixels of" in text
    assert (of_union["to"], of_union["kl"], text.count("KL divergence from the teacher")) == ("teacher", None, 2)
    assert "ensemble is" in text
    for pair_of in ("teacher and student_1", "teacher and student_2", "student_1 and student_2"):
        assert pair_of in text
    sizes = [float(item) for item in re.findall(r"IoU (\d\.\d\d)", text)]
    assert len(sizes) > 4 * 8
    assert "selected by validation/student_1 + student_2/iou_pooled" in text


def test_runs_on_one_split_show_the_same_images(pair: Run, student: Run, tmp_path: Path) -> None:
    out = write_report([student.path, pair.path], tmp_path / "both.html")
    section = out.read_text(encoding="utf-8")
    section = section[section.index('id="overlays"') : section.index('id="layers"')]
    rows = pd.concat(pd.read_csv(run.path / "predictions.csv", dtype={"id": str}) for run in (student, pair))
    chosen = choose_cases(rows.query("part == 'test'"))
    shown = re.findall(r"<figcaption>([^:]*): ([^ <]+)", section)
    assert [(why.lower(), name) for why, name in shown] == [(case.why, case.id) for case in chosen]
    assert Counter(case.why for case in chosen)["worst"] == 4
    assert section.count("<b>pair · ensemble</b>") == section.count("<b>student</b>") == len(shown)
    tested = rows.query("part == 'test'")["id"].nunique()
    assert "2 median and 4 worst by the mean IoU over the 5 networks shown" in section
    assert f"of all {tested} test images." in section


def test_runs_of_different_tasks_are_refused(student: Run, tmp_path: Path) -> None:
    other = write_fake_run(tmp_path / "classes", ALONE)
    with pytest.raises(PreceptorError, match=r"student is a run of segmentation, but .*classes is one of classif"):
        write_report([other, student.path], tmp_path / "r.html")


@pytest.mark.parametrize("damage", ["broken", "foreign"])
@pytest.mark.parametrize("name", ["overlays.npz", "layers.npz"])
def test_pictures_that_do_not_fit_are_named(pair: Run, tmp_path: Path, name: str, damage: str) -> None:
    run = shutil.copytree(pair.path, tmp_path / "run")
    if damage == "broken":
        (run / name).write_bytes(b"PK")
    else:
        np.savez(run / name, ids=np.array(["a"]))
    with pytest.raises(PreceptorError, match=re.escape(str(run / name))) as caught:
        write_report([run], tmp_path / "r.html")
    assert "preceptor evaluate" in caught.value.remedy


def test_several_classes_have_a_table_and_need_their_columns(student: Run, tmp_path: Path) -> None:
    run = shutil.copytree(student.path, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["classes"] = ["background", "lesion", "border"]
    of_lesion = metrics["networks"]["student"]["test"]["per_class"]["lesion"]
    metrics["networks"]["student"]["test"]["per_class"]["border"] = {**of_lesion, "iou_pooled": 0.4321, "images": 17}
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(PreceptorError, match="lacks the column iou_lesion, target_pixels_lesion"):
        load_run(run)
    table = pd.read_csv(run / "predictions.csv", dtype={"id": str})
    for name in ("lesion", "border"):
        for kind in ("iou", "target_pixels", "predicted_pixels"):
            table[f"{kind}_{name}"] = table[kind]
    table.to_csv(run / "predictions.csv", index=False)
    text = said_by(write_report([run], tmp_path / "r.html"))
    assert "Class by class" in text
    assert "border 17 0.432" in text


def test_an_online_teacher_is_called_so(pair: Run, tmp_path: Path) -> None:
    run = shutil.copytree(pair.path, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["networks"]["teacher"]["role"] = "trained"
    (run / "metrics.json").write_text(json.dumps(metrics))
    kinds = {entry.name: entry.kind for entry in entries_of([load_run(run)])}
    assert kinds == {"student_1": "taught", "student_2": "taught", "teacher": "online teacher", "ensemble": "ensemble"}


# --- other commands -----


def test_evaluate_finds_the_same_and_gives_what_is_missing(pair: Run, tmp_path: Path) -> None:
    run = shutil.copytree(pair.path, tmp_path / "run")
    for name in ("overlays.npz", "layers.npz"):
        (run / name).unlink()
    assert {"overlays.npz", "layers.npz"} <= set(preceptor.evaluate(run, out=tmp_path / "out").added)
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for name, result in pair.metrics.networks.items():
        numbers = {key: value for key, value in result.test.items() if isinstance(value, float)}
        assert {"hd95", "nsd_2px"} < set(numbers)
        assert {key: again[name][key] for key in numbers} == pytest.approx(numbers, rel=1e-6)
    with np.load(run / "overlays.npz") as held, np.load(pair.path / "overlays.npz") as first:
        assert all(np.array_equal(held[name], first[name]) for name in first.files)
    assert preceptor.evaluate(run, part="validation").added == ()


def test_explain_refuses_masks(student: Run) -> None:
    with pytest.raises(PreceptorError, match="Grad-CAM explains classes") as caught:
        explain(student.path)
    assert "preceptor report" in caught.value.remedy


def images_of(folder: Path) -> list[Path]:
    folder.mkdir()
    draw = np.random.default_rng(0)
    files = [folder / "wide.png", folder / "grey.jpg"]
    Image.fromarray(draw.integers(0, 255, (40, 70, 3), dtype=np.uint8)).save(files[0])
    Image.fromarray(draw.integers(0, 255, (33, 21), dtype=np.uint8)).save(files[1])
    return files


@pytest.mark.parametrize("classes", [("lesion",), ("disc", "cup")])
def test_written_masks_are_of_the_images_size(classes: tuple[str, ...], tmp_path: Path) -> None:
    files = images_of(tmp_path / "images")
    broken = tmp_path / "broken.png"
    broken.write_bytes(files[0].read_bytes()[:50])
    table, failures = write_masks(TorchPredictor(segmenter(*classes)), [*files, broken], tmp_path / "out")
    assert list(failures) == [broken]
    assert table["mask"].tolist() == ["wide.png", "grey.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grey.png", "masks.csv", "wide.png"]
    for (_, row), size in zip(table.iterrows(), [(70, 40), (21, 33)], strict=True):
        with Image.open(tmp_path / "out" / row["mask"]) as mask:
            assert (mask.size, mask.mode) == (size, "L")
            pixels = np.asarray(mask)
        values = [255] if len(classes) == 1 else [1, 2]
        assert set(np.unique(pixels)) <= {0, *values}
        assert len(np.unique(pixels)) > 1, "else the test would show nothing"
        for name, value in zip(classes, values, strict=True):
            assert row[name] == pytest.approx((pixels == value).mean())
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "masks.csv"), table, atol=1e-6)


def test_predict_needs_a_folder_and_names_of_their_own(student: Run, tmp_path: Path) -> None:
    files = images_of(tmp_path / "images")
    for out in (None, tmp_path / "masks.csv"):
        with pytest.raises(PreceptorError, match="folder") as caught:
            preceptor.predict(student.path, files, out=out)
        assert caught.value.expected == "--out FOLDER"
    twin = shutil.copy(files[0], tmp_path / "wide.tif")
    with pytest.raises(PreceptorError, match="several images are called wide"):
        preceptor.predict(student.path, [*files, Path(twin)], out=tmp_path / "out")
    assert not (tmp_path / "out").exists(), "nothing was written over anything"
    preceptor.predict(student.path, files, out=tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "masks.csv")) == 2


def lesion_photo(path: Path, shade: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 20), (shade, 60, 60)).save(path)
    return path


def listed(folder: Path) -> list[str]:
    return pd.read_csv(folder / "masks.csv")["file"].tolist()


def test_a_mask_of_another_image_is_not_replaced(student: Run, tmp_path: Path) -> None:
    first, second = lesion_photo(tmp_path / "a" / "x.png", 10), lesion_photo(tmp_path / "b" / "x.png", 200)
    out = tmp_path / "out"
    preceptor.predict(student.path, first, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    third = lesion_photo(tmp_path / "b" / "y.png", 90)
    with pytest.raises(PreceptorError, match=f"the mask of {first}; that of {second}"):
        preceptor.predict(student.path, [third, second], out=out)
    shutil.copy(first, second)
    with pytest.raises(PreceptorError, match="the mask of"):  # its copy is another image too
        preceptor.predict(student.path, second, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before, "nothing was written"


def test_a_relative_path_does_not_hide_another_image(
    student: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, shade in (("a", 10), ("b", 200)):
        lesion_photo(tmp_path / folder / "x.png", shade)
    monkeypatch.chdir(tmp_path / "a")
    preceptor.predict(student.path, "x.png", out="../out")
    monkeypatch.chdir(tmp_path)
    preceptor.predict(student.path, "a/x.png", out="out")
    assert listed(tmp_path / "out") == ["a/x.png"], "the same image from elsewhere"
    preceptor.predict(student.path, "a/x.png", out="out")
    monkeypatch.chdir(tmp_path / "a")
    preceptor.predict(student.path, "x.png", out="../out")
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(PreceptorError, match="the mask of an image of other content"):
        preceptor.predict(student.path, "x.png", out="../out")


def test_rows_of_earlier_masks_stay(student: Run, tmp_path: Path) -> None:
    first, second = lesion_photo(tmp_path / "a" / "x.png", 10), lesion_photo(tmp_path / "b" / "y.png", 200)
    out = tmp_path / "out"
    preceptor.predict(student.path, first, out=out)
    row = (out / "masks.csv").read_text().splitlines()[1]
    result = preceptor.predict(student.path, second, out=out)
    assert result.table["file"].tolist() == [str(second)]
    assert listed(out) == [str(first), str(second)]
    assert (out / "masks.csv").read_text().splitlines()[1] == row
    preceptor.predict(student.path, [second, first], out=out)
    assert sorted(listed(out)) == [str(first), str(second)], "each image has one row"


def test_masks_of_two_networks_are_not_mixed(tmp_path: Path) -> None:
    photos = [lesion_photo(tmp_path / "photos" / name, 10) for name in ("x.png", "y.png")]
    torch.manual_seed(0)
    ours, theirs = TorchPredictor(segmenter("lesion")), TorchPredictor(segmenter("lesion"))
    with torch.no_grad():
        next(theirs.network.parameters()).add_(1)
    out = tmp_path / "out"
    write_masks(ours, photos[:1], out)
    for other in (theirs, TorchPredictor(segmenter("disc", "cup"))):
        with pytest.raises(PreceptorError, match=r"holds masks of another network, such as x\.png"):
            write_masks(other, photos[1:], out)
        assert listed(out) == [str(photos[0])]
    write_masks(theirs, photos, out)
    assert listed(out) == list(map(str, photos)), "all masks of the first network are replaced"
