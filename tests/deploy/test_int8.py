"""Quantised models: chosen on the validation part, measured on the test part, refused where they lose too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from preceptor import export
from preceptor.cli.export import int8_summary
from preceptor.deploy import quantise
from preceptor.deploy.export import int8
from preceptor.deploy.export.int8 import CALIBRATION_IMAGES
from preceptor.deploy.export.subject import load_subject
from preceptor.deploy.export.subject import photos as images_of
from preceptor.deploy.manifest import Quantised, read_manifest
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError

TWO = {name: quantise.VARIANTS[name] for name in ("rounded by inputs", "nearest integers")}


@pytest.fixture(scope="module")
def exported_int8(pair: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose int8 model is accepted whatever it loses."""
    out = tmp_path_factory.mktemp("int8") / "student"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "VARIANTS", TWO)
        export(pair.path, out=out, network="student_1", int8=True, bound=100.0)
    return out


def test_weights_are_8_bit_integers_per_channel(exported_int8: Path) -> None:
    graph = onnx.load(exported_int8 / "network.int8.onnx").graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    stored = [
        tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(stored) > 1
    for tensor in stored:
        scale = weights[tensor.name.replace("_quantized", "_scale")]
        assert list(scale.dims) == [tensor.dims[0]], "one scale for each output channel"
        assert np.abs(onnx.numpy_helper.to_array(tensor)).max() <= 64, "7 bits, so that no processor overflows"


def test_the_record_agrees_with_what_is_measured_again(pair: Run, exported_int8: Path) -> None:
    record = read_manifest(exported_int8).quantised
    assert record is not None
    assert record.accepted
    assert set(record.variants) == set(TWO)
    best = max(record.variants.values(), key=lambda reached: reached["agreement"])
    assert record.variants[record.variant]["agreement"] == best["agreement"]
    assert record.float_value == pytest.approx(pair.metrics.networks["student_1"].test["balanced_accuracy"])
    assert record.loss == pytest.approx(record.float_value - record.int8_value)
    assert record.loss_interval[0] <= record.loss_interval[1]
    parts = pair.metrics.parts
    assert (record.images, record.calibrated_on) == (parts["test"], min(CALIBRATION_IMAGES, parts["train"]))
    assert record.bytes["int8"] < record.bytes["float"] / 2


def test_the_int8_model_predicts_nearly_as_the_float_one(pair: Run, exported_int8: Path) -> None:
    photos, _ = images_of(load_subject(pair.path, "student_1"), 16)
    in_float, in_int8 = (OnnxModel(exported_int8, precision).predict(photos) for precision in ("float", "int8"))
    gap = np.abs(np.stack(in_float) - np.stack(in_int8))
    assert 0 < gap.max() < 0.1


def test_a_model_that_loses_too_much_is_refused_with_its_numbers(
    pair: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "VARIANTS", {"rounded by inputs": TWO["rounded by inputs"]})
    manifest = export(pair.path, out=tmp_path / "out", network="student_1", int8=True, bound=-100.0)
    assert manifest.quantised is not None
    assert not manifest.quantised.accepted
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".onnx") == [
        "model.onnx", "network.onnx",
    ]  # fmt: skip
    text = int8_summary(manifest.quantised)
    assert "REFUSED, the float model stays" in text
    assert "at most -100.00 are accepted" in text
    with pytest.raises(PreceptorError, match="holds no int8 model"):
        OnnxModel(tmp_path / "out", "int8")


def test_masks_are_quantised_and_measured_by_their_pixels(
    unet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "VARIANTS", {"rounded by inputs": TWO["rounded by inputs"]})
    record = export(unet.path, out=tmp_path / "out", int8=True, bound=100.0).quantised
    assert isinstance(record, Quantised)
    assert record.metric == "iou_pooled"
    assert record.float_value == pytest.approx(unet.metrics.networks["student"].test["iou_pooled"])
    (mask,) = OnnxModel(tmp_path / "out", "int8").predict([np.zeros((20, 30, 3), np.uint8)])
    assert mask.shape == (20, 30)
