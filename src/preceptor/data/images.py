"""Image files to arrays. What cannot be read exactly is refused by name; nothing is repaired or guessed.

Libraries convert quietly: 16-bit colour loses its low byte, a palette becomes indices or colours, CMYK is inverted by
some writers, transparent pixels turn black. Each of these changes what a network is shown, so each is an error here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from preceptor.errors import PreceptorError, some_of

#: The containers that are opened. Pillow knows many more, some of which run outside programs (EPS).
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
#: File name endings of those, lower case; readers that look into folders take these for images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
#: Width times height above which a file is taken for a decompression bomb (about 512 MiB of RGB).
MOST_PIXELS = 178_956_970

_COLOUR = ("RGB", "RGBA", "L", "LA")
_CALLED = {
    "CMYK": "a CMYK image (colours for print)",
    "P": "a palette image",
    "PA": "a palette image",
    "1": "a black-and-white image of one bit a pixel",
    "I": "an image of more than 8 bits a channel",
    "F": "a floating-point image",
}
_EXCLUDE = "or leave its id out with --exclude FILE"
_REPLACE = f"fetch the file again, {_EXCLUDE}"


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded: size in pixels (as stored) and Pillow's mode."""

    width: int
    height: int
    mode: str


def read_header(path: Path) -> Header:
    """The size and mode of an image file; nothing is decoded, so a truncated file may pass.

    Raises:
        PreceptorError: the file is missing, empty, no image, or one that :func:`read_image` refuses by its header.
    """
    with _opened(path) as image:
        _refuse_mode(path, image, _COLOUR, "8-bit RGB or 8-bit grey")
        return Header(image.width, image.height, image.mode)


def read_image(path: Path) -> np.ndarray:
    """The pixels of a photograph, exactly as stored, turned upright by its EXIF orientation.

    8-bit RGB is taken as it is; 8-bit grey is repeated in all three channels; an alpha channel is dropped where it is
    opaque throughout.

    Returns:
        (H, W, 3) uint8, RGB, a copy of its own.

    Raises:
        PreceptorError: the file is missing, empty, truncated, no image, larger than :data:`MOST_PIXELS`, of more than
            one frame, partly transparent, or not 8-bit RGB or grey (16-bit, float, CMYK, palette, …).

    Note:
        A JPEG that was damaged without becoming shorter may decode: libjpeg fills the gap and does not tell.
    """
    with _opened(path) as image:
        _refuse_mode(path, image, _COLOUR, "8-bit RGB or 8-bit grey")
        image = _decoded(path, image)
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise PreceptorError(
                f"{path} is partly transparent",
                expected="an image without transparency; what should stand behind it is not known",
                remedy=f"flatten it onto a background of your choice, {_EXCLUDE}",
            )
        return np.array(image.convert("RGB"))  # from L, LA, RGB or opaque RGBA: lossless


def read_mask(path: Path, classes: int = 2) -> np.ndarray:
    """The class of each pixel, turned upright by the EXIF orientation as the image is.

    Two classes may be written as 0 and 1 or as 0 and 255; more than two as their indices.

    Args:
        path: an 8-bit grey (or, for two classes, one-bit) image file.
        classes: number of classes with the background.

    Returns:
        (H, W) uint8 with values 0 … classes - 1.

    Raises:
        PreceptorError: the file cannot be read (as for :func:`read_image`), has colours, or has other values.
    """
    span = "0 and 255, or 0 and 1" if classes == 2 else f"0 to {classes - 1}"
    expected = f"a mask in 8-bit grey with the values {span}"
    with _opened(path) as image:
        _refuse_mode(path, image, ("L", "1"), expected)
        mask = np.array(_decoded(path, image), dtype=np.uint8)
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    if classes == 2 and set(values) <= {0, 255}:
        mask = (mask == 255).astype(np.uint8)
    elif values[-1] >= classes:
        raise PreceptorError(
            f"{path} has the values {some_of(values)}",
            expected=expected,
            remedy="store masks losslessly (PNG; JPEG smears the values) and without smoothing at the border",
        )
    return mask


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The opened, undecoded image, of an accepted container, size and depth."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise PreceptorError(
            "another library has set PIL.ImageFile.LOAD_TRUNCATED_IMAGES, which fills truncated images with grey",
            remedy="set it to False before images are read",
        )
    image = _open(path)
    with image:
        if image.width * image.height > MOST_PIXELS:  # before anything is decoded
            raise _bomb(path, f"{image.width} x {image.height}")
        frames = _frames(path, image)
        if frames > 1:
            raise PreceptorError(
                f"{path} holds {frames} frames",
                expected="one image in a file (no animation, stack or pair)",
                remedy=f"save the frame that is meant as a file of its own, {_EXCLUDE}",
            )
        yield image


def _open(path: Path) -> Image.Image:
    try:
        size = path.stat().st_size
        if size:
            return Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise PreceptorError(f"{path} does not exist", expected="an image file", remedy=_REPLACE) from None
    except Image.DecompressionBombError:
        raise _bomb(path) from None
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise PreceptorError(
            f"{path} is not an image, or its header is damaged", expected=f"one of {known}", remedy=_REPLACE
        ) from None
    except OSError as error:
        if error.strerror is None:  # raised by Pillow, not by the system
            raise _damaged(path, error) from error
        raise PreceptorError(f"{path} cannot be opened: {error.strerror}", expected="an image file") from error
    except Exception as error:
        raise _damaged(path, error) from error
    raise PreceptorError(f"{path} is empty (zero bytes)", expected="an image file", remedy=_REPLACE)


def _frames(path: Path, image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # a broken chain of TIFF directories
        raise _damaged(path, error) from error


def _refuse_mode(path: Path, image: Image.Image, accepted: tuple[str, ...], expected: str) -> None:
    deep = image.mode.startswith("I") or any(";16" in _raw_mode(tile.args) for tile in getattr(image, "tile", ()))
    if deep:  # Pillow opens 16-bit colour as mode RGB and drops the low bytes
        raise PreceptorError(
            f"{path} has more than 8 bits a channel",
            expected=expected,
            remedy=f"convert it to 8 bits with a range that suits your data (the choice alters contrast), {_EXCLUDE}",
        )
    if image.mode not in accepted:
        raise PreceptorError(
            f"{path} is {_CALLED.get(image.mode, f'an image of mode {image.mode}')}",
            expected=expected,
            remedy=f"convert it once, with colour management where colours are meant, {_EXCLUDE}",
        )


def _raw_mode(args: object) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _decoded(path: Path, image: Image.Image) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> PreceptorError:
    return PreceptorError(
        f"{path} is truncated or damaged ({error})", expected="a complete image file", remedy=_REPLACE
    )


def _bomb(path: Path, size: str = "") -> PreceptorError:
    return PreceptorError(
        f"{path} claims {size or 'far too many'} pixels: a decompression bomb, or not meant for this",
        expected=f"at most {MOST_PIXELS:,} pixels an image",
        remedy=f"cut it into tiles or scale it down first, {_EXCLUDE}",
    )


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """Stretched to a square of ``side`` pixels: images (H, W, 3) bilinear with antialiasing, masks (H, W) to the
    nearest pixel, so that no new values arise."""
    how = Image.Resampling.BILINEAR if pixels.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))
