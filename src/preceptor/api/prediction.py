"""``load`` and ``predict``: a finished network, and its predictions for image files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preceptor.api.inputs import PathLike, announce, counting, optional_path, path_list, shows_progress
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_foreign, refuse_unwritable, write_output
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    import pandas as pd

    from preceptor.deploy.predict import Predictor
    from preceptor.networks.kinds import Network

_CSV_MARK = b"file,predicted,"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one network.

    Attributes:
        table: one row per readable image: ``file``, then of a classifier ``predicted`` (several labels joined by ``;``)
            and ``p_<class>``, of a segmenter ``mask`` (a file below ``out``) and the share of pixels of each foreground
            class.
        unreadable: image files that could not be read → why.
        out: the CSV, or the folder of masks, that was written.
        masks: whether they are masks.
    """

    table: pd.DataFrame
    unreadable: dict[Path, str]
    out: Path | None
    masks: bool


def load(run: PathLike, network: str | None = None) -> Network:
    """A finished run's network in evaluation mode: images (B, 3, S, S) in [0, 1] to ``NetworkOutput``.

    Args:
        run: a run's folder, or one of its ``.safetensors`` files.
        network: which one; the run's student, or its only network, unless given.

    Raises:
        PreceptorError: no finished run, or no network of that name.
    """
    require_training()
    from preceptor.runs.load_networks import load_named

    return load_named(Path(run).expanduser(), network, choose="network={!r}")


def predict(
    model: PathLike,
    images: PathLike | Iterable[PathLike],
    *,
    network: str | None = None,
    out: PathLike | None = None,
    precision: Literal["float", "int8"] = "float",
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Predictions:
    """Predict the class of image files, or draw their masks where the network is a segmenter.

    A run's probabilities are as the network was trained; an export's are calibrated by the temperature in its
    ``export.json``, and each of several labels has a threshold of its own there, in place of 0.5.

    Args:
        model: a run's folder, one of its ``.safetensors`` files, or an export.
        images: image files, or folders of them.
        network: which network of the run; its student, or its only one, unless given.
        out: a CSV file to write; of a segmenter the folder of its masks, which it needs. Masks of other images that an
            earlier call wrote there stay, and so do their rows of ``masks.csv``.
        precision: which model of an export.
        imports: Python files that register what the run needs.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: no such run, network or image, or an ``out`` that this command would not have written, or that
            holds masks of other images by the same names, or of another network.
    """
    from preceptor.deploy.predict import image_files

    import_files(imports)
    shown, place = shows_progress(progress), optional_path(out)
    files = image_files(path_list(images))
    if place is not None:
        _refuse_image_folder(place, files)
        refuse_unwritable(place)
        if place.is_file():
            refuse_foreign(place, [_CSV_MARK])
    announce(f"predicting {len(files)} image files", shown)
    from preceptor.deploy.predict import predict_files, write_masks

    predictor = _predictor(Path(model).expanduser(), network, precision)
    if predictor.draws_masks and (place is None or _is_a_file(place)):
        wrong = "--out" if place is None else f"--out {place}: is a file, or named like one"
        raise PreceptorError(f"{wrong}: this network draws masks, which need a folder", expected="--out FOLDER")
    if place is not None and place.is_dir() and not predictor.draws_masks:
        raise PreceptorError(
            f"--out {place}: is a folder; this network predicts classes, which are written to one file",
            expected="--out FILE.csv",
        )
    with counting("predicting", len(files), shown) as move:
        if predictor.draws_masks and place is not None:
            table, unreadable = write_masks(predictor, files, place, progress=move)
        else:
            table, unreadable = predict_files(predictor, files, progress=move)
    if place is not None and not predictor.draws_masks:
        write_output(place, table.to_csv(index=False, float_format="%.6f"))
    return Predictions(table, unreadable, place, predictor.draws_masks)


def _predictor(model: Path, network: str | None, precision: Literal["float", "int8"]) -> Predictor:
    """What predicts: an export without torch, else the network in PyTorch."""
    from preceptor.deploy.manifest import is_export

    if is_export(model):
        from preceptor.deploy.onnx_model import OnnxModel

        exported = OnnxModel(model, precision)
        if network not in (None, exported.manifest.network):
            raise PreceptorError(
                f"{model}: is an export of the network {exported.manifest.network!r}, not of {network!r}",
                remedy="leave the name out, or give the run's folder",
            )
        return exported
    if precision != "float":
        raise PreceptorError(
            f"--precision {precision}: {model} is not an export", expected="a folder that preceptor export wrote"
        )
    if not model.exists():
        raise PreceptorError(f"{model}: there is no such run or export", expected="a run's folder, or an export's")
    require_training()
    from preceptor.deploy.torch_predictor import TorchPredictor
    from preceptor.evaluation.evaluate import best_device
    from preceptor.runs.load_networks import load_named

    return TorchPredictor(load_named(model, network, choose="--network {}").to(best_device()))


def _is_a_file(place: Path) -> bool:
    """Whether a path is a file, or is nothing yet and ends as tables and images do."""
    from preceptor.data.image_files import SUFFIXES

    return place.is_file() or (
        not place.is_dir() and place.suffix.lower() in {".csv", ".tsv", ".txt", ".json", *SUFFIXES}
    )


def _refuse_image_folder(folder: Path, files: list[Path]) -> None:
    """Raise if what is written would stand beside the images, whatever the network predicts."""
    for file in files:
        if folder.is_dir() and folder.resolve() in file.resolve().parents:
            raise PreceptorError(
                f"--out {folder}: holds the image {file}",
                expected="a CSV file for classes, or a folder of its own for what a segmenter draws",
            )
