"""Predictions for image files, whatever makes them: what ``preceptor predict`` does. Needs no torch."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.dicom import DICOM_SUFFIXES, has_settings
from preceptor.data.file_finder import walk_files
from preceptor.data.foreign_formats import FOREIGN_SUFFIXES
from preceptor.data.image_kinds import Kind, are_masks, kind_of
from preceptor.data.images import SUFFIXES, read_image
from preceptor.deploy.mask_folder import mask_name, mask_png, refuse_other_masks, write_table
from preceptor.evaluation.score_columns import score_columns
from preceptor.utils.errors import PreceptorError, PreceptorWarning, some_of
from preceptor.utils.files import write_bytes

Progress = Callable[[int], None]


class Predictor(Protocol):
    """A network that takes photos as they are.

    Attributes:
        classes: class codes in the order of the probabilities; of masks the background first.
        draws_masks: whether it predicts a mask instead of classes.
        thresholds: the probability from which on each label is predicted, where an image may have several; else None.
        weights_hash: SHA-256 of its weights, in hexadecimal digits.
    """

    classes: tuple[str, ...]
    draws_masks: bool
    thresholds: tuple[float, ...] | None

    @property
    def weights_hash(self) -> str: ...

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
        """Of each image (H, W, 3) the probabilities (C,), or the mask (H, W) of class indices."""
        ...


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and the image files in folders and their sub-folders, sorted.

    Hidden files and litter are passed over. Images of formats that are not read are counted in one
    :class:`~preceptor.utils.errors.PreceptorWarning`.

    Raises:
        PreceptorError: a path that does not exist, or a folder without images.
    """
    files: list[Path] = []
    foreign: list[Path] = []
    for path in paths:
        if path.is_dir():
            listed = sorted(path / name for name in walk_files(path))
            inside = [file for file in listed if file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES)]
            others = [file for file in listed if file.suffix.lower() in FOREIGN_SUFFIXES.difference(DICOM_SUFFIXES)]
            if not inside:
                raise PreceptorError(
                    f"{path}: holds no images{_but(others)}, nor do its sub-folders",
                    expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
                    remedy="convert them to PNG" if others else "",
                )
            files += inside
            foreign += others
        elif path.is_file() or has_settings(path):
            files.append(path)
        else:
            raise PreceptorError(f"{path}: no such file", expected="image files, or folders of them")
    if foreign:
        warnings.warn(
            f"files of formats that are not read are left out: {_counted(foreign)}; convert them to PNG to have them "
            "predicted",
            PreceptorWarning,
            stacklevel=2,
        )
    return files


def _but(foreign: Sequence[Path]) -> str:
    return f" that can be read, but {_counted(foreign)}" if foreign else ""


