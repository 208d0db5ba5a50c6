"""Mask files to the class of each pixel, checked against the image that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.image_files import COLOUR, EXCLUDE, decoded, opaque_rgb, opened, orientation_of, refuse_mode
from preceptor.data.mask_edges import further_classes, may_be_cut
from preceptor.data.sources import EMPTY_MASK, masks_of
from preceptor.utils.errors import PreceptorError, some_of


def read_mask(path: Path, classes: int = 2) -> np.ndarray:
    """The class of each pixel, turned upright by the EXIF orientation as the image is.

    Two classes may be written as 0 and 1 or as 0 and 255; more than two as their indices. Where JPEG or smoothing left
    other values at the border of a mask of two classes, it is cut at half (128 and above is the foreground). Values
    that fill areas are no such border: they are further classes, or pixels to ignore, and cut they would be lost. A
    palette whose colours are greys stands for those; of any other palette the indices are the classes.

    Args:
        path: an 8-bit grey, palette (or, for two classes, one-bit) image file; RGB where its channels are the same.
        classes: number of classes with the background.

    Returns:
        (H, W) uint8 with values 0 … classes - 1.

    Raises:
        PreceptorError: the file cannot be read (as for :func:`~preceptor.data.images.read_image`), has colours, or has
            values that are neither indices below ``classes`` nor a mask of two classes.
    """
    return mask_classes_of(path, read_levels(path, classes), classes)


def read_mask_of(catalog: Catalog, row: int, image: np.ndarray | None, orientation: int) -> tuple[np.ndarray, bool]:
    """The mask of an image of the catalog, and whether its grey border was cut at half.

    Several mask files of one image are united (the higher class wins); a mask that is known to be empty needs no file.

    Args:
        image: (H, W, 3), the pixels that the mask belongs to; None where they cannot be read, and the mask is read
            for itself.
        orientation: the EXIF orientation that they were turned by.

    Returns:
        (H, W) uint8 class indices, larger than the image where the mask was drawn at a larger scale of the same
        proportions; and whether it had grey values at its border.

    Raises:
        PreceptorError: a mask that cannot be read, of other proportions or a smaller scale than its image, or of an
            unknown orientation: the image is turned by EXIF, the mask is not, and its shape does not tell whether it
            was drawn on the upright or on the stored pixels.
    """
    classes, name = len(catalog.mask_classes), str(catalog.table.at[row, "mask"])
    if name == EMPTY_MASK:
        return np.zeros((1, 1) if image is None else image.shape[:2], dtype=np.uint8), False
    united: np.ndarray | None = None
    smeared = False
    for file in masks_of(name):
        path = catalog.root / file
        levels, turned = _levels_and_orientation(path, classes)
        mask = mask_classes_of(path, levels, classes)
        smeared |= classes == 2 and is_smeared(levels)
        if image is not None:
            _refuse_other_shape(path, mask, image)
        if orientation != 1 and turned == 1:
            _refuse_unknown_orientation(path, mask, orientation)
        if united is not None and united.shape != mask.shape:
            raise PreceptorError(f"{path} is {_size(mask)}, another mask of its image {_size(united)}")
        united = mask if united is None else np.maximum(united, mask)
    assert united is not None  # the caller asks for images with a mask
    return united, smeared


def read_levels(path: Path, classes: int = 2) -> np.ndarray:
    """The grey levels of a mask file as stored, (H, W) uint8; :func:`mask_classes_of` makes classes of them.

    Raises:
        PreceptorError: as for :func:`read_mask`, but for the values.
    """
    return _levels_and_orientation(path, classes)[0]


def is_smeared(levels: np.ndarray) -> bool:
    """Whether a mask of two classes has other values than 0 and 1, or 0 and 255, so that it has to be cut at half."""
    values = _values(levels)
    return values[-1] > 1 and not set(values) <= {0, 255}


def mask_classes_of(path: Path, levels: np.ndarray, classes: int) -> np.ndarray:
    """Grey levels (H, W) uint8 to classes, as :func:`read_mask` describes; ``path`` is for messages."""
    if levels.max() < classes:
        return levels
    if classes == 2 and (not is_smeared(levels) or may_be_cut(levels)):
        return (levels > 127).astype(np.uint8)
    further = further_classes(levels) if classes == 2 else []
    if further:  # what gathers errors of many files keeps the first sentence alone, so the way out is in it
        raise PreceptorError(
            f"{path} has the values {some_of(_values(levels))}, with whole areas of {some_of(further)}; "
            "more than two classes are written as 0, 1, 2 … and named in data.mask_classes",
            expected=_expected_mask(classes),
            remedy="write the index of its class into each pixel (what is to be ignored is one, too), save the masks "
            "as PNG and name the classes in that order: --data table data.mask_classes=background,disc,cup",
        )
    raise PreceptorError(
        f"{path} has the values {some_of(_values(levels))}",
        expected=_expected_mask(classes),
        remedy="name all classes of the masks, write the indices of the classes, or store the masks losslessly (PNG)",
    )


def _levels_and_orientation(path: Path, classes: int) -> tuple[np.ndarray, int]:
    expected = _expected_mask(classes)
    with opened(path) as image:
        refuse_mode(path, image, (*COLOUR, "1", "P"), expected)
        if classes > 2 and image.format == "JPEG":
            raise PreceptorError(
                f"{path} is a JPEG with {classes} mask classes, whose indices JPEG does not keep",
                expected=expected,
                remedy=f"write the masks again from their source as PNG, {EXCLUDE}",
            )
        orientation = orientation_of(path, image)
        if image.mode == "P":
            return _palette_levels(path, decoded(path, image), classes), orientation
        if image.mode == "1" or (image.mode == "L" and not image.has_transparency_data):
            return np.array(decoded(path, image), dtype=np.uint8), orientation
        pixels = opaque_rgb(path, decoded(path, image))
    if (pixels != pixels[..., :1]).any():
        raise PreceptorError(
            f"{path} has colours; which class each of them stands for is not known",
            expected=expected,
            remedy=f"write the index of the class into each pixel and save it as grey PNG, {EXCLUDE}",
        )
    return pixels[..., 0].copy(), orientation


def _palette_levels(path: Path, image: Image.Image, classes: int) -> np.ndarray:
    """(H, W) uint8 of a palette image: its greys, or the indices where the palette is of colours (as VOC's is)."""
    indices = np.array(image, dtype=np.uint8)
    pixels = opaque_rgb(path, image)
    grey = bool((pixels == pixels[..., :1]).all())
    levels = pixels[..., 0].copy()
    if not grey:
        if indices.max() >= classes:
            raise PreceptorError(
                f"{path} is a palette image with the indices {some_of(_values(indices))}",
                expected=f"indices 0 to {classes - 1}, one for each class",
                remedy="name all classes of the masks in data.mask_classes, or write the indices of the classes",
            )
        return indices
    if classes > 2 and levels.max() >= classes > indices.max():
        return indices
    return levels


def _refuse_other_shape(path: Path, mask: np.ndarray, image: np.ndarray) -> None:
    (height, width), (rows, columns) = image.shape[:2], mask.shape
    if (rows, columns) == (height, width):
        return
    proportional = abs(columns * height - rows * width) <= max(columns, rows)  # within a pixel of rounding
    if proportional and rows > height and columns > width:
        return
    smaller = proportional and rows < height and columns < width
    hint = "; it is of a smaller scale, so its outline is coarser than the image" if smaller else ""
    if (rows, columns) == (width, height) and rows != columns:
        hint = "; one of the two is turned by a quarter (EXIF orientation)"
    raise PreceptorError(
        f"{path} is {_size(mask)}, its image is {width}x{height}{hint}",
        expected="a mask of its image's size, or larger in the same proportions",
        remedy=f"scale the images down to their masks, or save both upright and of one size, {EXCLUDE}",
    )


def _refuse_unknown_orientation(path: Path, mask: np.ndarray, orientation: int) -> None:
    if orientation >= 5 and mask.shape[0] != mask.shape[1]:
        return  # a quarter turn: the shape, which fits the upright image, tells that the mask was drawn on it
    raise PreceptorError(
        f"{path} has no EXIF orientation, but its image is turned by EXIF (orientation {orientation}): whether the "
        "mask was drawn on the stored or on the upright pixels is not known",
        expected="an image and a mask that are both stored upright, or both turned by EXIF",
        remedy=f"save the image upright and without the EXIF tag, {EXCLUDE}",
    )


def _values(levels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(levels.ravel(), minlength=256))


def _expected_mask(classes: int) -> str:
    span = "0 and 255, or 0 and 1" if classes == 2 else f"0 to {classes - 1}"
    return f"a mask in 8-bit grey with the values {span}"


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}"
