"""Photographs: files (or entries of a container) to RGB arrays, and both images and masks to a square of one size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from preceptor.data.dicom import dicom_size, is_dicom, read_dicom
from preceptor.data.image_files import (
    COLOUR,
    MOST_PIXELS,
    SUFFIXES,
    decoded,
    opaque_rgb,
    opened,
    orientation_of,
    refuse_mode,
)

__all__ = ["MOST_PIXELS", "SUFFIXES", "Header", "read_header", "read_image", "read_oriented", "resize"]

_EXPECTED = "8-bit RGB or 8-bit grey"


@dataclass(frozen=True)
class Header:
    """What a file states before its pixels are decoded: size in pixels (as stored) and Pillow's mode."""

    width: int
    height: int
    mode: str


def read_header(path: Path) -> Header:
    """The size and mode of an image file; nothing is decoded, so a truncated file may pass.

    Raises:
        PreceptorError: the file is missing, empty, no image, or one that :func:`read_image` refuses by its header.
    """
    if is_dicom(path):
        return Header(*dicom_size(path), "DICOM")
    with opened(path) as image:
        refuse_mode(path, image, COLOUR, _EXPECTED)
        return Header(image.width, image.height, image.mode)


def read_image(path: Path) -> np.ndarray:
    """The pixels of a photograph, exactly as stored, turned upright by its EXIF orientation.

    A DICOM file (``.dcm``) is read as :func:`preceptor.data.dicom.read_dicom` does.

    8-bit RGB is taken as it is; 8-bit grey is repeated in all three channels; an alpha channel is dropped where it is
    opaque throughout.

    Returns:
        (H, W, 3) uint8, RGB, a copy of its own.

    Raises:
        PreceptorError: the file is missing, empty, truncated, no image, larger than :data:`MOST_PIXELS`, of more than
            one frame, partly transparent, or not 8-bit RGB or grey (16-bit, float, CMYK, palette, a TIFF with channels
            besides, …).

    Note:
        A JPEG that was damaged without becoming shorter may decode: libjpeg fills the gap and does not tell.
    """
    return read_oriented(path)[0]


def read_oriented(path: Path) -> tuple[np.ndarray, int]:
    """The pixels as :func:`read_image` gives them, and the EXIF orientation (1 to 8) that they were turned by."""
    if is_dicom(path):
        return read_dicom(path), 1
    with opened(path) as image:
        refuse_mode(path, image, COLOUR, _EXPECTED)
        orientation = orientation_of(path, image)
        return opaque_rgb(path, decoded(path, image)), orientation


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """Stretched to a square of ``side`` pixels.

    Images (H, W, 3) bilinear with antialiasing. Masks (H, W) of class indices by majority: each pixel becomes the class
    with the largest share of what the image's filter mixes into the same pixel (of equal shares the higher class, so
    that small lesions are not eaten by the background). No new values arise, and unlike the nearest pixel, which is
    one place of many, outlines neither jag nor shift. What is smaller than half a pixel may vanish.
    """
    if pixels.ndim == 3:
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    if pixels.shape == (side, side):
        return pixels
    winner, most = np.zeros((side, side), dtype=np.uint8), np.full((side, side), -1.0, dtype=np.float32)
    for value in np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)):
        area = Image.fromarray((pixels == value).astype(np.float32))
        share = np.asarray(area.resize((side, side), Image.Resampling.BILINEAR))
        wins = share >= most - 1e-5  # rounding must not decide on a tie
        winner[wins], most[wins] = value, share[wins]
    return winner
