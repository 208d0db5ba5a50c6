"""A finished network on image files: what ``preceptor predict`` does."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.nn import functional

from preceptor.data.images import read_image, resize
from preceptor.networks.classifier import Classifier
from preceptor.networks.kinds import Network
from preceptor.networks.segmenter import Segmenter
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.files import MASK_MARK, write_bytes, write_text

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
    classes = network.architecture.classes
    failures: dict[Path, str] = {}
    rows: list[dict[str, object]] = []
    for names, logits in _logits(network, files, batch_size, failures, progress):
        for file, scores in zip(names, logits.double().softmax(1).cpu().numpy(), strict=True):
            named = {f"p_{name}": score for name, score in zip(classes, scores, strict=True)}
            rows.append({"file": str(file), "predicted": classes[int(scores.argmax())], **named})
    columns = ["file", "predicted", *(f"p_{name}" for name in classes)]
    return pd.DataFrame(rows, columns=columns), failures


@torch.no_grad()
def write_masks(
    network: Segmenter,
    files: list[Path],
    folder: Path,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, dict[Path, str]]:
    """A mask for every image file, of the image's own size, and ``masks.csv``.

    A mask is an 8-bit PNG called as the image; with one foreground class its pixels are 0 and 255, else class indices.
    It is drawn at the network's size: the logits are enlarged smoothly and the largest counts.

    Returns:
        One row a readable file in the order given (``file``, ``mask`` and the share of pixels of each foreground
        class), as ``masks.csv`` holds them, and what is wrong with each of the others.

    Raises:
        PreceptorError: two files would have the same mask file.
    """
    classes = network.architecture.classes
    twice = [name for name, count in Counter(file.stem for file in files).items() if count > 1]
    if twice:
        raise PreceptorError(f"several images are called {twice[0]}", remedy="predict them into folders of their own")
    failures: dict[Path, str] = {}
    rows: list[dict[str, object]] = []
    for names, logits in _logits(network, files, batch_size, failures, progress):
        for file, one in zip(names, logits.float(), strict=True):
            height, width = read_image(file).shape[:2]
            whole = functional.interpolate(one[None], (height, width), mode="bilinear", align_corners=False)
            mask = whole.argmax(1)[0].cpu().numpy().astype(np.uint8)
            place = folder / f"{file.stem}.png"
            png = io.BytesIO()
            Image.fromarray(mask * 255 if len(classes) == 2 else mask).save(png, "PNG", pnginfo=_mark())
            write_bytes(place, png.getvalue())
            shares = {name: float((mask == index).mean()) for index, name in enumerate(classes) if index}
            rows.append({"file": str(file), "mask": place.name, **shares})
    table = pd.DataFrame(rows, columns=["file", "mask", *classes[1:]])
    write_text(folder / "masks.csv", table.to_csv(index=False, float_format="%.6f"))
    return table, failures


def _mark() -> PngInfo:
    info = PngInfo()
    info.add_text("Software", MASK_MARK.decode())
    return info


def _logits(
    network: Network,
    files: list[Path],
    batch_size: int,
    failures: dict[Path, str],
    progress: Callable[[int], None] | None,
) -> Iterator[tuple[list[Path], torch.Tensor]]:
    """Some files that could be read and what the network says of them; adds the others to ``failures``."""
    side, device = network.architecture.image_size, next(network.parameters()).device
    network.eval()
    for some in _chunks(files, batch_size):
        images = {}
        for file in some:
            try:
                images[file] = resize(read_image(file), side).transpose(2, 0, 1)
            except PreceptorError as error:
                failures[file] = error.what
        if images:
            batch = torch.from_numpy(np.stack(list(images.values()))).to(device)
            yield list(images), network(batch.float().div_(255)).logits
        if progress:
            progress(len(some))


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
