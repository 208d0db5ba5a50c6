"""Decode once: all images of a catalog, resized, as one memory-mapped array on disk.

An entry is a folder whose name ends in the key of what went into it. It is built under another name by whoever holds
the entry's lock and takes its own name in one step when it is complete, so that an entry that exists can be believed:
a build that was killed leaves only the other name, which the next one clears. The cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path

from preceptor.data.cache_build import Progress, build, unusable
from preceptor.data.catalog import Catalog
from preceptor.data.sources import EMPTY_MASK, files_of
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import is_full

# To be changed with anything that changes the pixels, so that older entries are not taken for new ones.
_METHOD = "2: stretched to a square; images bilinear with antialias, masks by majority under that filter (Pillow)"


@dataclass(frozen=True)
class Pixels:
    """The decoded images of a catalog; row i is row i of ``catalog.table``.

    Attributes:
        images: (N, 3, S, S) uint8, RGB, read-only and mapped from disk.
        masks: (N, S, S) uint8 with the classes' indices, or None.
        key: 32 hexadecimal digits that stand for the files, the size and how it was reached.
        smeared: (N,) bool, whose mask of two classes had grey values at its border and was cut at half; or None.
        checksums: (N, 2) uint32, CRC-32 of each image and mask when they were decoded; or None.
        entry: the folder that the arrays are mapped from; or None.
        kinds: (N,) what each image looks like (:func:`preceptor.data.image_kinds.kind_of`); or None.
    """

    images: np.ndarray
    masks: np.ndarray | None
    key: str
    smeared: np.ndarray | None = None
    checksums: np.ndarray | None = None
    entry: Path | None = None
    kinds: np.ndarray | None = None
    _verified: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_verified", np.zeros(len(self.images), dtype=bool))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        return int(self.images.shape[-1])

    @property
    def digest(self) -> str:
        """SHA-256 of the checksums of all images and masks; other pictures in files of the same size change it."""
        return "" if self.checksums is None else hashlib.sha256(self.checksums.tobytes()).hexdigest()

    def fetch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Copy some rows of images and masks into memory; what is read for the first time is checked.

        Raises:
            PreceptorError: the disk gives back other bytes than were written.
        """
        images, masks = self.images[rows], None if self.masks is None else self.masks[rows]
        for position, row in enumerate(rows):
            if not self._verified[row]:
                self._verify(int(row), images[position], None if masks is None else masks[position])
        return images, masks

    def _verify(self, row: int, image: np.ndarray, mask: np.ndarray | None) -> None:
        if self.checksums is not None:
            sums = [zlib.crc32(image.data), 0 if mask is None else zlib.crc32(mask.data)]
            kept = self.checksums[row].tolist() if mask is not None else [int(self.checksums[row, 0]), 0]
            if sums != kept:
                raise PreceptorError(
                    f"the pixel cache {self.entry} is damaged: row {row} is not what was decoded into it",
                    expected="the bytes that were written; the disk or its file system may be failing",
                    remedy=f"remove the folder {self.entry}, and it is decoded again",
                )
        self._verified[row] = True


def open_pixels(
    catalog: Catalog,
    size: int,
    *,
    masks: bool = False,
    directory: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Pixels:
    """The pixels of a catalog, ``size`` by ``size``, from the cache, or decoded into it first.

    Images are stretched to a square: all of the image stays visible, its proportions do not stay. Several processes
    may ask at once; one builds and the others wait for it.

    Args:
        catalog: what to decode.
        size: side of the square in pixels.
        masks: whether masks are wanted too; every image then needs one of its own size, with the catalog's
            ``mask_classes``.
        directory: where entries lie; by default ``$PRECEPTOR_CACHE``, or else the user's cache folder.
        progress: called with the number of images decoded since the last call, while an entry is built and only then.
        workers: decoding threads; by default as many as this process may use cores.

    Raises:
        PreceptorError: files that are missing or cannot be read (all are tried; one message names them), a mask that
            is missing or of another size than its image, no room on the disk, a folder that cannot be written.
    """
    if size < 1:
        raise PreceptorError(f"image size {size}", expected="at least one pixel")
    if masks and not catalog.has_masks:
        bare = catalog.table["id"][catalog.table["mask"] == ""]
        raise unusable(catalog, dict.fromkeys(bare, "has no mask"))
    mask_classes = len(catalog.mask_classes) if masks else 0
    home = (directory or default_directory()).expanduser()
    entry = home / f"{catalog.name}-{size}-{cache_key(catalog, size, mask_classes)}"
    with _explained(home):
        pixels = _load(entry, len(catalog), size, masks)
        if pixels is None:
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / f"{entry.name}.lock"):
                pixels = _load(entry, len(catalog), size, masks)  # built by another process while we waited?
                if pixels is None:
                    build(entry, catalog, size, mask_classes=mask_classes, progress=progress, workers=workers)
                    pixels = _load(entry, len(catalog), size, masks)
    if pixels is None:
        raise PreceptorError(f"{entry} was built but cannot be read back", remedy="check the disk it is on")
    return pixels


