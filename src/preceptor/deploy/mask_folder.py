"""The folder that ``preceptor predict`` writes masks to: what it may replace, and ``masks.csv``. Needs no torch."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from preceptor.data.dicom import has_settings
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import MASK_MARK, has_mark, refuse_foreign, refuse_unwritable, sha256_of, write_bytes

TABLE = "masks.csv"
_SOURCE, _NETWORK = "Source SHA-256", "Network SHA-256"  # texts in a mask's PNG file


def mask_name(file: Path) -> str:
    """What the mask of an image file is called: ``photo.png`` for ``photo.jpg`` and for ``photo.dcm::frame=3``."""
    return f"{_without_settings(file).stem}.png"


def mask_png(mask: NDArray[np.uint8], file: Path, network: str) -> bytes:
    """An 8-bit PNG that states which image file and which network the mask is of."""
    texts = PngInfo()
    texts.add_text("Software", MASK_MARK.decode())
    texts.add_text(_SOURCE, _source(file))
    texts.add_text(_NETWORK, network)
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG", pnginfo=texts)
    return png.getvalue()


def refuse_other_masks(folder: Path, files: Sequence[Path], network: str, classes: Sequence[str]) -> None:
    """Raise if masks of these images would replace other files, or stand beside masks of another network.

    Args:
        network: what :func:`mask_png` states of it.
        classes: foreground classes, the columns of ``masks.csv``.

    Raises:
        PreceptorError: a file there that is no mask, the mask of another image, or masks of another network that would
            stay.
    """
    refuse_unwritable(folder)
    earlier = _rows(folder)
    sources = dict(zip(earlier["mask"], earlier["file"], strict=True))
    for file in files:
        mask = folder / mask_name(file)
        if not mask.exists():
            continue
        if mask.name not in sources and not has_mark(mask, [MASK_MARK]):
            raise PreceptorError(
                f"--out {folder}: holds {mask.name}, which is no mask of an earlier prediction",
                expected="a folder that is new, or holds earlier masks",
                remedy="name another folder",
            )
        if not _is_of(mask, file, sources.get(mask.name)):
            raise PreceptorError(
                f"--out {folder}: holds {mask.name}, the mask of {_words(sources.get(mask.name), file)}; "
                f"that of {file} would replace it",
                expected="in one folder, images that differ in their names",
                remedy="name another folder for these images",
            )
    replaced = set(map(mask_name, files))
    staying = [name for name in sources if name not in replaced]
    if staying and (
        list(earlier.columns[2:]) != list(classes)
        or any(_texts(folder / name).get(_NETWORK, network) != network for name in staying[:1])  # all are of one
    ):
        raise PreceptorError(
            f"--out {folder}: holds masks of another network, such as {staying[0]}",
            expected="in one folder, masks of one network",
            remedy="name another folder",
        )


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """Write ``masks.csv``: rows of earlier calls as they were, then those of ``table``, which replace their own."""
    rows = pd.read_csv(io.StringIO(table.to_csv(index=False, float_format="%.6f")), dtype=str, keep_default_na=False)
    earlier = _rows(folder)
    kept = earlier[~earlier["mask"].isin(rows["mask"])]
    whole = pd.concat([kept, rows]).fillna("") if len(kept) else rows
    write_bytes(folder / TABLE, whole.to_csv(index=False).encode(errors="backslashreplace"))


def _rows(folder: Path) -> pd.DataFrame:
    """The rows of ``masks.csv`` as text; none where there is no such file."""
    path = folder / TABLE
    if not path.exists():
        return pd.DataFrame(columns=["file", "mask"], dtype=str)
    refuse_foreign(path, [b"file,mask,"])
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # also of a row with too many fields, and of bytes that are no UTF-8
        raise PreceptorError(
            f"--out {folder}: {TABLE} cannot be read ({error})", remedy="name another folder"
        ) from None


def _is_of(mask: Path, file: Path, earlier: str | None) -> bool:
    """Whether a mask is of this image file, by its own text and by the file that ``masks.csv`` gives."""
    recorded, source = _texts(mask).get(_SOURCE), _source(file)
    if recorded and source and recorded != source:
        return False
    if earlier is None or os.path.abspath(earlier) == os.path.abspath(file):
        return True
    # the same image under another path: written from another working directory, or moved since; but not a copy
    return bool(recorded) and not _without_settings(Path(earlier)).exists()


def _words(earlier: str | None, file: Path) -> str:
    if earlier is None or os.path.abspath(earlier) == os.path.abspath(file):
        return "an image of other content"  # a relative path from another folder, or an image that was edited
    return earlier


def _texts(mask: Path) -> dict[str, str]:
    """The texts in a PNG file; none of a file that is absent or no PNG."""
    try:
        with Image.open(mask, formats=["PNG"]) as image:
            return dict(image.text) if isinstance(image, PngImageFile) else {}
    except (OSError, SyntaxError, ValueError):
        return {}


def _source(file: Path) -> str:
    """SHA-256 of an image file, and of the frame and window that its name asks for; empty if it cannot be read."""
    plain = _without_settings(file)
    try:
        digest = sha256_of(plain)
    except OSError:  # is named among the unreadable files later, and gets no mask
        return ""
    return digest if plain == file else hashlib.sha256(f"{digest}{str(file)[len(str(plain)) :]}".encode()).hexdigest()


def _without_settings(file: Path) -> Path:
    return Path(str(file).partition("::")[0]) if has_settings(file) else file
