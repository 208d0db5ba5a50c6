"""Where one image or mask is stored: in a file of its own, inside a container of many, or in several files at once.

The columns ``image`` and ``mask`` of a catalog hold one string for each image, relative to the catalog's root:

- ``train/a.png``: an image file;
- ``derma.npz::train_images[7]``: entry 7 of an array in a NumPy archive or an HDF5 file;
- ``train-image.hdf5::ISIC_0015670``: a data set of an HDF5 file that holds an encoded image file;
- ``scan.dcm::frame=3``: one frame of a DICOM file (:mod:`preceptor.data.dicom`), or another window;
- ``a_mask.png|a_mask_1.png``: several masks of one image, to be united (masks only);
- :data:`EMPTY_MASK`: a mask that is background throughout and has no file (masks only).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import Any
from zipfile import BadZipFile

import numpy as np

from preceptor.data.dicom import DICOM_SUFFIXES
from preceptor.utils.errors import PreceptorError

#: The mask of an image that is known to show nothing.
EMPTY_MASK = "::empty"
_MEMBER, _UNION = "::", "|"
_INDEXED = re.compile(r"(?P<key>.+)\[(?P<index>[0-9]+)\]")
_HDF5 = (".h5", ".hdf5")
_CONTAINERS = (".npz", *_HDF5, *DICOM_SUFFIXES)
_lock = RLock()  # HDF5 serves one thread at a time, and an array of an archive is to be unpacked once


def member(container: str, key: str, index: int | None = None) -> str:
    """Name an entry of a container, as the catalog's columns do.

    >>> member("derma.npz", "train_images", 7)
    'derma.npz::train_images[7]'
    """
    return f"{container}{_MEMBER}{key}" + ("" if index is None else f"[{index}]")


def join_masks(masks: list[str]) -> str:
    """Name several mask files of one image, as the catalog's column ``mask`` does."""
    return _UNION.join(masks)


def masks_of(name: str) -> list[str]:
    """The single masks that a catalog's ``mask`` entry names; none for an empty mask or no mask."""
    return [] if name in ("", EMPTY_MASK) else name.split(_UNION)


def files_of(name: str) -> list[str]:
    """The files on disk, relative to the catalog's root, that an ``image`` or ``mask`` entry is read from."""
    return [_split(part)[0] for part in masks_of(name)]


def is_member(path: Path) -> bool:
    """Whether a path names an entry of a container, not a file."""
    return bool(_split(str(path))[1])


def read_member(path: Path) -> np.ndarray | bytes:
    """Read an entry of a container: pixels (H, W) or (H, W, 3) uint8, or the bytes of an encoded image file.

    Raises:
        PreceptorError: the container is missing or damaged, h5py is not installed, there is no such entry, or the
            entry is neither pixels of 8 bits nor an encoded image.
    """
    file, key = _split(str(path))
    matched = _INDEXED.fullmatch(key)
    name, index = (matched["key"], int(matched["index"])) if matched else (key, None)
    with _lock:
        array = _entry(Path(file), name)
        try:
            value = np.asarray(array[...] if index is None else array[index])
        except (IndexError, OSError, ValueError) as error:
            raise PreceptorError(
                f"{path} cannot be read: {error}", expected=f"an entry of {name} in {file}", remedy="fetch it again"
            ) from None
    if value.dtype.kind in "SOV":
        return bytes(value.item()) if value.ndim == 0 else value.tobytes()
    if value.dtype != np.uint8 or value.ndim not in (1, 2, 3):
        raise PreceptorError(
            f"{path} holds {value.dtype} values of shape {value.shape}",
            expected="an encoded image, or pixels of 8 bits in the shape (H, W) or (H, W, 3)",
        )
    return value.tobytes() if value.ndim == 1 else value.squeeze(-1) if value.shape[2:] == (1,) else value


def shape_of(file: Path, key: str) -> tuple[int, ...]:
    """The shape of an array in a container."""
    with _lock:
        return tuple(_entry(file, key).shape)


def array_of(file: Path, key: str) -> np.ndarray:
    """The whole of a small array in a container, such as labels."""
    with _lock:
        return np.asarray(_entry(file, key)[...])


def keys_of(file: Path) -> list[str]:
    """The names of the arrays in a container."""
    with _lock:
        return list(_opened(str(file), file.stat().st_mtime_ns).keys())


def close_containers() -> None:
    """Forget opened containers and unpacked arrays, which hold memory."""
    with _lock:
        _unpacked.cache_clear()
        _opened.cache_clear()


def _split(name: str) -> tuple[str, str]:
    """The file and the entry that a name stands for; the entry is empty for a plain file."""
    file, separator, key = name.rpartition(_MEMBER)
    return (file, key) if separator and file.lower().endswith(_CONTAINERS) else (name, "")


def _entry(file: Path, key: str) -> Any:
    try:
        changed = file.stat().st_mtime_ns
    except FileNotFoundError:
        raise PreceptorError(f"{file} does not exist", expected="a file of arrays (.npz or .hdf5)") from None
    container = _opened(str(file), changed)
    if key not in container:
        raise PreceptorError(
            f"{file} holds no {key!r}", expected=f"one of its entries: {', '.join(list(container)[:5])} …"
        )
    if file.suffix.lower() in _HDF5:
        return container[key]
    return _unpacked(str(file), changed, key)


@lru_cache(maxsize=4)
def _opened(file: str, changed: int) -> Any:
    suffix = Path(file).suffix.lower()
    opener: Callable[[str], Any] = _open_hdf5 if suffix in _HDF5 else np.load
    try:
        return opener(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise PreceptorError(
            f"{file} cannot be opened: {error}", expected="a whole file of arrays", remedy="fetch it again"
        ) from None


def _open_hdf5(file: str) -> Any:
    try:
        h5py = import_module("h5py")
    except ModuleNotFoundError:
        raise PreceptorError(
            f"{file}: reading HDF5 needs h5py", remedy="install it: pip install 'preceptor[data]'"
        ) from None
    return h5py.File(file, "r")


@lru_cache(maxsize=2)
def _unpacked(file: str, changed: int, key: str) -> np.ndarray:
    """An array of a NumPy archive; compressed ones cannot be read piece by piece."""
    try:
        return np.asarray(_opened(file, changed)[key])
    except Exception as error:  # zipfile, zlib and numpy raise nearly anything on damaged archives
        raise PreceptorError(
            f"{file}: {key} cannot be unpacked: {error}", expected="a whole archive", remedy="fetch it again"
        ) from error
