"""DICOM files to 8-bit RGB arrays, as a viewer shows them; what would have to be guessed is refused with its tag.

DICOM PS3.3 (C.7.6.3 image pixel, C.11.1 modality LUT, C.11.2 VOI LUT). Needs the extra ``preceptor[dicom]``.

The name of a file may be followed by settings: ``scan.dcm::frame=3``, ``scan.dcm::window=LUNG``,
``scan.dcm::frame=3,window=40/400``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require

if TYPE_CHECKING:
    from pydicom import Dataset

#: Endings of DICOM files, lower case.
DICOM_SUFFIXES = (".dcm", ".dicom")
_SEPARATOR = "::"
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"


def is_dicom(path: Path) -> bool:
    """Whether a path, settings or not, names a DICOM file by its ending."""
    return str(path).partition(_SEPARATOR)[0].lower().endswith(DICOM_SUFFIXES)


def has_settings(path: Path) -> bool:
    """Whether a path is a DICOM file's, followed by settings; a window may put a slash into these."""
    return is_dicom(path) and _SEPARATOR in str(path)


def read_dicom(path: Path, frame: int | None = None, window: str | None = None) -> NDArray[np.uint8]:
    """The pixels of one frame: modality LUT, then window or VOI LUT; dark is 0 whatever the file's convention.

    Grey values of up to 8 bits without any window or rescaling are taken as stored. Padding is black.

    Args:
        path: of the file; settings behind ``::`` count where the arguments are None.
        frame: from 0; needed where there are several.
        window: the explanation or number (from 0) of one of the file's windows, or ``CENTRE/WIDTH``; needed where there
            are several, or values of more than 8 bits and none.

    Returns:
        (H, W, 3) uint8 RGB; grey repeated in all three channels.

    Raises:
        PreceptorError: no DICOM image, a frame or window that is needed and not named or not there, a photometric
            interpretation or depth that is not read, or a transfer syntax without a decoder. Names the tag.
    """
    require("dicom", "pydicom")
    file, settings = _settings(path)
    frame = settings.get("frame") if frame is None else frame
    window = settings.get("window") if window is None else window
    dataset = _read(file)
    pixels = _frame(dataset, file, frame)
    kind = str(dataset.PhotometricInterpretation)
    if kind in _GREY:
        grey = _grey(dataset, file, pixels, window)
        return np.repeat(grey[..., None], 3, axis=2)
    if window is not None:
        raise _refused(file, "PhotometricInterpretation", f"is {kind}, which has no window", "no window")
    if kind == _PALETTE:
        from pydicom.pixels import apply_color_lut

        pixels = apply_color_lut(pixels, dataset)
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)  # 16-bit palettes hold the same colours, finer
    if pixels.dtype != np.uint8:
        raise _refused(file, "BitsAllocated", f"gives colours of {pixels.dtype}", "8 bits per channel")
    return np.ascontiguousarray(pixels[..., :3])


def dicom_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels; nothing is decoded.

    Raises:
        PreceptorError: as :func:`read_dicom`, for files that are not images.
    """
    require("dicom", "pydicom")
    dataset = _read(_settings(path)[0])
    return int(dataset.Columns), int(dataset.Rows)


def patient_group(path: Path) -> str:
    """A name for the patient that tells nothing about them: the first 16 hexadecimal digits of a SHA-256.

    Raises:
        PreceptorError: the file has no PatientID.
    """
    return _digest(path, "PatientID", "one patient's images may then stand in several parts")


def instance_name(path: Path) -> str:
    """A name for the image, made of its SOPInstanceUID as :func:`patient_group` is of PatientID."""
    return _digest(path, "SOPInstanceUID", "every DICOM image has one")


def _digest(path: Path, keyword: str, why: str) -> str:
    require("dicom", "pydicom")
    file, _ = _settings(path)
    value = str(_read(file, pixels=False).get(keyword, "")).strip()
    if not value:
        raise _refused(file, keyword, "is missing or empty", why)
    return hashlib.sha256(f"preceptor {keyword} {value}".encode()).hexdigest()[:16]


def _settings(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file, and the frame and window that its name asks for."""
    file, separator, text = str(path).partition(_SEPARATOR)
    if not separator:
        return Path(file), {}
    settings: dict[str, Any] = dict(item.partition("=")[::2] for item in text.split(","))
    if not settings.keys() <= {"frame", "window"} or not str(settings.get("frame", 0)).isdecimal():
        raise PreceptorError(f"{path}: {text!r} is not a setting", expected="frame=NUMBER, window=NAME, or both")
    if "frame" in settings:
        settings["frame"] = int(settings["frame"])
    return Path(file), settings