def default_directory() -> Path:
    """``$PRECEPTOR_CACHE``, or else the folder that this system gives a user's caches."""
    folder = os.environ.get("PRECEPTOR_CACHE")
    return Path(folder) if folder else user_cache_path("preceptor")


def cache_key(catalog: Catalog, size: int, mask_classes: int) -> str:
    """Hash of what the pixels depend on: the files (path, bytes, time of change), their order, the size, the method.

    Args:
        mask_classes: 0 where no masks are kept.

    Raises:
        PreceptorError: files that are not there, all in one message.
    """
    root = catalog.root.resolve()
    digest = hashlib.sha256(json.dumps([_METHOD, catalog.name, str(root), size, mask_classes]).encode())
    table, stats = catalog.table, _Stats(root)
    columns = [table["image"], table["mask"]] if mask_classes else [table["image"]]
    for image_id, *names in zip(table["id"], *columns, strict=True):
        for name in names:
            if name == EMPTY_MASK:
                digest.update(json.dumps([image_id, name]).encode())
            for file in files_of(name):
                digest.update(json.dumps([image_id, name, *stats.of(image_id, file)]).encode())
    if stats.missing:
        raise unusable(catalog, stats.missing)
    return digest.hexdigest()[:32]


class _Stats:
    """Size and time of change of files below a folder, each asked for once; those that are missing, by image."""

    def __init__(self, root: Path) -> None:
        self.root, self.missing = root, dict[str, str]()
        self._stats: dict[str, tuple[int, int]] = {}

    def of(self, image_id: str, file: str) -> tuple[int, int]:
        if file not in self._stats:
            path = os.path.join(self.root, file)
            try:
                stat = os.stat(path)
            except OSError as error:
                self.missing[image_id] = f"{path}: {error.strerror}"
                return (0, 0)
            self._stats[file] = (stat.st_size, stat.st_mtime_ns)
        return self._stats[file]


def _load(entry: Path, count: int, size: int, masks: bool) -> Pixels | None:
    """The entry if it is there and whole, else None."""
    try:
        images = np.load(entry / "images.npy", mmap_mode="r")
        of_masks = np.load(entry / "masks.npy", mmap_mode="r") if masks else None
        smeared = np.load(entry / "smeared.npy") if masks else None  # absent where masks were cut that now are refused
        checksums = np.load(entry / "checksums.npy")  # absent where none were taken
        kinds = np.load(entry / "kinds.npy") if (entry / "kinds.npy").exists() else None  # of older entries
    except FileNotFoundError:
        return None
    except OSError:
        raise
    except Exception:  # cut short or changed by something that is not us; numpy's reader then raises whatever it likes
        return None
    if images.shape != (count, 3, size, size) or (of_masks is not None and of_masks.shape != (count, size, size)):
        return None
    return Pixels(images, of_masks, entry.name.rsplit("-", 1)[1], smeared, checksums, entry, kinds)


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """What the system says of the cache folder, as an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise PreceptorError(
            f"the pixel cache {home} {'is full' if is_full(error) else 'cannot be used'}: {error.strerror or error}",
            expected="a folder that can be written, with room for 3 bytes per pixel of every image",
            remedy="make room, or name another folder in the environment variable PRECEPTOR_CACHE",
        ) from error
