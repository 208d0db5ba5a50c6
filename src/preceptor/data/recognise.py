"""What a folder or table most likely is: which reader takes it, with which options, and why that is thought."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from preceptor.data.catalog import Catalog
from preceptor.data.dicom import DICOM_SUFFIXES
from preceptor.data.file_finder import walk_files
from preceptor.data.image_files import SUFFIXES
from preceptor.data.layout import refuse_no_folder
from preceptor.data.readers import READERS, ReaderSpec
from preceptor.data.table_columns import recognise_columns
from preceptor.utils.errors import PreceptorError, some_of

_OWN = ("folder", "table", "dicom", "phantom")  # readers of no published data set in particular
_TABLES = (".csv", ".tsv")
_MANY = 2000  # files that are looked at to see what a folder holds
#: Regular expressions for patients or lesions in file names, from the coarsest to the finest group.
_PATTERNS = (r"^([A-Za-z]*[0-9]+)[_-]", r"^(.+)[_-][0-9]+\.[A-Za-z]+$")
_FEWEST_GROUPS, _LARGEST_SHARE = 10, 0.2


@dataclass(frozen=True)
class Recognised:
    """A reader for data on disk.

    Attributes:
        reader: its name.
        options: its options, as ``data.key=value`` gives them.
        reasons: sentences on what was recognised and why, for the user.
    """

    reader: str
    options: Mapping[str, str]
    reasons: tuple[str, ...]


def recognise(root: Path, options: Mapping[str, str] | None = None, reader: str | None = None) -> Recognised:
    """Name the reader that takes ``root``, and the options that it needs there.

    A published data set is known by its layout; then a table that names images; then DICOM files; then a folder for
    each class, or for images and masks.

    Args:
        root: a folder, or a CSV file.
        options: of the reader, where they are known already; they are kept as they are.
        reader: the reader, where it is known already.

    Raises:
        PreceptorError: nothing there, a file where the reader wants a folder, nothing that any reader takes, several
            published data sets at once, or a table whose columns cannot be told apart.
    """
    known = dict(options or {})
    if not root.exists():
        raise PreceptorError(f"{root} does not exist", expected="a folder of images, or a CSV file that names them")
    if reader is not None and reader != "table":
        spec = READERS[reader]
        refuse_no_folder(root, f"{spec.layout} (reader {reader!r})", spec.reads_file)
        return Recognised(reader, known, (f"{reader}, as asked for",))
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        raise PreceptorError(f"{root} is one image", expected="a folder of images, or a CSV file that names them")
    refuse_no_folder(root, "a folder of images, or a CSV file that names them", reads_file=True)
    if root.is_file():
        return _table(root, known)
    if reader is None:
        if published := _published(root, known):
            return Recognised(published, known, (f"the layout of {published} ({READERS[published].about.title})",))
        if dicom := _first(walk_files(root), DICOM_SUFFIXES):
            return Recognised("dicom", known, (f"DICOM files, such as {dicom}",))
    tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() in _TABLES and path.name[0] != "."]
    if reader == "table" or tables:
        return _table(_only(root, tables, known), known)
    if not _first(walk_files(root), tuple(SUFFIXES)):
        there = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        raise PreceptorError(
            f"{root} holds no images; it holds {some_of(there, 5) or 'nothing'}",
            expected="a folder for each class, a CSV file that names the images, or a published data set as downloaded",
            remedy="preceptor data list shows the layouts",
        )
    return Recognised("folder", known, ("a folder of images without a table",))


def group_pattern(catalog: Catalog) -> tuple[str, int, int] | None:
    """A pattern by which file names seem to name patients or lesions: it, the groups, the images of the largest.

    Only a suggestion: a number in a file name may be anything. None where no pattern gives at least ten groups of
    more than one image on average, none of them with more than a fifth of the images.
    """
    names = [PurePosixPath(path).name for path in catalog.table["image"]]
    for pattern in _PATTERNS:
        matches = [re.search(pattern, name) for name in names]
        groups = Counter(match[1] for match in matches if match)
        largest = max(groups.values(), default=0)
        if all(matches) and _FEWEST_GROUPS <= len(groups) < len(names) and largest <= _LARGEST_SHARE * len(names):
            return pattern, len(groups), largest
    return None


def _published(root: Path, options: Mapping[str, str]) -> str:
    """The published data set whose reader takes the folder; an empty string where none does."""
    takers = [name for name in READERS if name not in _OWN and _takes(READERS[name], root, options)]
    if len(takers) > 1:
        raise PreceptorError(
            f"{root} can be read as {some_of(takers)}", expected="one data set", remedy=f"add --data {takers[0]}"
        )
    return takers[0] if takers else ""


def _takes(spec: ReaderSpec, root: Path, options: Mapping[str, str]) -> bool:
    try:
        spec.function(root, **spec.convert(options))
    except (PreceptorError, OSError):
        return False
    return True


def _only(root: Path, tables: list[Path], options: Mapping[str, str]) -> Path:
    if "csv" in options:
        return root / options["csv"]
    if len(tables) == 1:
        return tables[0]
    raise PreceptorError(
        f"{root} holds {'several tables: ' + some_of(path.name for path in tables) if tables else 'no table'}",
        expected="one CSV file that names the images",
        remedy=f"name it: data.csv={tables[0].name}" if tables else "",
    )


def _table(path: Path, options: Mapping[str, str]) -> Recognised:
    columns, reasons = recognise_columns(path, options)
    return Recognised("table", {**columns, **options}, (f"the table {path.name}", *reasons))


def _first(files: Iterable[str], suffixes: tuple[str, ...]) -> str:
    return next((file for file in islice(files, _MANY) if file.lower().endswith(suffixes)), "")
