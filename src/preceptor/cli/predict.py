"""``preceptor predict``. Torch is imported only where the network is not an exported one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from preceptor.deploy.manifest import is_export
from preceptor.deploy.onnx_model import OnnxModel, Precision
from preceptor.deploy.predict import Predictor, image_files, predict_files, refuse_failures, write_masks
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text


def predict(model: Path, images: list[Path], network: str, out: Path | None, precision: Precision = "float") -> None:
    """Write the probabilities of every class for every image, to ``out`` or to the screen; of a U-Net its masks.

    Raises:
        PreceptorError: no such network or image, or images that cannot be read, after the others are done.
    """
    files = image_files(images)
    predictor = _predictor(model, network, precision)
    if predictor.draws_masks:
        return predict_masks(predictor, files, out)
    with _bar(quiet=out is None) as bar:
        task = bar.add_task("predicting", total=len(files))
        table, failures = predict_files(predictor, files, progress=lambda done: bar.advance(task, done))
    text = table.to_csv(index=False, float_format="%.6f")
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        print(f"predictions: {out}")
    refuse_failures(failures, len(table))


def predict_masks(predictor: Predictor, files: list[Path], out: Path | None) -> None:
    """Write a mask for every image into the folder ``out``, and list them."""
    if out is None or out.suffix:
        raise PreceptorError(
            "--out: this network draws masks, which need a folder" if out is None else f"--out {out}: is not a folder",
            expected="--out FOLDER",
        )
    with _bar(quiet=False) as bar:
        task = bar.add_task("predicting", total=len(files))
        table, failures = write_masks(predictor, files, out, progress=lambda done: bar.advance(task, done))
    print(f"masks: {out}; what they hold: {out / 'masks.csv'}")
    refuse_failures(failures, len(table))


def _predictor(model: Path, network: str, precision: Precision) -> Predictor:
    if is_export(model):
        return OnnxModel(model, precision)
    if precision != "float":
        raise PreceptorError(
            f"--precision {precision}: {model} is not an export", expected="a folder that preceptor export wrote"
        )
    from preceptor.deploy.torch_predictor import TorchPredictor
    from preceptor.evaluation.evaluate import best_device
    from preceptor.networks.build import find_network
    from preceptor.networks.files import load_network

    loaded, _ = load_network(find_network(model, network, "MODEL", choose="--network {}"))
    return TorchPredictor(loaded.to(best_device()))


def _bar(quiet: bool) -> Progress:
    console = Console()
    return Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
