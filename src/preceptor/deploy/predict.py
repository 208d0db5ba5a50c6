"""A finished network on image files: what ``preceptor predict`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preceptor.data.images import read_image, resize
from preceptor.errors import PreceptorError, some_of
from preceptor.networks.classifier import Classifier

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and the image files directly in folders, sorted.

    Raises:
        PreceptorError: a path that does not exist, or a folder without images.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
            if not found:
                raise PreceptorError(f"{path}: holds no images", expected=f"files ending in {', '.join(SUFFIXES)}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise PreceptorError(f"{path}: no such file", expected="image files, or folders of them")
    return files


@torch.no_grad()
def predict_files(
    network: Classifier, files: list[Path], batch_size: int = 32, progress: Callable[[int], None] | None = None
) -> tuple[pd.DataFrame, dict[Path, str]]:
    """Probabilities for image files, prepared as the network's training images were.

    Returns:
        One row a readable file in the order given (``file``, ``predicted``, ``p_<class>``), and what is wrong with
        each of the others.
    """
    classes, side = network.architecture.classes, network.architecture.image_size
    network.eval()
    device = next(network.parameters()).device
    rows: list[dict[str, object]] = []
    failures: dict[Path, str] = {}
    for some in _chunks(files, batch_size):
        images = {}
        for file in some:
            try:
                images[file] = resize(read_image(file), side).transpose(2, 0, 1)
            except PreceptorError as error:
                failures[file] = error.what
        if images:
            batch = torch.from_numpy(np.stack(list(images.values()))).to(device)
            probabilities = network(batch.float().div_(255)).logits.double().softmax(1).cpu().numpy()
            for file, scores in zip(images, probabilities, strict=True):
                named = {f"p_{name}": score for name, score in zip(classes, scores, strict=True)}
                rows.append({"file": str(file), "predicted": classes[int(scores.argmax())], **named})
        if progress:
            progress(len(some))
    columns = ["file", "predicted", *(f"p_{name}" for name in classes)]
    return pd.DataFrame(rows, columns=columns), failures


def refuse_failures(failures: dict[Path, str], done: int) -> None:
    """Raises one error for all files that could not be read; predictions of the others have been written by then."""
    if failures:
        raise PreceptorError(
            f"{len(failures)} of {done + len(failures)} files could not be read: {some_of(failures.values(), 5)}",
            expected="8-bit RGB or grey images",
            remedy="repair or leave out these files; the others are predicted",
        )


def _chunks(files: list[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]