def _counted(files: Sequence[Path]) -> str:
    """How many files there are of each ending, the most first: ``3 .heic, 1 .gif``."""
    counts = Counter(file.suffix.lower() for file in files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return some_of(f"{count:,} {suffix}" for suffix, count in ranked)


def predict_files(
    predictor: Predictor, files: Sequence[Path], batch_size: int = 32, progress: Progress | None = None
) -> tuple[pd.DataFrame, dict[Path, str]]:
    """Class probabilities for image files.

    Returns:
        One row a readable file in the order given (``file``, ``predicted``, ``p_<class>``), and what is wrong with
        each of the others. Of several labels ``predicted`` names all that reach their thresholds, joined by ``;``.
    """
    classes = predictor.classes
    failures: dict[Path, str] = {}
    rows: list[dict[str, object]] = []
    for file, scores in _predictions(predictor, files, batch_size, failures, progress):
        named = dict(zip(score_columns(classes), scores, strict=True))
        rows.append({"file": str(file), "predicted": ";".join(predicted_classes(predictor, scores)), **named})
    columns = ["file", "predicted", *score_columns(classes)]
    return pd.DataFrame(rows, columns=columns), failures


def predicted_classes(predictor: Predictor, probabilities: NDArray[np.generic]) -> list[str]:
    """The most probable class, or all labels whose probability (L,) reaches its threshold."""
    if predictor.thresholds is None:
        return [predictor.classes[int(probabilities.argmax())]]
    reached = probabilities >= np.asarray(predictor.thresholds)
    return [name for name, present in zip(predictor.classes, reached, strict=True) if present]


def write_masks(
    predictor: Predictor,
    files: Sequence[Path],
    folder: Path,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, dict[Path, str]]:
    """A mask for every image file, of the image's own size, and ``masks.csv``.

    A mask is an 8-bit PNG called as the image; with one foreground class its pixels are 0 and 255, else class indices.
    Rows of other images that ``masks.csv`` holds already stay there.

    Returns:
        One row a readable file in the order given (``file``, ``mask`` and the share of pixels of each foreground
        class), as ``masks.csv`` holds them, and what is wrong with each of the others.

    Raises:
        PreceptorError: two files would have the same mask file, or the folder holds the mask of another image under its
            name, masks of another network, or a file that is no mask.
    """
    classes = predictor.classes
    files = list(dict.fromkeys(files))  # a file that was named twice has one mask
    twice = [name for name, count in Counter(map(mask_name, files)).items() if count > 1]
    if twice:
        raise PreceptorError(
            f"several images are called {Path(twice[0]).stem}", remedy="predict them into folders of their own"
        )
    network = predictor.weights_hash
    refuse_other_masks(folder, files, network, classes[1:])
    failures: dict[Path, str] = {}
    rows: list[dict[str, object]] = []
    for file, mask in _predictions(predictor, files, batch_size, failures, progress):
        place = folder / mask_name(file)
        values = (mask * 255 if len(classes) == 2 else mask).astype(np.uint8)
        write_bytes(place, mask_png(values, file, network))
        shares = {name: float((mask == index).mean()) for index, name in enumerate(classes) if index}
        rows.append({"file": str(file), "mask": place.name, **shares})
    table = pd.DataFrame(rows, columns=["file", "mask", *classes[1:]])
    write_table(folder, table)
    return table, failures


def refuse_failures(failures: dict[Path, str], done: int) -> None:
    """Raise one error for all files that could not be read; predictions of the others have been written by then."""
    if failures:
        raise PreceptorError(
            f"{len(failures)} of {done + len(failures)} files could not be read: {some_of(failures.values(), 5)}",
            expected="8-bit RGB or grey images",
            remedy="repair or leave out these files; the others are predicted",
        )


def _predictions(
    predictor: Predictor,
    files: Sequence[Path],
    batch_size: int,
    failures: dict[Path, str],
    progress: Progress | None,
) -> Iterator[tuple[Path, NDArray[np.generic]]]:
    """Each file that could be read and its prediction; adds the others to ``failures``, and warns of masks last."""
    kinds: dict[Path, Kind] = {}
    for start in range(0, len(files), batch_size):
        chunk = files[start : start + batch_size]
        readable: list[Path] = []  # a file that was named twice stands in it twice
        images: list[NDArray[np.uint8]] = []
        for file in chunk:
            try:
                images.append(read_image(file))
            except PreceptorError as error:
                failures[file] = error.what
            else:
                readable.append(file)
                kinds[file] = kind_of(images[-1])
        yield from zip(readable, predictor.predict(images), strict=True)
        if progress:
            progress(len(chunk))
    _warn_of_masks(kinds)


def _warn_of_masks(kinds: Mapping[Path, Kind]) -> None:
    masks = [file for file, kind in kinds.items() if kind == "mask"]
    blank = [file for file, kind in kinds.items() if kind == "blank"]
    notes = []
    if are_masks(len(masks), len(kinds) - len(masks) - len(blank)):
        notes.append(
            f"{len(masks):,} of {len(kinds):,} files look like masks, not like photographs (a few colours that fill "
            f"areas): {some_of(masks, 3)}; name the photographs, unless the network was trained on such images"
        )
    if blank:
        notes.append(
            f"{len(blank):,} of {len(kinds):,} files are of one colour throughout, and their predictions say nothing: "
            f"{some_of(blank, 3)}"
        )
    for note in notes:
        warnings.warn(note, PreceptorWarning, stacklevel=2)
