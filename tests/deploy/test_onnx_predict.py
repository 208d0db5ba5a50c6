"""``preceptor predict`` on an export: the same answers as from the run, without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from light_install import LIGHT_INSTALL
from preceptor.api.evaluation import evaluate
from preceptor.api.prediction import predict
from preceptor.cli.console import print_predictions
from preceptor.data.images import read_image
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.data.readers import read
from preceptor.data.split import parts_of
from preceptor.deploy.manifest import read_manifest
from preceptor.deploy.onnx_evaluate import evaluate_export
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, PreceptorWarning

_PREDICT_AND_EVALUATE = """
import preceptor
folder, photos, root, learned_ids, out = sys.argv[1:]
preceptor.predict(folder, photos, out=f"{out}/predictions.csv")
result = preceptor.evaluate(folder, data="phantom", root=root, exclude=learned_ids, out=f"{out}/figures")
assert result.metrics["exported"]["cases"] > 0
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the network's own size, so that nothing is resized."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for index in range(3):
        pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_probabilities_are_those_of_the_run_at_the_temperature(
    pair: Run, exported: Path, photos: Path, tmp_path: Path
) -> None:
    predict(exported, photos, out=tmp_path / "onnx.csv")
    predict(pair.path, photos, network="student_1", out=tmp_path / "torch.csv")
    ours, theirs = (pd.read_csv(tmp_path / name) for name in ("onnx.csv", "torch.csv"))
    assert ours["file"].tolist() == theirs["file"].tolist()
    assert ours["predicted"].tolist() == theirs["predicted"].tolist()
    columns = list(ours.columns[2:])
    powers = theirs[columns].to_numpy() ** (1 / read_manifest(exported).calibration.temperature)
    np.testing.assert_allclose(ours[columns], powers / powers.sum(1, keepdims=True), atol=1e-4)


def test_masks_are_those_of_the_run(unet: Run, exported_masks: Path, photos: Path, tmp_path: Path) -> None:
    for source, out in ((exported_masks, "onnx"), (unet.path, "torch")):
        predict(source, photos, out=tmp_path / out)
    for index in range(3):
        ours, theirs = (np.asarray(Image.open(tmp_path / out / f"{index}.png")) for out in ("onnx", "torch"))
        assert (ours == theirs).mean() > 0.999


