"""Building one entry of the pixel cache: decode and resize in threads, then give it its name in one step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from preceptor.data.catalog import Catalog
from preceptor.data.images import is_smeared, mask_classes_of, read_image, read_levels, resize
from preceptor.utils.errors import PreceptorError

#: Called with (images done, images in all) while an entry is built, from the thread that asked for it.
Progress = Callable[[int, int], None]

_NAMED = 10  # unreadable files that one message names


def build(
    entry: Path, catalog: Catalog, size: int, *, mask_classes: int, progress: Progress | None, workers: int | None
) -> None:
    """Writes ``images.npy`` and, unless ``mask_classes`` is 0, ``masks.npy`` and ``smeared.npy`` into the new folder
    ``entry``.

    Until everything is on the disk the folder has another name. The caller keeps other builders of this entry away.

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

        def decode(row: int) -> None:
            image = read_image(catalog.path(row))
            images[row] = resize(image, size).transpose(2, 0, 1)
            if masks is not None:
                mask, smeared[row] = _read_mask_of(image, catalog.path(row, "mask"), mask_classes)
                masks[row] = resize(mask, size)

        _decode_all(catalog, decode, progress, workers or _cores())
        for array in (images, masks):
            if array is not None:
                array.flush()
        if masks is not None:
            np.save(partial / "smeared.npy", smeared)
        for path in (*partial.iterdir(), partial):
            _sync(path)
        shutil.rmtree(entry, ignore_errors=True)  # one that could not be read
        os.replace(partial, entry)
        _sync(entry.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def unusable(catalog: Catalog, failures: list[str]) -> PreceptorError:
    """One error for everything that is wrong with the files of a catalog, given as ``id: what``."""
    listed = [f"    {one}" for one in failures[:_NAMED]]
    if len(failures) > _NAMED:
        listed.append(f"    and {len(failures) - _NAMED} more")
    return PreceptorError(
        "\n".join([f"{catalog.name}: {len(failures)} of {len(catalog)} images cannot be used:", *listed]),
        expected="files that can be decoded, 8 bits a channel, each with what the data set promises of it",
        remedy="mend the files, or list the ids before the colons in a file and pass it as --exclude FILE",
    )


def _decode_all(catalog: Catalog, decode: Callable[[int], None], progress: Progress | None, workers: int) -> None:
    """Runs ``decode`` for every row in threads (Pillow lets go of the interpreter); one error for all that fail."""
    failed: dict[int, PreceptorError] = {}
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        rows = {pool.submit(decode, row): row for row in range(len(catalog))}
        for done, future in enumerate(as_completed(rows), start=1):
            try:
                future.result()
            except PreceptorError as error:
                failed[rows[future]] = error
            if progress is not None:
                progress(done, len(rows))
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C too, waiting only for the images in hand
    if failed:
        names = catalog.table["id"]
        raise unusable(catalog, [f"{names[row]}: {failed[row].what}" for row in sorted(failed)])


def _read_mask_of(image: np.ndarray, path: Path, classes: int) -> tuple[np.ndarray, bool]:
    """The mask of an image, and whether it was cut at half."""
    levels = read_levels(path, classes)
    mask = mask_classes_of(path, levels, classes)
    if mask.shape != image.shape[:2]:
        (height, width), (rows, columns) = image.shape[:2], mask.shape
        raise PreceptorError(f"{path} is {columns} x {rows} pixels, its image {width} x {height}")
    return mask, classes == 2 and is_smeared(levels)


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A mapped array whose disk space is taken at once: a full disk is an error here, not a crash at a later write."""
    needed = int(np.prod(shape))
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")
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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
