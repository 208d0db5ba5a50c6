"""``preceptor.export``: a network of a finished run as a folder of ONNX files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from preceptor.data.class_names import full_names, parse_names
from preceptor.data.images import resize
from preceptor.deploy.export.activation_map import activation_weights
from preceptor.deploy.export.calibrate import calibrate, choose_thresholds
from preceptor.deploy.export.results import headline_figures, subgroup_figures
from preceptor.deploy.export.staging import contents, restore_interrupted, staged
from preceptor.deploy.export.subject import Subject, load_subject, photos
from preceptor.deploy.manifest import (
    CARD,
    MANIFEST,
    ActivationMap,
    Calibration,
    ClassName,
    Difference,
    LabelThreshold,
    Manifest,
    Quantised,
    Source,
    file_record,
    is_export,
    write_manifest,
)
from preceptor.deploy.page.assemble import PAGE, write_page
from preceptor.deploy.page.web_runtime import read_web_runtime
from preceptor.networks.classifier import Classifier
from preceptor.networks.network_file import INTENDED_USE
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.extras import require
from preceptor.utils.files import write_bytes
from preceptor.version import __version__

if TYPE_CHECKING:
    import onnx

    from preceptor.deploy.export.networks import Ensemble, Single

_PHOTOS = 32  # that PyTorch and ONNX Runtime are compared on
#: All that an export may consist of.
_WRITTEN = {MANIFEST, CARD, PAGE, *(f"{name}{kind}.onnx" for name in ("model", "network") for kind in ("", ".int8"))}
_IN_WORDS = {
    "input": "uint8 RGB, (batch, height, width, 3), turned upright by EXIF",
    "resize": "stretched to a square, bilinear with antialiasing, rounded to 8 bits after each direction (as Pillow)",
    "scale": "divided by 255",
    "normalisation": "inside the network",
}


def write_export(
    run: str | Path,
    *,
    out: str | Path,
    network: str = "student",
    int8: bool = False,
    largest_loss: float = 0.005,
    page: bool = False,
    web_runtime: str | Path | None = None,
    class_names: Mapping[str, str] | Sequence[str] = (),
    cache: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Export a trained network or ensemble: ``model.onnx``, ``network.onnx``, ``export.json`` and a model card.

    The folder appears whole or not at all.

    Args:
        run: a finished run's folder.
        out: the folder to write, new or empty.
        network: which network or ensemble of the run.
        int8: whether to write ``model.int8.onnx`` and ``network.int8.onnx`` too. They are left out again where the
            headline figure on the test part falls by more than ``largest_loss``; ``export.json`` has the numbers.
        largest_loss: of that figure, in its own unit (0.005 is half a point of 100).
        page: whether to write ``index.html``, which runs the network in a browser without a server.
        web_runtime: where the page's ONNX Runtime Web is; ``$PRECEPTOR_WEB_RUNTIME`` or the cache folder unless given.
        class_names: class code -> full words, or ``CODE=full words`` texts, where the data set's own are not known
            or not wanted.
        cache: where decoded images are kept.
        overwrite: whether ``out`` may hold an older export, which is replaced.
        progress: told what is done next, in words.

    Returns:
        The contents of ``export.json``.

    Raises:
        PreceptorError: an unfinished run, no such network, a folder that holds something else, a package that is
            missing, or a graph that does not compute what the network computes.
    """
    require("export", "onnx", "onnxscript", "onnxruntime", "huggingface_hub")
    from preceptor.deploy.model_card import write_model_card

    place = Path(web_runtime) if web_runtime else None
    if page:
        read_web_runtime(place)  # before anything takes time
    tell = progress or (lambda _: None)
    target = Path(out)
    restore_interrupted(target)
    refuse_occupied(target, overwrite)
    subject = load_subject(Path(run), network)
    given = class_names if isinstance(class_names, Mapping) else parse_names(class_names, subject.classes)
    names = full_names(subject.run.environment.data.name, subject.classes, given)
    with staged(target, lambda: refuse_occupied(target, overwrite)) as folder:
        tell("writing the graphs")
        calibration = calibrate(subject)
        fitted = _Fitted(calibration, choose_thresholds(subject, calibration.temperature))
        graphs = _write_graphs(folder, subject, fitted)
        tell("comparing them with PyTorch")
        images, description = photos(subject, _PHOTOS)
        differences = _compare(graphs, subject, fitted, images, description)
        quantised = _write_int8(folder, subject, graphs, fitted, largest_loss, cache, tell) if int8 else None
        manifest = _manifest(folder, subject, names, fitted, images, differences, quantised)
        write_manifest(folder, manifest)
        write_model_card(folder, manifest)
        if page:
            tell("writing the page")
            write_page(folder, manifest, place)
    return manifest


@dataclass(frozen=True)
class _Fitted:
    """What is fitted to the validation part: the temperature, and the thresholds of labels."""

    calibration: Calibration
    thresholds: list[LabelThreshold]


@dataclass(frozen=True)
class _Graphs:
    """A network for PyTorch, as a graph, and within the whole model.

    Attributes:
        complete: puts preprocessing and softmax around a network's graph.
    """

    module: Single | Ensemble
    network: onnx.ModelProto
    model: onnx.ModelProto
    complete: Callable[[onnx.ModelProto], onnx.ModelProto]