def test_what_is_no_mask_is_not_replaced(exported_masks: Path, photos: Path, tmp_path: Path) -> None:
    content = (photos / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(PreceptorError, match="is no mask of an earlier prediction"):
        predict(exported_masks, photos, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
    assert (tmp_path / "0.png").read_bytes() == content


def test_a_classifier_writes_no_folder(exported: Path, photos: Path, tmp_path: Path) -> None:
    for out in (photos, tmp_path):
        with pytest.raises(PreceptorError) as caught:
            predict(exported, photos, out=out)
        assert "mask" not in str(caught.value)
        assert "CSV" in caught.value.expected or ".csv" in caught.value.expected
    (notes := tmp_path / "notes").write_text("mine")
    with pytest.raises(PreceptorError, match="not a file that this command wrote"):
        predict(exported, photos, out=notes)
    assert notes.read_text() == "mine"


def test_images_of_formats_that_are_not_read_are_counted(exported: Path, photos: Path, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    (phone / "2024").mkdir(parents=True)
    shutil.copy(photos / "0.png", phone / "a.png")
    left_out = ("b.HEIC", "2024/c.heic", "d.gif", "e.svg", "f.jp2")
    for name in (*left_out, "Thumbs.db", ".DS_Store", ".g.heic", "h.csv", "i.txt", "j.json"):
        (phone / name).write_bytes(b"x")
    with pytest.warns(PreceptorWarning) as caught:
        result = predict(exported, phone)
    assert result.table["file"].tolist() == [str(phone / "a.png")]
    assert len(caught) == 1
    assert "left out: 2 .heic, 1 .gif, 1 .jp2, 1 .svg;" in str(caught[0].message)
    (phone / "a.png").unlink()
    with pytest.raises(PreceptorError, match=r"holds no images that can be read, but 2 \.heic"):
        predict(exported, phone)


def test_litter_is_not_counted(exported: Path, photos: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    shutil.copy(photos / "0.png", tmp_path / "a.png")
    for name in ("Thumbs.db", ".DS_Store", ".g.heic", "h.csv", "i.txt", "j.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "@eaDir").mkdir()
    shutil.copy(photos / "0.png", tmp_path / "@eaDir" / "a.png")
    assert len(predict(exported, tmp_path).table) == 1
    assert not [warning for warning in recwarn if issubclass(warning.category, PreceptorWarning)]


def test_masks_and_blank_images_in_the_place_of_photographs_are_named(
    exported: Path, photos: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for name in ("a", "b"):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 4:20] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(tmp_path / "c.png")
    predict(exported, [photos, tmp_path])
    masks, blank = (str(warning.message) for warning in recwarn if issubclass(warning.category, PreceptorWarning))
    assert masks.startswith("2 of 6 files look like masks, not like photographs")
    assert f"{tmp_path / 'a.png'}, {tmp_path / 'b.png'};" in masks
    assert blank.startswith("1 of 6 files are of one colour throughout")
    assert blank.endswith(f": {tmp_path / 'c.png'}")


@pytest.fixture
def learned_ids(pair: Run, tmp_path: Path) -> Path:
    """The ids that the exported network has learned from or was selected by, in a file."""
    learned = pair.split.loc[pair.split["part"] != "test", "id"]
    (path := tmp_path / "seen.txt").write_text("\n".join(learned))
    return path


def test_nothing_that_trains_is_needed(
    exported: Path, pair: Run, photos: Path, phantom_root: Path, learned_ids: Path, tmp_path: Path
) -> None:
    words = [exported, photos, phantom_root, learned_ids, tmp_path]
    subprocess.run([sys.executable, "-c", LIGHT_INSTALL + _PREDICT_AND_EVALUATE, *words], check=True)
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 3
    assert len(pd.read_csv(tmp_path / "figures" / "predictions.csv")) == (pair.split["part"] == "test").sum()


def test_bad_files_are_named_after_the_others_are_predicted(exported: Path, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((photos / "0.png").read_bytes()[:100])
    result = predict(exported, [photos, broken], out=tmp_path / "out.csv")
    assert list(result.unreadable) == [broken]
    with pytest.raises(PreceptorError, match="1 of 4 files could not be read"):
        print_predictions(result)
    assert len(pd.read_csv(tmp_path / "out.csv")) == 3


def test_dicom_files_are_predicted_as_they_are_shown(exported: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from small_dicom import SECRET, write

    grey = np.random.default_rng(1).integers(0, 4096, (32, 32)).astype(np.uint16)
    window = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    scan = write(tmp_path / "scan.dcm", grey, **window)
    Image.fromarray(read_image(scan)).save(tmp_path / "shown.png")
    result = predict(exported, [scan, tmp_path / "shown.png"], out=tmp_path / "out.csv")
    ours, theirs = result.table[result.table.columns[2:]].to_numpy()
    np.testing.assert_array_equal(ours, theirs)
    assert SECRET not in (tmp_path / "out.csv").read_text()
    unclear = write(tmp_path / "unclear.dcm", grey, BitsStored=12, HighBit=11)
    assert "WindowCenter (0028,1050) is missing" in predict(exported, unclear).unreadable[unclear]
    assert not predict(exported, Path(f"{unclear}::window=2048/4096")).unreadable


def test_an_image_that_is_named_twice_has_two_rows(exported: Path, photos: Path) -> None:
    named = [photos / "0.png", photos / "1.png", photos / "0.png"]
    table = predict(exported, named).table
    assert table["file"].tolist() == [str(file) for file in named]
    pd.testing.assert_series_equal(table.iloc[0], table.iloc[2], check_names=False)


def test_an_export_answers_for_its_own_network_alone(exported: Path, photos: Path) -> None:
    assert len(predict(exported, photos, network="student_1").table) == 3
    with pytest.raises(PreceptorError, match="is an export of the network 'student_1', not of 'teacher'"):
        predict(exported, photos, network="teacher")
    with pytest.raises(PreceptorError, match="expected: one of float, int8"):
        predict(exported, photos, precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="is an ONNX model"):
        predict(exported / "model.onnx", photos)


def test_a_manifest_with_other_classes_than_the_model_is_refused(exported: Path, photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "edited")
    manifest = json.loads((folder / "export.json").read_text())
    manifest["classes"].pop()
    (folder / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(PreceptorError, match=r"has \d classes and 0 thresholds, the model gives \d probabilities"):
        predict(folder, photos)


def test_masks_may_lie_in_a_folder_with_a_dot(exported_masks: Path, photos: Path, tmp_path: Path) -> None:
    assert predict(exported_masks, photos, out=tmp_path / "masks_v1.2").masks
    with pytest.raises(PreceptorError, match="is a file, or named like one: this network draws masks"):
        predict(exported_masks, photos, out=tmp_path / "masks.csv")
    twice = predict(exported_masks, [photos / "0.png", photos / "0.png"], out=tmp_path / "twice")
    assert twice.table["mask"].tolist() == ["0.png"]


def test_a_precision_is_of_exports(pair: Run, photos: Path) -> None:
    with pytest.raises(PreceptorError, match="is not an export"):
        predict(pair.path, photos, network="student_1", precision="int8")


@pytest.mark.parametrize(
    ("run", "folder", "network"), [("pair", "exported", "student_1"), ("unet", "exported_masks", "student")]
)
def test_figures_are_those_of_the_run(run: str, folder: str, network: str, request: pytest.FixtureRequest) -> None:
    trained: Run = request.getfixturevalue(run)
    catalog = trained.catalog()
    rows = np.flatnonzero(parts_of(trained.split, catalog.table["id"]) == "test")
    figures, predictions = evaluate_export(OnnxModel(request.getfixturevalue(folder)), catalog, rows, part="test")
    expected = trained.metrics.networks[network].test
    for key in ("accuracy", "balanced_accuracy", "iou_pooled", "dice"):
        if key in expected:
            assert figures[key] == pytest.approx(expected[key], abs=1e-3)
    assert predictions["id"].tolist() == catalog.table["id"].iloc[rows].tolist()


def test_images_without_a_label_are_not_counted(exported: Path, pair: Run) -> None:
    catalog = pair.catalog()
    table = catalog.table.assign(label=catalog.table["label"].mask(catalog.table.index >= 5, ""))
    figures, _ = evaluate_export(OnnxModel(exported), replace(catalog, table=table), part="test")
    assert figures["cases"] == 5


def test_data_of_other_classes_are_refused(exported: Path, pair: Run) -> None:
    catalog = replace(pair.catalog(), classes=("nv", "mel"))
    with pytest.raises(PreceptorError, match="the export predicts akiec"):
        evaluate_export(OnnxModel(exported), catalog, part="test")


def test_evaluate_takes_an_export_and_needs_data(
    exported: Path, pair: Run, phantom_root: Path, learned_ids: Path, tmp_path: Path
) -> None:
    with pytest.raises(PreceptorError, match="has no data of its own"):
        evaluate(exported)
    result = evaluate(exported, data="phantom", root=phantom_root, exclude=learned_ids, out=tmp_path / "out")
    assert set(result.metrics) == {"exported"}
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["id"]) == list(
        pair.split.query("part == 'test'")["id"]
    )
    assert "does not know which images its network learned from (run " in result.notes[0]
    assert len(result.notes) == 1, "every image has a label"


def test_the_data_set_of_its_run_is_no_test_of_an_export(exported: Path, phantom_root: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"learned from images of this data set[\s\S]*'exclude' FILE"):
        evaluate(exported, data="phantom", root=phantom_root)
    moved = shutil.copytree(phantom_root, tmp_path / "moved")
    with pytest.raises(PreceptorError, match="learned from images of this data set"):
        evaluate(exported, data="phantom", root=moved)
    left_out = read("phantom", phantom_root, {}).table["id"].tolist()[:3]
    copy = shutil.copytree(exported, tmp_path / "copy")
    manifest = json.loads((copy / "export.json").read_text())
    manifest["source"]["data"]["fingerprint"] = read("phantom", phantom_root, {}).without(left_out).fingerprint()
    (copy / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(PreceptorError, match="learned from images of this data set"):  # trained with the same --exclude
        evaluate(copy, data="phantom", root=phantom_root, exclude=left_out)
    write_phantom(tmp_path / "other", Phantom(images=40, size=32, seed=9))
    assert evaluate(exported, data="phantom", root=tmp_path / "other").metrics["exported"]["cases"] == 40