def _read(file: Path, pixels: bool = True) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(file, stop_before_pixels=not pixels)
    except FileNotFoundError:
        raise PreceptorError(f"{file} does not exist", expected="a DICOM file") from None
    except (InvalidDicomError, EOFError, OSError) as error:
        raise PreceptorError(
            f"{file} is not a DICOM file ({error})", expected="a DICOM file with its preamble"
        ) from None
    needed = ("PixelData", "PhotometricInterpretation", "Rows", "Columns") if pixels else ()
    for keyword in needed:
        if keyword not in dataset:
            raise _refused(file, keyword, "is missing: this is not an image", "an image with pixels")
    return dataset


def _frame(dataset: Dataset, file: Path, frame: int | None) -> NDArray[Any]:
    from pydicom.pixels import pixel_array

    count = int(dataset.get("NumberOfFrames", 1) or 1)
    if count > 1 and frame is None:
        raise _refused(file, "NumberOfFrames", f"is {count}", f"a named frame: {file.name}::frame=0 to {count - 1}")
    if frame is not None and not 0 <= frame < count:
        raise _refused(file, "NumberOfFrames", f"is {count}; there is no frame {frame}", f"0 to {count - 1}")
    kind = str(dataset.PhotometricInterpretation)
    if kind not in (*_COLOUR, *_GREY, _PALETTE):
        raise _refused(file, "PhotometricInterpretation", f"is {kind}", ", ".join((*_GREY, *_COLOUR, _PALETTE)))
    try:
        return pixel_array(dataset, index=frame or 0)
    except Exception as error:  # pydicom and its decoders raise nearly anything
        name = dataset.file_meta.TransferSyntaxUID.name
        raise _refused(
            file, "TransferSyntaxUID", f"is {name}, which cannot be decoded ({error})", "a complete image",
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress the file first",
        ) from None  # fmt: skip


def _grey(dataset: Dataset, file: Path, stored: NDArray[Any], window: str | None) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, dataset).astype(np.float64)
    shown = _windowed(dataset, file, stored, values, window)
    grey = np.floor(np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.where(_padding(dataset, stored), 0, grey).astype(np.uint8)


def _windowed(
    dataset: Dataset, file: Path, stored: NDArray[Any], values: NDArray[np.float64], window: str | None
) -> NDArray[np.float64]:
    """Values in [0, 1] through the window that is named, or the only one; 0 and 1 stand for the ends of the display."""
    tables = dataset.get("VOILUTSequence") or []
    windows = _windows(dataset)
    if window is not None:
        return _linear(dataset, values, *_named(file, windows, window))
    if len(windows) + len(tables) > 1:
        names = [name or str(index) for index, (name, _, _) in enumerate(windows)]
        raise _refused(
            file, "WindowCenter", f"offers {', '.join(names)}", f"a named window: {file.name}::window={names[0]}"
        )
    if tables:
        from pydicom.pixels import apply_voi

        bits = int(tables[0].LUTDescriptor[2])
        # The table is indexed by the values that the modality LUT gives, which are integers here.
        return apply_voi(np.rint(values).astype(np.int64), dataset, index=0) / (2**bits - 1)
    if windows:
        return _linear(dataset, values, *windows[0][1:])
    if dataset.BitsStored > 8 or (values != stored).any():
        raise _refused(
            file, "WindowCenter", "is missing, and the values have more than 8 bits or are rescaled",
            f"a named window, CENTRE/WIDTH: {file.name}::window=40/400",
        )  # fmt: skip
    return values / (2 ** int(dataset.BitsStored) - 1)


def _windows(dataset: Dataset) -> list[tuple[str, float, float]]:
    """(explanation, centre, width) of each of the file's windows."""
    columns = [_listed(dataset.get(key)) for key in ("WindowCenter", "WindowWidth")]
    names = _listed(dataset.get("WindowCenterWidthExplanation"))
    pairs = list(zip(*columns, strict=False))
    names += [""] * (len(pairs) - len(names))
    return [(str(name), float(c), float(w)) for name, (c, w) in zip(names, pairs, strict=False)]


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def _named(file: Path, windows: list[tuple[str, float, float]], window: str) -> tuple[float, float]:
    for index, (name, centre, width) in enumerate(windows):
        if window in (name, str(index)):
            return centre, width
    centre_text, separator, width_text = window.partition("/")
    try:
        if separator:
            return float(centre_text), float(width_text)
    except ValueError:
        pass
    names = ", ".join(name or str(index) for index, (name, _, _) in enumerate(windows)) or "none"
    raise _refused(file, "WindowCenterWidthExplanation", f"has no {window!r}", f"one of: {names}; or CENTRE/WIDTH")


def _linear(dataset: Dataset, values: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, with the display's range as [0, 1]."""
    function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    return (values - (centre - 0.5)) / max(width - 1, np.finfo(float).tiny) + 0.5


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Which stored values are padding outside the image."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return (stored >= low) & (stored <= high)


def _refused(file: Path, keyword: str, what: str, expected: str, remedy: str = "") -> PreceptorError:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return PreceptorError(
        f"{file}: {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) {what}", expected=expected, remedy=remedy
    )
