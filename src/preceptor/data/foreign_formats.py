"""Names of image formats that are common and not read here, so that a whole file is not called damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

#: Endings of image files that are not read, lower case; a folder with such files is not a folder of litter.
FOREIGN_SUFFIXES = frozenset(
    {".gif", ".dcm", ".dicom", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".svg", ".ppm", ".pgm",
     ".pnm", ".nii", ".gz", ".nrrd", ".mha", ".mhd", ".svs", ".ndpi", ".mrxs", ".npy", ".mat", ".exr", ".psd", ".dng",
     ".nef", ".cr2", ".cr3", ".arw"}
)  # fmt: skip

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # where in the file, what stands there, what it means
    (0, b"GIF8", "a GIF"),
    (128, b"DICM", "a DICOM file"),
    (4, b"ftyphe", "a HEIC photograph"),
    (4, b"ftypmif1", "a HEIC photograph"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"jP  \r\n", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\x1f\x8b", "compressed with gzip (NIfTI volumes are)"),
    (344, b"n+1\0", "a NIfTI volume"),
    (344, b"ni1\0", "a NIfTI volume"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
)


def foreign_format(content: Path | BytesIO) -> str:
    """The name of the format, with an article, by the first bytes; an empty string where they say nothing.

    >>> foreign_format(BytesIO(b"GIF89a"))
    'a GIF'
    """
    if isinstance(content, BytesIO):
        head = content.getvalue()[:512]
    else:
        with content.open("rb") as file:
            head = file.read(512)
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "a PPM or PGM image"
    return next((name for at, mark, name in _SIGNATURES if head[at : at + len(mark)] == mark), "")
