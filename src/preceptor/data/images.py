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
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from preceptor.data.mask_edges import further_classes, may_be_cut
from preceptor.utils.errors import PreceptorError, some_of

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
            one frame, partly transparent, or not 8-bit RGB or grey (16-bit, float, CMYK, palette, a TIFF with channels
            besides, …).

    Note:
        A JPEG that was damaged without becoming shorter may decode: libjpeg fills the gap and does not tell.
    """
    with _opened(path) as image:
        _refuse_mode(path, image, _COLOUR, "8-bit RGB or 8-bit grey")
        return _opaque_rgb(path, _decoded(path, image))


def read_mask(path: Path, classes: int = 2) -> np.ndarray:
    """The class of each pixel, turned upright by the EXIF orientation as the image is.

    Two classes may be written as 0 and 1 or as 0 and 255; more than two as their indices. Where JPEG or smoothing left
    other values at the border of a mask of two classes, it is cut at half (128 and above is the foreground). Values
    that fill areas are no such border: they are further classes, or pixels to ignore, and cut they would be lost.

    Args:
        path: an 8-bit grey (or, for two classes, one-bit) image file; RGB where its three channels are the same.
        classes: number of classes with the background.

    Returns:
        (H, W) uint8 with values 0 … classes - 1.

    Raises:
        PreceptorError: the file cannot be read (as for :func:`read_image`), has colours or a palette, or has values
            that are neither indices below ``classes`` nor a mask of two classes.
    """
    return mask_classes_of(path, read_levels(path, classes), classes)


def read_levels(path: Path, classes: int = 2) -> np.ndarray:
    """The grey levels of a mask file as stored, (H, W) uint8; :func:`mask_classes_of` makes classes of them.

    Raises:
        PreceptorError: as for :func:`read_mask`, but for the values.
    """
    expected = _expected_mask(classes)
    with _opened(path) as image:
        _refuse_mode(path, image, (*_COLOUR, "1"), expected)
        if classes > 2 and image.format == "JPEG":
            raise PreceptorError(
                f"{path} is a JPEG with {classes} mask classes, whose indices JPEG does not keep",
                expected=expected,
                remedy=f"write the masks again from their source as PNG, {_EXCLUDE}",
            )
        if image.mode == "1" or (image.mode == "L" and not image.has_transparency_data):
            return np.array(_decoded(path, image), dtype=np.uint8)
        pixels = _opaque_rgb(path, _decoded(path, image))
    if (pixels != pixels[..., :1]).any():
        raise PreceptorError(
            f"{path} has colours; which class each of them stands for is not known",
            expected=expected,
            remedy=f"write the index of the class into each pixel and save it as grey PNG, {_EXCLUDE}",
        )
    return pixels[..., 0].copy()


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


def _values(levels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(levels.ravel(), minlength=256))


def _expected_mask(classes: int) -> str:
    span = "0 and 255, or 0 and 1" if classes == 2 else f"0 to {classes - 1}"
    return f"a mask in 8-bit grey with the values {span}"


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
    bands = len(image.getbands())
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (channels := _channels(image, bands)) != bands:
        raise PreceptorError(  # Pillow would drop the channels that it has no name for
            f"{path} has {channels} channels, of which {bands} would be read",
            expected=expected,
            remedy=f"save the three channels that are meant as a file of their own, {_EXCLUDE}",
        )


def _channels(image: TiffImagePlugin.TiffImageFile, usual: int) -> int:
    return int(image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, usual))


def _opaque_rgb(path: Path, image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded image in L, LA, RGB or RGBA: lossless, as transparency is refused."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise PreceptorError(
            f"{path} is partly transparent",
            expected="an image without transparency; what should stand behind it is not known",
            remedy=f"flatten it onto a background of your choice, {_EXCLUDE}",
        )
    return np.array(image.convert("RGB"))


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
    """Stretched to a square of ``side`` pixels.

    Images (H, W, 3) bilinear with antialiasing. Masks (H, W) of class indices by majority: each pixel becomes the class
    with the largest share of what the image's filter mixes into the same pixel (of equal shares the higher class, so
    that small lesions are not eaten by the background). No new values arise, and unlike the nearest pixel, which looks
    at one place of many, outlines neither jag nor shift. What is smaller than half a pixel may vanish.
    """
    if pixels.ndim == 3:
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    if pixels.shape == (side, side):
        return pixels
    winner, most = np.zeros((side, side), dtype=np.uint8), np.full((side, side), -1.0, dtype=np.float32)
    for one in _values(pixels):
        here = Image.fromarray((pixels == one).astype(np.float32))
        share = np.asarray(here.resize((side, side), Image.Resampling.BILINEAR))
        wins = share >= most - 1e-5  # rounding must not decide on a tie
        winner[wins], most[wins] = one, share[wins]
    return winner
