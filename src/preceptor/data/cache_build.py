"""Building one entry of the pixel cache: decode and resize in threads, then give it its name in one step."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from preceptor.data.catalog import Catalog
from preceptor.data.failures import grouped_by_cause
from preceptor.data.image_kinds import kind_of
from preceptor.data.images import read_oriented, resize
from preceptor.data.mask_images import read_mask_of
from preceptor.data.sources import close_containers
from preceptor.utils.errors import PreceptorError
from preceptor.utils.machine import free_space, size_text, usable_cores

#: Called with the number of images decoded since the last call, from the thread that asked for the entry.
Progress = Callable[[int], object]


def build(
    entry: Path, catalog: Catalog, size: int, *, mask_classes: int, progress: Progress | None, workers: int | None
) -> None:
    """Write the new folder ``entry``: ``images.npy``, ``checksums.npy`` and ``kinds.npy``, and what masks need.

    With masks those are ``masks.npy`` and ``smeared.npy``. Until everything is on the disk the folder has another name.
    The caller keeps other builders of this entry away.

    Raises:
        PreceptorError: images or masks that cannot be used; all of them are tried first.
        OSError: the disk is full or the folder cannot be written.
    """
    partial = entry.with_name(f"{entry.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed
    partial.mkdir()
    try:
        images = _allocate(partial / "images.npy", (len(catalog), 3, size, size))
        masks = _allocate(partial / "masks.npy", (len(catalog), size, size)) if mask_classes else None
        smeared = np.zeros(len(catalog), dtype=bool)
        checksums = np.zeros((len(catalog), 2), dtype=np.uint32)
        kinds = np.full(len(catalog), "photograph")

        def decode(row: int) -> None:
            image, orientation = read_oriented(catalog.path(row))
            images[row] = resize(image, size).transpose(2, 0, 1)
            kinds[row] = kind_of(image)
            checksums[row, 0] = zlib.crc32(images[row])
            if masks is not None:
                mask, smeared[row] = read_mask_of(catalog, row, image, orientation)
                masks[row] = resize(mask, size)
                checksums[row, 1] = zlib.crc32(masks[row])

        _decode_all(catalog, decode, progress, workers or usable_cores())
        for array in (images, masks):
            if array is not None:
                array.flush()
        if masks is not None:
            np.save(partial / "smeared.npy", smeared)
        np.save(partial / "kinds.npy", kinds)
        np.save(partial / "checksums.npy", checksums)
        for path in (*partial.iterdir(), partial):
            _sync(path)
        shutil.rmtree(entry, ignore_errors=True)  # one that could not be read
        os.replace(partial, entry)
        _sync(entry.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        close_containers()


def unusable(catalog: Catalog, failures: dict[str, str]) -> PreceptorError:
    """One error for everything that is wrong with the files of a catalog: id -> what, grouped by cause."""
    return PreceptorError(
        "\n".join(
            [
                f"{catalog.name}: {len(failures)} of {len(catalog)} images cannot be used:",
                *(f"    {line}" for line in grouped_by_cause(failures)),
            ]
        ),
        expected="files that can be decoded, 8 bits per channel, each with what the data set promises of it",
        remedy="mend the files, or list the ids before the colons in a file and pass it as --exclude FILE",
    )


def _decode_all(catalog: Catalog, decode: Callable[[int], None], progress: Progress | None, workers: int) -> None:
    """Runs ``decode`` for every row in threads (Pillow lets go of the interpreter); one error for all that fail."""
    failures: dict[str, str] = {}
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        outcomes = pool.map(_failure_of, repeat(decode), range(len(catalog)))
        for image_id, failure in zip(catalog.table["id"], outcomes, strict=True):
            if failure:
                failures[image_id] = failure
            if progress is not None:
                progress(1)
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C too, waiting only for the images in hand
    if failures:
        raise unusable(catalog, failures)


def _failure_of(decode: Callable[[int], None], row: int) -> str:
    """What is wrong with a row, or nothing: the text alone, as a kept exception keeps the decoded arrays alive."""
    try:
        decode(row)
    except PreceptorError as error:
        return error.what
    return ""


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A mapped array whose disk space is taken at once: a full disk is an error here, not a crash at a later write."""
    needed = int(np.prod(shape))
    free = free_space(path.parent)
    if needed > free:
        raise OSError(errno.ENOSPC, f"{size_text(needed)} needed, {size_text(free)} free")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on every system
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
