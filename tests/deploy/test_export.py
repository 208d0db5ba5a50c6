"""An exported folder: what it computes, what it says of itself, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional as F

from preceptor import export, load
from preceptor.data.images import resize
from preceptor.deploy.export import write
from preceptor.deploy.export.activation_map import activation_weights, class_map
from preceptor.deploy.export.graph import resize_graph
from preceptor.deploy.export.networks import joint_classes, joint_masks
from preceptor.deploy.export.subject import load_subject, photos
from preceptor.deploy.manifest import read_manifest
from preceptor.deploy.onnx_model import OnnxModel, open_session
from preceptor.evaluation.ensemble import with_ensembles
from preceptor.evaluation.grad_cam import grad_cam
from preceptor.evaluation.masks import union
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError
from small_networks import classifier, images

SIZES = ((61, 83), (32, 32), (20, 90), (130, 17))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square(image: np.ndarray, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(resize(image, side).transpose(2, 0, 1)[None].copy()).float().div_(255)


# --- the graph -----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [32, 37])
def test_the_graph_resizes_as_pillow_does(size: tuple[int, int], side: int) -> None:
    image = photo(*size)
    (resized,) = open_session(resize_graph(side).SerializeToString()).run(None, {"images": image[None]})
    gap = np.abs(resized[0] * 255 - resize(image, side).transpose(2, 0, 1))
    assert gap.max() <= 2, "each direction rounds once; Pillow takes the two in the order that costs less"
    assert gap.mean() < 0.25


@pytest.mark.parametrize("size", SIZES)
def test_a_classifier_predicts_as_in_pytorch(pair: Run, exported: Path, size: tuple[int, int]) -> None:
    network, model, image = load(pair.path, "student_1"), OnnxModel(exported), photo(*size)
    with torch.no_grad():
        # The graph's own resized image, so that a tie in rounding does not count.
        (resized,) = open_session(resize_graph(32).SerializeToString()).run(None, {"images": image[None]})
        output = network(torch.from_numpy(resized))
    outputs = model.run(image[None])
    assert list(outputs) == ["probabilities", "logits", "feature_map"]
    torch.testing.assert_close(torch.from_numpy(outputs["logits"]), output.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(outputs["feature_map"]), output.feature_map, rtol=1e-4, atol=1e-5)
    tempered = (output.logits / model.manifest.calibration.temperature).softmax(1)
    torch.testing.assert_close(torch.from_numpy(outputs["probabilities"]), tempered, rtol=1e-4, atol=1e-6)


def test_a_batch_is_its_images(exported: Path) -> None:
    model = OnnxModel(exported)
    batch = np.stack([photo(40, 50, seed) for seed in range(3)])
    single = model.predict(list(batch))
    np.testing.assert_allclose(model.run(batch)["probabilities"], np.stack(single), rtol=1e-5, atol=1e-7)


def test_dynamic_axes_are_named_and_paths_stay_out(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx").graph
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [
        "batch", "height", "width", 3,
    ]  # fmt: skip
    inner = onnx.load(exported / "network.onnx").graph
    assert [dim.dim_param or dim.dim_value for dim in inner.input[0].type.tensor_type.shape.dim] == ["batch", 3, 32, 32]
    assert str(Path.home()).encode() not in (exported / "model.onnx").read_bytes()
    assert b".py" not in (exported / "network.onnx").read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_is_of_the_photos_size(unet: Run, exported_masks: Path, size: tuple[int, int]) -> None:
    model, image = OnnxModel(exported_masks), photo(*size)
    (mask,) = model.predict([image])
    assert (mask.shape, mask.dtype) == (size, np.uint8)
    with torch.no_grad():
        logits = load(unet.path)(square(image)).logits
    expected = F.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(1)[0].numpy()
    assert (mask == expected).mean() > 0.999


def test_an_ensemble_is_exported_as_one_network(pair: Run, tmp_path: Path) -> None:
    export(pair.path, out=tmp_path / "joint", network="ensemble")
    model, image = OnnxModel(tmp_path / "joint"), photo(32, 32)  # 32 px: nothing is resized
    outputs = model.run(image[None])
    assert list(outputs) == ["probabilities", "logits"]
    with torch.no_grad():
        members = {
            name: load(pair.path, name)(square(image)).logits.softmax(1).numpy() for name in ("student_1", "student_2")
        }
    expected = with_ensembles(members, {"joint": list(members)})["joint"]
    np.testing.assert_allclose(np.exp(outputs["logits"]), expected, rtol=1e-4)
    assert model.manifest.source.members == ["student_1", "student_2"]
    assert model.manifest.activation_map_reason == "an ensemble has no feature map of its own"


def test_joint_probabilities_are_those_of_the_evaluation() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 5, 4, generator=draw).softmax(2)
    members = {str(index): scores[index].numpy() for index in range(3)}
    expected = with_ensembles(members, {"joint": list(members)})["joint"]
    np.testing.assert_allclose(joint_classes(scores).numpy(), expected, rtol=1e-6)
    for classes in (2, 4):
        pixels = torch.randn(3, 2, classes, 9, 9, generator=draw).softmax(2)
        joint = joint_masks(pixels)
        assert (joint.argmax(1) == union(list(pixels))).all()
        torch.testing.assert_close(joint.sum(1), torch.ones(2, 9, 9))


# --- activation maps -----


def test_activation_maps_equal_grad_cam_where_the_head_is_linear() -> None:
    network, batch = classifier(side=64).eval(), images(3, 64)
    record, _ = activation_weights(network, images(2, 64, seed=1))
    assert record is not None
    with torch.no_grad():
        feature_map = network(batch).feature_map
    assert feature_map.shape[2:] == (2, 2)
    for index, weights in enumerate(record.weights):
        ours = class_map(feature_map, torch.tensor(weights))
        theirs = grad_cam(network, batch, torch.full((3,), index))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_maps_of_one_cell_get_no_activation_map(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert manifest.activation_map is None
    assert manifest.activation_map_reason == "the last feature map has 1 × 1 cell at 32 px: too few to show a place"


def test_heads_that_are_not_linear_get_no_activation_map() -> None:
    weights, reason = activation_weights(classifier("test_vit", 160).eval(), images(2, 160))
    assert weights is None
    assert "feature map" in reason


# --- export.json -----


def test_the_manifest_says_what_the_folder_is(pair: Run, exported: Path) -> None:
    manifest = read_manifest(exported)
    assert manifest.codes == tuple(pair.metrics.classes)
    names = {item.code: item.name for item in manifest.classes}
    assert names["mel"] == "synthetic melanoma, renamed"
    assert names["nv"] == "synthetic melanocytic nevus"
    assert set(manifest.files) == {"model.onnx", "network.onnx"}
    assert manifest.source.split_hash == pair.environment.split_hash
    assert manifest.differences.count == 32
    assert manifest.differences.logits_max < 1e-4
    assert "not for diagnosis" in manifest.intended_use
    assert str(pair.path.parent) not in (exported / "export.json").read_text()


def test_the_temperature_lowers_the_likelihood_loss_of_the_validation_part(exported: Path) -> None:
    calibration = read_manifest(exported).calibration
    assert calibration.fitted_on == "validation"
    assert calibration.after["validation"].nll <= calibration.before["validation"].nll
    assert set(calibration.before) == set(calibration.after) == {"validation", "test"}


def test_data_that_changed_are_replaced_by_random_images_and_it_is_said(pair: Run, tmp_path: Path) -> None:
    run = shutil.copytree(pair.path, tmp_path / "run")
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["fingerprint"] = "0" * 64
    (run / "environment.json").write_text(json.dumps(environment))
    made_up, description = photos(load_subject(run, "student_1"), 32)
    assert description.startswith("4 random images, since the run's data cannot be read")
    assert len({image.shape for image in made_up}) == 4, "of several sizes"


# --- refusals -----


def test_what_is_no_finished_run_or_network_is_refused(pair: Run, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"recipe\.yaml is missing"):
        export(tmp_path, out=tmp_path / "out")
    with pytest.raises(PreceptorError, match="has no network called") as caught:
        export(pair.path, out=tmp_path / "out", network="teacher")
    assert caught.value.expected == "one of student_1, student_2, ensemble"
    with pytest.raises(PreceptorError, match="class name for 'melanoma'"):
        export(pair.path, out=tmp_path / "out", network="student_1", class_names={"melanoma": "x"})
    with pytest.raises(PreceptorError, match="class name for 'melanoma'"):
        export(pair.path, out=tmp_path / "out", network="student_1", class_names=["melanoma=x"])
    for text in ("mel", "mel=", "=mel"):
        with pytest.raises(PreceptorError, match=f"'class_names' {text}"):
            export(pair.path, out=tmp_path / "out", network="student_1", class_names=[text])
    assert not (tmp_path / "out").exists()


def test_a_class_with_an_equals_sign_can_be_named(pair: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a spreadsheet's formula that became a label."""
    given: list[dict[str, str]] = []

    def stop(reader: str, codes: list[str], names: dict[str, str]) -> list[str]:
        given.append(names)
        raise PreceptorError("far enough")

    monkeypatch.setattr(write, "full_names", stop)
    subject = replace(load_subject(pair.path, "student_1"), classes=("=SUM(1)", "a=b", "mel"))
    monkeypatch.setattr(write, "load_subject", lambda *_: subject)
    texts = ["=SUM(1)=good", "a=b=c", "mel=x = y"]
    with pytest.raises(PreceptorError, match="far enough"):
        export(pair.path, out=tmp_path / "out", network="student_1", class_names=texts)
    assert given == [{"=SUM(1)": "good", "a=b": "c", "mel": "x = y"}]


def test_nothing_is_overwritten_unasked(pair: Run, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(PreceptorError, match="holds other files"):
        export(pair.path, out=tmp_path, network="student_1", overwrite=True)
    with pytest.raises(PreceptorError, match="holds an export already") as caught:
        export(pair.path, out=exported, network="student_1")
    assert "--overwrite" in caught.value.remedy


def test_the_current_folder_is_not_replaced(pair: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (".", ".."):
        with pytest.raises(PreceptorError, match=r"'out' \.{1,2}: holds the current folder"):
            export(pair.path, out=out, network="student_1", overwrite=True)


def test_changed_and_missing_files_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    with pytest.raises(PreceptorError, match="holds no int8 model"):
        OnnxModel(folder, "int8")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(PreceptorError, match="is not the file that was exported"):
        OnnxModel(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(PreceptorError, match="is missing"):
        OnnxModel(folder)
    for damage, message in (("{", "is damaged"), ('{"format": 2}', "is of format 2"), ('{"format": 1}', "is damaged")):
        (folder / "export.json").write_text(damage)
        with pytest.raises(PreceptorError, match=message):
            OnnxModel(folder)
