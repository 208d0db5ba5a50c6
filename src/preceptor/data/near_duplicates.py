"""Near-duplicate images by a perceptual hash: crops, re-encodings and second shots that file contents do not betray."""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.identical import joined
from preceptor.data.images import read_image
from preceptor.data.sources import close_containers
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.files import write_text

_SIDE = 16  # of the hash, in bits: 256 bits per image
# On the 10,015 images of HAM10000 these bounds find 122 pairs, 121 of them of one lesion.
_DISTANT = 44  # bits of 256 that two near-duplicates may differ in
_ALIKE = 0.97  # correlation of the two thumbnails of a near-duplicate
_THUMB = 32  # side of a thumbnail, pixels
_CHUNK = 128  # images that are compared with all others at once, which bounds the memory


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of images that show nearly the same.

    Attributes:
        catalog: the data set.
        pairs: (P, 2) rows of the catalog, the smaller first.
        unreadable: images that could not be compared.
    """

    catalog: Catalog
    pairs: np.ndarray
    unreadable: int = 0

    def across_groups(self) -> np.ndarray:
        """Those pairs whose groups differ, so that folds may separate them."""
        groups = self.catalog.table["group"].to_numpy(str)
        return self.pairs[groups[self.pairs[:, 0]] != groups[self.pairs[:, 1]]]

    def across_parts(self, parts: np.ndarray) -> np.ndarray:
        """Those pairs that stand in different parts (N,) of a split."""
        return self.pairs[parts[self.pairs[:, 0]] != parts[self.pairs[:, 1]]]

    def contradictions(self) -> np.ndarray:
        """Those pairs whose labels differ."""
        labels = self.catalog.table["label"].to_numpy(str)
        return self.pairs[labels[self.pairs[:, 0]] != labels[self.pairs[:, 1]]]

    def lines(self) -> list[str]:
        """The result in sentences, each with some examples."""
        kinds = [
            ("near-duplicates", self.pairs),
            ("of different groups, which folds may separate", self.across_groups()),
        ]
        if self.catalog.has_parts:
            parts = self.catalog.table["part"].to_numpy(str)
            kinds.append(("across the prescribed parts", self.across_parts(parts)))
        kinds.append(("with different labels", self.contradictions()))
        lines = []
        for what, pairs in kinds:
            examples = some_of((" = ".join(self._names(pair)) for pair in pairs[:3]), 3)
            more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
            lines.append(f"{len(pairs):,} pairs {what}" + (f": {examples}{more}" if len(pairs) else ""))
        if self.unreadable:
            lines.append(f"{self.unreadable:,} images could not be read and are not compared")
        return lines

    def write_groups(self, path: Path) -> None:
        """Write a CSV file (id, group) that joins the groups of near-duplicates; ``data.groups_csv`` takes it."""
        pairs = [(int(first), int(second)) for first, second in self.pairs]
        groups = joined(self.catalog.table["group"].to_numpy(str), pairs)
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "group"))
        writer.writerows(zip(self.catalog.table["id"], groups, strict=True))
        write_text(path, text.getvalue())

    def _names(self, pair: np.ndarray) -> list[str]:
        table = self.catalog.table
        ids, labels = table["id"].tolist(), table["label"].tolist()
        return [f"{ids[row]} ({labels[row]})" for row in pair.tolist()]


def near_duplicates(
    catalog: Catalog, *, progress: Callable[[int], object] | None = None, workers: int | None = None
) -> NearDuplicates:
    """Find the pairs of images whose perceptual hashes are close and whose thumbnails agree.

    The hash (:func:`imagehash.phash`, 256 bits of the lowest frequencies) stands re-encoding, scaling, small crops and
    changes of brightness; images that are turned or mirrored are not found. All pairs are compared, which takes
    seconds for ten thousand images and an hour for a million.

    Args:
        catalog: the data set.
        progress: called with the number of images read since the last call.
        workers: threads; as Python's ``ThreadPoolExecutor`` chooses when None.

    Raises:
        PreceptorError: imagehash is not installed.
    """
    images = describe(catalog, progress=progress, workers=workers)
    return NearDuplicates(catalog, near_copies(images), int((~images.readable).sum()))


@dataclass(frozen=True)
class Described:
    """What images are compared by.

    Attributes:
        hashes: (N, 32) uint8, the 256 bits of each perceptual hash.
        thumbnails: (N, 1024) float32, grey.
        readable: (N,) bool.
    """

    hashes: np.ndarray
    thumbnails: np.ndarray
    readable: np.ndarray


def describe(
    catalog: Catalog, *, progress: Callable[[int], object] | None = None, workers: int | None = None
) -> Described:
    """Return hash and thumbnail of every image; arguments and errors are those of :func:`near_duplicates`."""
    try:
        phash = import_module("imagehash").phash
    except ModuleNotFoundError:
        raise PreceptorError(
            "finding near-duplicates needs imagehash", remedy="install it: pip install 'preceptor[data]'"
        ) from None

    def described(row: int) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            image = Image.fromarray(read_image(catalog.path(row))).convert("L")
        except PreceptorError:
            return None
        thumbnail = np.asarray(image.resize((_THUMB, _THUMB), Image.Resampling.BOX), dtype=np.float32)
        return np.packbits(phash(image, hash_size=_SIDE).hash), thumbnail

    hashes = np.zeros((len(catalog), _SIDE * _SIDE // 8), dtype=np.uint8)
    thumbnails = np.zeros((len(catalog), _THUMB * _THUMB), dtype=np.float32)
    readable = np.zeros(len(catalog), dtype=bool)
    with ThreadPoolExecutor(workers) as pool:
        for row, description in enumerate(pool.map(described, range(len(catalog)))):
            if description is not None:
                hashes[row], thumbnails[row], readable[row] = description[0], description[1].ravel(), True
            if progress:
                progress(1)
    close_containers()
    return Described(hashes, thumbnails, readable)


def near_copies(images: Described, others: Described | None = None) -> np.ndarray:
    """Return the pairs (P, 2) of an image and one of others that show nearly the same.

    Without others, each pair among the images comes once, the smaller row first.
    """
    alone, others = others is None, others or images
    words, theirs = (np.ascontiguousarray(each.hashes).view(np.uint64) for each in (images, others))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(words), _CHUNK):
        first = start if alone else 0  # of the rows that this chunk is compared with
        block = words[start : start + _CHUNK, None]
        distance = np.bitwise_count(block ^ theirs[None, first:]).sum(axis=2, dtype=np.uint16)
        mine, other = np.nonzero(distance <= _DISTANT)
        chosen = other > mine if alone else slice(None)
        pairs.append(np.stack([mine[chosen] + start, other[chosen] + first], axis=1))
    close = np.concatenate(pairs)
    close = close[images.readable[close[:, 0]] & others.readable[close[:, 1]]]
    return close[_correlation(images.thumbnails, others.thumbnails, close) >= _ALIKE]


def _correlation(thumbnails: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(P,) correlation of the thumbnails of each pair; 1 for two flat ones."""
    mine, theirs = (
        each[pairs[:, side]] - each[pairs[:, side]].mean(axis=1, keepdims=True)
        for side, each in enumerate((thumbnails, others))
    )
    lengths = np.stack([np.linalg.norm(each, axis=1) for each in (mine, theirs)], axis=1)
    flat = lengths.max(axis=1, initial=0) < 1e-3
    return np.where(flat, 1.0, np.einsum("pd,pd->p", mine, theirs) / np.maximum(lengths.prod(axis=1), 1e-6))
