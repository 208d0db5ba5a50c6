"""Opening image files with Pillow, strictly: what cannot be read exactly is refused by name, nothing is repaired.

Libraries convert quietly: 16-bit colour loses its low byte, a palette becomes indices or colours, CMYK is inverted by
some writers, transparent pixels turn black. Each of these changes what a network is shown, so each is an error here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from preceptor.data.foreign_formats import foreign_format
from preceptor.data.sources import is_member, read_member
from preceptor.utils.errors import PreceptorError

#: The formats that are opened. Pillow knows many more, some of which run outside programs (EPS). A JPEG with a preview
#: or a second picture, as cameras and phones write it (MPO), is a JPEG; its first picture is the photograph.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
#: File name endings of those, lower case; readers that look into folders take these for images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".webp"})
#: Width times height above which a file is taken for a decompression bomb (about 512 MiB of RGB).
MOST_PIXELS = 178_956_970
#: Pillow's modes of colour and grey images of 8 bits per channel.
COLOUR = ("RGB", "RGBA", "L", "LA")
#: The way out that the message on any single image ends with.
EXCLUDE = "or leave its id out with --exclude FILE"

_ORIENTATION = 0x0112  # the EXIF tag
_REPLACE = f"fetch the file again, {EXCLUDE}"
_MODE_NAMES = {
    "CMYK": "a CMYK image (colours for print)",
    "P": "a palette image",
    "PA": "a palette image",
    "1": "a black-and-white image of one bit a pixel",
    "I": "an image of more than 8 bits per channel",
    "F": "a floating-point image",
}


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it, and refuse what is of no accepted format, too large, or of several frames.

    Raises:
        PreceptorError: as described; the file is missing, empty or no image; another library has told Pillow to fill
            truncated images.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise PreceptorError(
            "another library has set PIL.ImageFile.LOAD_TRUNCATED_IMAGES, which fills truncated images with grey",
            remedy="set it to False before images are read",
        )
    with _open(path) as image:
        if image.width * image.height > MOST_PIXELS:  # before anything is decoded
            raise _bomb(path, f"{image.width} x {image.height}")
        frames = 1 if image.format == "MPO" else _frames(path, image)
        if frames > 1:
            raise PreceptorError(
                f"{path} holds {frames} frames",
                expected="one image in a file (no animation, stack or pair)",
                remedy=f"save the frame that is meant as a file of its own, {EXCLUDE}",
            )
        yield image


def refuse_mode(path: Path, image: Image.Image, accepted: tuple[str, ...], expected: str) -> None:
    """Raise :class:`PreceptorError` for over 8 bits per channel, a mode not accepted, or channels without a name."""
    deep = image.mode.startswith("I") or any(";16" in _raw_mode(tile.args) for tile in getattr(image, "tile", ()))
    if deep:  # Pillow opens 16-bit colour as mode RGB and drops the low bytes
        raise PreceptorError(
            f"{path} has more than 8 bits per channel",
            expected=expected,
            remedy=f"convert it to 8 bits with a range that suits your data (the choice alters contrast), {EXCLUDE}",
        )
    if image.mode not in accepted:
        raise PreceptorError(
            f"{path} is {_MODE_NAMES.get(image.mode, f'an image of mode {image.mode}')}",
            expected=expected,
            remedy=f"convert it once, with colour management where colours are meant, {EXCLUDE}",
        )
    bands = len(image.getbands())
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (channels := _channels(image, bands)) != bands:
        raise PreceptorError(  # Pillow would drop the channels that it has no name for
            f"{path} has {channels} channels, of which {bands} would be read",
            expected=expected,
            remedy=f"save the three channels that are meant as a file of their own, {EXCLUDE}",
        )


def orientation_of(path: Path, image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 to 8; 1 (upright) where it has none."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # damaged metadata make parsers raise nearly anything
        raise _damaged(path, error) from error


def decoded(path: Path, image: Image.Image) -> Image.Image:
    """Decode an opened image and turn it upright by its EXIF orientation."""
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _damaged(path, error) from error


def opaque_rgb(path: Path, image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded image in L, LA, RGB or RGBA: lossless, as transparency is refused."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise PreceptorError(
            f"{path} is partly transparent",
            expected="an image without transparency; what should stand behind it is not known",
            remedy=f"flatten it onto a background of your choice, {EXCLUDE}",
        )
    return np.array(image.convert("RGB"))


def _open(path: Path) -> Image.Image:
    if is_member(path):
        content = read_member(path)
        if isinstance(content, np.ndarray):
            return Image.fromarray(content)
        return _identified(path, BytesIO(content))
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise PreceptorError(f"{path} does not exist", expected="an image file", remedy=_REPLACE) from None
    except OSError as error:
        raise PreceptorError(f"{path} cannot be opened: {error.strerror}", expected="an image file") from error
    if not size:
        raise PreceptorError(f"{path} is empty (zero bytes)", expected="an image file", remedy=_REPLACE)
    return _identified(path, path)


def _identified(path: Path, content: Path | BytesIO) -> Image.Image:
    try:
        return Image.open(content, formats=FORMATS)
    except Image.DecompressionBombError:
        raise _bomb(path) from None
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        name = foreign_format(content)
        if name:
            raise PreceptorError(
                f"{path} is {name}, a format that is not read",
                expected=f"one of {known}",
                remedy=f"convert it to PNG (of 8 bits per channel, with a window that suits your data), {EXCLUDE}",
            ) from None
        raise PreceptorError(
            f"{path} is not an image, or its header is damaged", expected=f"one of {known}", remedy=_REPLACE
        ) from None
    except OSError as error:
        if error.strerror is None:  # raised by Pillow, not by the system
            raise _damaged(path, error) from error
        raise PreceptorError(f"{path} cannot be opened: {error.strerror}", expected="an image file") from error
    except Exception as error:
        raise _damaged(path, error) from error


def _frames(path: Path, image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # a broken chain of TIFF directories
        raise _damaged(path, error) from error


def _channels(image: TiffImagePlugin.TiffImageFile, usual: int) -> int:
    return int(image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, usual))


def _raw_mode(args: object) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _damaged(path: Path, error: Exception) -> PreceptorError:
    return PreceptorError(
        f"{path} is truncated or damaged ({error})", expected="a complete image file", remedy=_REPLACE
    )


def _bomb(path: Path, size: str = "") -> PreceptorError:
    return PreceptorError(
        f"{path} claims {size or 'far too many'} pixels: a decompression bomb, or not meant for this",
        expected=f"at most {MOST_PIXELS:,} pixels per image",
        remedy=f"cut it into tiles or scale it down first, {EXCLUDE}",
    )
