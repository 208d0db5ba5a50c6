"""``load`` and ``predict``: a finished network, and its predictions for image files."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.inputs import PathLike, announce, optional_path, shows_progress
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import MASK_MARK, has_mark, refuse_foreign, refuse_unwritable, write_output
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    import pandas as pd

    from preceptor.networks.kinds import Network
    from preceptor.networks.segmenter import Segmenter


@dataclass(frozen=True)
class Predictions:
    """Predictions of one network.

    Attributes:
        table: one row a readable image: ``file``, then of a classifier ``predicted`` and ``p_<class>``, of a segmenter
            ``mask`` (a file below ``out``) and the share of pixels of each foreground class.
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
    from preceptor.runs.load_networks import load_named

    return load_named(Path(run).expanduser(), network, choose="network={!r}")


def predict(
    model: PathLike,
    images: PathLike | Iterable[PathLike],
    *,
    network: str | None = None,
    out: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Predictions:
    """Predict the class of image files, or draw their masks where the network is a segmenter.

    Args:
        model: a run's folder, or one of its ``.safetensors`` files.
        images: image files, or folders of them.
        network: which network of the run; its student, or its only one, unless given.
        out: a CSV file to write; of a segmenter the folder of its masks, which it needs.
        imports: Python files that register what the run needs.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: no such run, network or image, or an ``out`` that this command would not have written.
    """
    from preceptor.deploy.predict import image_files

    import_files(imports)
    shown, place = shows_progress(progress), optional_path(out)
    paths = [images] if isinstance(images, str | Path) else images
    files = image_files([Path(path).expanduser() for path in paths])
    if place is not None and place.suffix:
        refuse_foreign(place, [b"file,predicted,"])
    elif place is not None:
        _refuse_foreign_masks(place, files)
    announce(f"predicting {len(files)} image files", shown)
    from preceptor.deploy.predict import predict_files
    from preceptor.evaluation.evaluate import best_device
    from preceptor.networks.segmenter import Segmenter
    from preceptor.runs.load_networks import load_named
    from preceptor.training.progress import Display

    loaded = load_named(Path(model).expanduser(), network, choose="--network {}").to(best_device())
    if isinstance(loaded, Segmenter):
        return _draw_masks(loaded, files, place, shown)
    with Display("predicting", quiet=not shown) as display, display.counting("predicting", len(files)) as move:
        table, unreadable = predict_files(loaded, files, progress=move)
    if place is not None:
        write_output(place, table.to_csv(index=False, float_format="%.6f"))
    return Predictions(table, unreadable, place, masks=False)


def _refuse_foreign_masks(folder: Path, files: list[Path]) -> None:
    """Raise if a mask would stand beside the images, or replace a file that is not a mask of an earlier prediction."""
    refuse_unwritable(folder)
    for file in files:
        if folder.exists() and folder.resolve() in file.resolve().parents:
            raise PreceptorError(
                f"--out {folder}: holds the image {file}", expected="a folder of its own for the masks"
            )
    listed = folder / "masks.csv"
    own: set[str] = set()
    if listed.exists():
        refuse_foreign(listed, [b"file,mask,"])
        with listed.open(encoding="utf-8", newline="") as lines:
            own = {row["mask"] for row in csv.DictReader(lines)}
    for file in files:
        mask = folder / f"{file.stem}.png"
        if mask.exists() and mask.name not in own and not has_mark(mask, [MASK_MARK]):
            raise PreceptorError(
                f"--out {folder}: holds {mask.name}, which is no mask of an earlier prediction",
                expected="a folder that is new, or holds earlier masks",
                remedy="name another folder",
            )


def _draw_masks(network: Segmenter, files: list[Path], folder: Path | None, shown: bool) -> Predictions:
    from preceptor.deploy.predict import write_masks
    from preceptor.training.progress import Display

    if folder is None:
        raise PreceptorError("--out: this network draws masks, which need a folder", expected="--out FOLDER")
    if folder.suffix and not folder.is_dir():
        raise PreceptorError(f"--out {folder}: is not a folder, and this network draws masks", expected="--out FOLDER")
    with Display("predicting", quiet=not shown) as display, display.counting("predicting", len(files)) as move:
        table, unreadable = write_masks(network, files, folder, progress=move)
    return Predictions(table, unreadable, folder, masks=True)
