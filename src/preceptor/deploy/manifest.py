"""``export.json``: what an exported folder holds, where it came from and what was measured. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

MANIFEST = "export.json"
CARD = "README.md"
FORMAT = 1
#: What a network predicts of an image: one class, several labels, or a mask (:attr:`preceptor.tasks.Task.target`).
Target = Literal["class", "labels", "mask"]


class Record(BaseModel):
    """Refuses keys that it does not have, so that a file of a newer format is not half understood."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassName(Record):
    """A class: ``code`` as in the data, ``name`` in full words."""

    code: str
    name: str


class FileRecord(Record):
    """Size and SHA-256 of a file of the folder."""

    bytes: int
    sha256: str


class Difference(Record):
    """The largest and the mean absolute difference between PyTorch and the exported graph, on some images."""

    images: str = Field(description="which images, in words")
    count: int
    resize_max: float = Field(description="grey levels between Pillow's resized image and the graph's, at most")
    resize_changed: float = Field(description="share of pixel values that differ at all")
    logits_max: float = Field(description="of the network alone, given the same square images")
    probabilities_max: float = Field(description="from the photo on")
    same_prediction: float = Field(description="share of images, pixels or labels with the same prediction")


class ActivationMap(Record):
    """Weights w (C × K) of a class activation map: ReLU(Σₖ w[c][k] · feature_map[k]), divided by its maximum.

    It equals Grad-CAM where the logits are linear in the mean of the feature map over places.
    """

    weights: list[list[float]]
    difference: float = Field(description="largest difference from Grad-CAM, both in [0, 1]")


class CalibrationFigures(Record):
    """Mean negative log-likelihood (nats) and expected calibration error (15 bins) of one part."""

    images: int
    nll: float
    calibration_error: float


class Calibration(Record):
    """Temperature scaling: logits are divided by ``temperature``, which minimises the likelihood loss of a part.

    ``before`` and ``after`` are by part; the temperature was fitted on ``fitted_on`` alone. Where an image has several
    labels, every known one is a case of its own, and one temperature serves all.
    """

    temperature: float
    fitted_on: str | None
    reason: str = Field(default="", description="why nothing was fitted, where nothing was")
    before: dict[str, CalibrationFigures] = {}
    after: dict[str, CalibrationFigures] = {}


class LabelRates(Record):
    """How often a label is predicted where it is present (sensitivity), and not where it is absent (specificity)."""

    positives: int
    negatives: int
    sensitivity: float | None
    specificity: float | None


class LabelThreshold(Record):
    """The probability from which on a label is predicted, and its rates there by part.

    It maximises sensitivity + specificity − 1 (Youden) on the validation part; 0.5 where that part has not both kinds.
    """

    threshold: float
    chosen: bool
    rates: dict[str, LabelRates]


class Quantised(Record):
    """The int8 model against the float one on the test part.

    ``loss`` is the float model's headline figure less the int8 model's, in its own unit, with a 95 % interval (paired
    bootstrap over groups).
    """

    accepted: bool
    variant: str
    variants: dict[str, dict[str, float]] = Field(description="what each variant reached on the part it was chosen by")
    calibrated_on: int = Field(description="training images")
    chosen_on: str
    metric: str
    images: int
    float_value: float
    int8_value: float
    loss: float
    loss_interval: tuple[float, float]
    bound: float
    agreement: float = Field(description="share of test images (of pixels, of labels) with the same prediction")
    latency_ms: dict[str, float] = Field(description="median of one image from uint8 to probabilities, by model")
    threads: int
    bytes: dict[str, int]


class Figure(Record):
    """A metric of the test part with its 95 % interval (bootstrap over groups)."""

    key: str
    label: str
    value: float
    low: float
    high: float
    digits: int

    def shown(self, value: float) -> str:
        """A value of this metric with its number of decimals."""
        return f"{value:.{self.digits}f}"


class SubgroupFigure(Record):
    """The headline metric of the images with one value of an attribute; None where there are too few of them."""

    attribute: str
    value: str
    images: int
    figure: float | None
    low: float | None
    high: float | None


class Source(Record):
    """The run that trained the network, and its data."""

    run: str
    recipe: str
    paper: str = ""
    backbone: str
    members: list[str] = []
    start: str = ""
    data: dict[str, Any]
    split_hash: str
    seed: int | None = None
    marked: str = ""


class Manifest(Record):
    """All of ``export.json``."""

    format: Literal[1] = 1
    preceptor: str
    network: str
    task: Literal["classification", "ordinal", "multi_label", "segmentation"]
    classes: list[ClassName]
    image_size: int
    parameters: int
    opset: int
    versions: dict[str, str]
    files: dict[str, FileRecord]
    preprocessing: dict[str, str]
    calibration: Calibration
    thresholds: list[LabelThreshold] = Field(default=[], description="of each label, where there are several per image")
    differences: Difference
    activation_map: ActivationMap | None = None
    activation_map_reason: str = ""
    quantised: Quantised | None = None
    source: Source
    figures: dict[str, Any] = Field(default={}, description="the run's figures of this network on its test part")
    test_figures: list[Figure] = []
    subgroups: list[SubgroupFigure] = []
    subgroups_reason: str = ""
    intended_use: str

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(item.code for item in self.classes)


def is_export(path: Path) -> bool:
    """Whether a path is a folder that ``preceptor export`` wrote."""
    return (path / MANIFEST).is_file()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``export.json``, whole or not at all."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    # A list of numbers takes one line: an activation map has thousands of them.
    text = re.sub(r"\[[\s\d.,e+-]+\]", lambda numbers: re.sub(r"\s+", " ", numbers[0]), text)
    write_text(folder / MANIFEST, text + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read ``export.json`` of a folder.

    Raises:
        PreceptorError: there is none, it is damaged, or another version wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise PreceptorError(
            f"{folder}: holds no {MANIFEST}", expected="a folder that preceptor export wrote",
            remedy="write one with: preceptor export RUN --out FOLDER",
        )  # fmt: skip
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise PreceptorError(
                f"{path}: is of format {content.get('format')}", expected=f"format {FORMAT}",
                remedy="export the run again with this version",
            )  # fmt: skip
        return Manifest(**content)
    except (ValueError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise PreceptorError(f"{path}: is damaged ({first})", remedy="export the run again") from None


def file_record(path: Path) -> FileRecord:
    """Size and SHA-256 of a file."""
    content = path.read_bytes()
    return FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