def _write_graphs(folder: Path, subject: Subject, fitted: _Fitted) -> _Graphs:
    """Write ``network.onnx`` and ``model.onnx``."""
    from preceptor.deploy.export.graph import model_graph
    from preceptor.deploy.export.networks import joined, network_graph

    module = joined(subject.networks, subject.target)
    network = network_graph(module, subject.image_size)
    complete = partial(
        model_graph,
        image_size=subject.image_size,
        classes=len(subject.classes),
        target=subject.target,
        temperature=fitted.calibration.temperature,
    )
    graphs = _Graphs(module, network, complete(network), complete)
    write_bytes(folder / "network.onnx", graphs.network.SerializeToString())
    write_bytes(folder / "model.onnx", graphs.model.SerializeToString())
    return graphs


def _compare(
    graphs: _Graphs, subject: Subject, fitted: _Fitted, images: list[np.ndarray], description: str
) -> Difference:
    """Raise :class:`PreceptorError` if a graph does not compute what the network computes in PyTorch."""
    from preceptor.deploy.export.verify import measure_difference

    return measure_difference(
        graphs.module, graphs.network, graphs.model, images,
        image_size=subject.image_size, target=subject.target, temperature=fitted.calibration.temperature,
        description=description,
    )  # fmt: skip


def _write_int8(
    folder: Path,
    subject: Subject,
    graphs: _Graphs,
    fitted: _Fitted,
    largest_loss: float,
    cache: str | Path | None,
    tell: Callable[[str], None],
) -> Quantised:
    """Write ``network.int8.onnx`` and ``model.int8.onnx``, unless they lose too much; the record says which."""
    from preceptor.deploy.export.int8 import choose_int8

    network, model, record = choose_int8(
        subject,
        graphs.network,
        graphs.complete,
        fitted.calibration,
        fitted.thresholds,
        largest_loss=largest_loss,
        cache=Path(cache) if cache else None,
        progress=tell,
    )
    if record.accepted:
        write_bytes(folder / "network.int8.onnx", network.SerializeToString())
        write_bytes(folder / "model.int8.onnx", model.SerializeToString())
    return record


def _manifest(
    folder: Path,
    subject: Subject,
    names: Sequence[str],
    fitted: _Fitted,
    images: list[np.ndarray],
    differences: Difference,
    quantised: Quantised | None,
) -> Manifest:
    """Describe the folder, whose files are all models so far."""
    from preceptor.deploy.export.networks import OPSET

    weights, reason = _activation_map(subject, images)
    by_subgroup, subgroups_reason = subgroup_figures(subject)
    return Manifest(
        preceptor=__version__,
        network=subject.name,
        task=subject.run.recipe.task,  # type: ignore[arg-type]  # load_subject refuses other tasks
        classes=[ClassName(code=code, name=name) for code, name in zip(subject.classes, names, strict=True)],
        image_size=subject.image_size,
        parameters=sum(weight.numel() for member in subject.networks.values() for weight in member.parameters()),
        opset=OPSET,
        versions=_versions(),
        files={path.name: file_record(path) for path in sorted(folder.iterdir())},
        preprocessing=_IN_WORDS,
        calibration=fitted.calibration,
        thresholds=fitted.thresholds,
        differences=differences,
        activation_map=weights,
        activation_map_reason=reason,
        quantised=quantised,
        source=_source(subject),
        figures=subject.result.test,
        test_figures=headline_figures(subject),
        subgroups=by_subgroup,
        subgroups_reason=subgroups_reason,
        intended_use=INTENDED_USE,
    )


def refuse_occupied(target: Path, overwrite: bool) -> None:
    """Raise unless ``target`` is new, empty, or an older export alone that may be replaced."""
    if target.exists() and not target.is_dir():
        raise PreceptorError(f"--out {target}: is a file", expected="a folder that is new or empty")
    if Path.cwd().is_relative_to(target.resolve()):  # an export takes the folder's place, and the shell's would be gone
        raise PreceptorError(f"--out {target}: holds the current folder", expected="another one, such as exported")
    if not target.is_dir() or not (there := contents(target)):
        return
    if not is_export(target):
        raise PreceptorError(f"--out {target}: holds other files", expected="a folder that is new or empty")
    if not overwrite:
        raise PreceptorError(
            f"--out {target}: holds an export already", expected="a folder that is new or empty",
            remedy="name another folder, or replace it with --overwrite",
        )  # fmt: skip
    if others := sorted(there - _WRITTEN):
        raise PreceptorError(
            f"--out {target}: holds more than an export ({some_of(others, 3)}), which --overwrite would remove",
            remedy="move these elsewhere, or name another folder",
        )


def _activation_map(subject: Subject, images: list[np.ndarray]) -> tuple[ActivationMap | None, str]:
    network = next(iter(subject.networks.values()))
    if len(subject.networks) > 1:
        return None, "an ensemble has no feature map of its own"
    if not isinstance(network, Classifier):
        return None, "masks show the places themselves"
    squares = np.stack([resize(image, subject.image_size).transpose(2, 0, 1) for image in images[:8]])
    return activation_weights(network, torch.from_numpy(squares).float().div_(255))


def _source(subject: Subject) -> Source:
    environment, recipe = subject.run.environment, subject.run.recipe
    data = environment.data
    members = [network.architecture.backbone for network in subject.networks.values()]
    return Source(
        run=subject.run.path.resolve().name,
        recipe=recipe.name,
        paper=recipe.paper or "",
        backbone=" + ".join(members),
        members=list(subject.networks) if len(members) > 1 else [],
        start=subject.result.start,
        data={key: getattr(data, key) for key in ("name", "fingerprint", "fold", "folds")},
        split_hash=environment.split_hash,
        seed=recipe.seed,
        marked=environment.marked,
    )


def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("torch", "timm", "onnx", "onnxscript", "onnxruntime")}
