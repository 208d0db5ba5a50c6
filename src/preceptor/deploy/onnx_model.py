"""An exported network on ONNX Runtime. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preceptor.deploy.manifest import Manifest, file_record, read_manifest
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require

Precision = Literal["float", "int8"]
MODEL_FILES: dict[str, str] = {"float": "model.onnx", "int8": "model.int8.onnx"}


class OnnxModel:
    """A folder that ``preceptor export`` wrote, ready to predict.

    Args:
        folder: of the export.
        precision: ``float``, or ``int8`` where the export holds an accepted int8 model.
        threads: of ONNX Runtime; as many as it sees fit unless given.

    Attributes:
        manifest: the contents of ``export.json``.
        classes: class codes in the order of the probabilities; of masks the background first.
        draws_masks: whether it predicts a mask instead of classes.
        thresholds: of each label, where it predicts several per image.
        weights_hash: SHA-256 of the model's file.

    Raises:
        PreceptorError: no export, no int8 model in it, a file that is not the one exported, or no ONNX Runtime.
    """

    def __init__(self, folder: str | Path, precision: Precision = "float", threads: int | None = None) -> None:
        folder = Path(folder)
        self.manifest = read_manifest(folder)
        self.classes = self.manifest.codes
        self.draws_masks = TASKS[self.manifest.task].needs_masks
        self.thresholds = tuple(item.threshold for item in self.manifest.thresholds) or None
        self.session = open_session(_model_file(folder, self.manifest, precision), threads)
        self.weights_hash = self.manifest.files[MODEL_FILES[precision]].sha256
        self.outputs = [output.name for output in self.session.get_outputs()]
        self._check_classes(folder)

    def _check_classes(self, folder: Path) -> None:
        """Raise where the model's outputs and the classes of ``export.json`` differ in number."""
        given = next((output.shape[1] for output in self.session.get_outputs() if output.name == "probabilities"), None)
        if given != len(self.classes) or len(self.thresholds or self.classes) != len(self.classes):
            raise PreceptorError(
                f"{folder}: export.json has {len(self.classes)} classes and {len(self.thresholds or ())} thresholds, "
                f"the model gives {given} probabilities",
                remedy="copy the whole folder again, or export the run again",
            )

    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        """All outputs for images (B, H, W, 3), uint8 RGB of one size: see ``export.json`` and the model card."""
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images of shape {images.shape} and type {images.dtype}; expected (B, H, W, 3) uint8")
        return dict(zip(self.outputs, self.session.run(None, {"images": images}), strict=True))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
        """Of each image (H, W, 3) the probabilities (C,), or of U-Nets the mask (H, W) of class indices."""
        output = "mask" if self.draws_masks else "probabilities"
        return [self.session.run([output], {"images": image[None]})[0][0] for image in images]


def open_session(model: Path | bytes, threads: int | None = None):  # type: ignore[no-untyped-def]
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Raises:
        PreceptorError: ONNX Runtime is not installed, or cannot read the model.
    """
    require("inference", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own errors have no common type that is public
        name = "the model" if isinstance(model, bytes) else model
        raise PreceptorError(
            f"{name}: ONNX Runtime cannot read it ({str(error).splitlines()[0]})", remedy="export the run again"
        ) from None


def _model_file(folder: Path, manifest: Manifest, precision: Precision) -> Path:
    if precision not in MODEL_FILES:
        raise PreceptorError(f"--precision {precision}", expected=f"one of {', '.join(MODEL_FILES)}")
    name = MODEL_FILES[precision]
    if name not in manifest.files:
        raise PreceptorError(
            f"{folder}: holds no int8 model", expected="--precision float",
            remedy="export the run again with --int8; if int8 was refused there, export.json says why",
        )  # fmt: skip
    path = folder / name
    if not path.is_file():
        raise PreceptorError(f"{path}: is missing", remedy="copy the whole folder again")
    if file_record(path) != manifest.files[name]:
        raise PreceptorError(
            f"{path}: is not the file that was exported (its SHA-256 differs from export.json)",
            remedy="copy the whole folder again, or export the run again",
        )
    return path
