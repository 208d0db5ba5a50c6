"""What the readers of published data sets share: finding the table and the images, and saying how much is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from preceptor.data.csvfile import LINE, is_unknown
from preceptor.data.file_finder import FileFinder
from preceptor.data.litter import is_litter
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

#: What publishers call their parts, lower case -> what they are called here.
PART_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validate", "validating", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "te"), "test"),
}

#: Endings of archives, lower case; a data set is read from the folder that its archive was unpacked into.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


def refuse_no_folder(root: Path, layout: str, reads_file: bool = False) -> None:
    """Raise :class:`PreceptorError` for a data set's root that is a file, such as the archive that was downloaded.

    Args:
        root: what was given as the data set's folder; it exists.
        layout: what is expected there.
        reads_file: whether a file is read too, as long as it is no archive.
    """
    if root.is_dir():
        return
    if root.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise PreceptorError(
            f"{root} is an archive", expected=layout, remedy="unpack the archive and give its folder as --root"
        )
    if not reads_file:
        raise PreceptorError(
            f"{root} is not a folder", expected=layout, remedy="give the folder that holds the data set as --root"
        )


def find_table(root: Path, names: Sequence[str], data_set: str, layout: str) -> Path:
    """The table of a data set, in ``root`` or in the only folder below it that has one.

    Args:
        names: what the table may be called; earlier names win.
        data_set: what to call the data set in messages.
        layout: what is expected in the folder.

    Raises:
        PreceptorError: no table, or tables in several folders below.
    """
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    tables = {folder: folder / name for name in reversed(names) for folder in folders if (folder / name).is_file()}
    if root in tables:
        return tables[root]
    if len(tables) > 1:
        raise PreceptorError(
            f"{root} holds several copies of {data_set}: {some_of(sorted(folder.name for folder in tables))}",
            remedy="give one of them as --root",
        )
    if not tables:
        raise no_such_layout(root, names[0], data_set, layout)
    return next(iter(tables.values()))


def no_such_layout(root: Path, lacking: str, data_set: str, layout: str) -> PreceptorError:
    """The error for a folder that is not what the reader reads; it says what lies there instead."""
    there = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    return PreceptorError(
        f"{root} holds no {lacking}; it holds {some_of(there, 5) or 'nothing'}",
        expected=f"a folder with {layout}",
        remedy=f"give the folder that {data_set} was unpacked into as --root, or name the reader that fits",
    )


def image_folder(root: Path, name: str) -> str:
    """``name``, or ``name/name`` where an archive was unpacked into a folder of its own name (Kaggle's are)."""
    nested = f"{name}/{name}"
    return nested if (root / nested).is_dir() else name


def files_in(folder: Path, suffix: str, layout: str) -> list[str]:
    """Sorted names of the files in ``folder`` that end in ``suffix``, hidden ones (``._x.jpg`` of a Mac) left out.

    Raises:
        PreceptorError: there is no such folder.
    """
    try:
        names = (entry.name for entry in os.scandir(folder))
        return sorted(name for name in names if name.endswith(suffix) and not is_litter(name))
    except (FileNotFoundError, NotADirectoryError):
        raise PreceptorError(
            f"the folder {folder} is missing",
            expected=f"{layout}, in one folder",
            remedy="unpack the archive of that name there",
        ) from None


def matched(table: Path, ids: pd.Series, folder: str, suffix: str, layout: str) -> tuple[pd.Series, list[str]]:
    """The image file of each id, as paths below the table's folder, and a note on files that the table does not name.

    Raises:
        PreceptorError: no such folder, or ids without a file in it.
    """
    folder = image_folder(table.parent, folder)
    there = {name.removesuffix(suffix) for name in files_in(table.parent / folder, suffix, layout)}
    absent = ids[~ids.isin(there)]
    if len(absent):
        raise PreceptorError(
            f"{table.name} names {len(absent):,} image{'s' if len(absent) > 1 else ''} without a file in "
            f"{table.parent / folder}: {some_of(absent)}",
            expected=f"<id>{suffix} for every row of the table",
            remedy="unpack the images again, or remove the rows from the table",
        )
    extra = len(there - set(ids))
    notes = [f"{extra:,} image files that {table.name} does not name are not used"] if extra else []
    return folder + "/" + ids + suffix, notes


def located(root: Path, names: pd.Series, layout: str, folder: str = "") -> pd.Series:
    """The file of each name, relative to ``root``, wherever below it the file lies.

    Args:
        root: the folder of the data set.
        names: file names, or ids without an ending.
        layout: what is expected there, for messages.
        folder: the folder below ``root`` to search in; all of them when empty.

    Raises:
        PreceptorError: names without a file, or with several.
    """
    finder = FileFinder(root, folder)
    files = names.map(finder.find)
    if finder.ambiguous:
        name, several = next(iter(finder.ambiguous.items()))
        raise PreceptorError(
            f"{root}: {len(finder.ambiguous):,} images lie in several places, such as {some_of(several, 3)}",
            expected=f"each image once: {layout}",
            remedy=f"remove the copies of {name} and the others",
        )
    absent = names[files == ""]
    if len(absent):
        raise PreceptorError(
            f"the table names {len(absent):,} image{'s' if len(absent) > 1 else ''} without a file below "
            f"{root / folder}: {some_of(absent)}",
            expected=layout,
            remedy="unpack the images again, or remove the rows from the table",
        )
    return files


def attributes_of(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns of a published table that describe patient and acquisition, under common names.

    Args:
        table: as read from the CSV file.
        columns: the publisher's name -> the name here; those that a copy lacks are left out.

    Returns:
        Strings, empty where a value is missing or ``unknown``.
    """
    kept = table[[name for name in columns if name in table.columns]].rename(columns=dict(columns))
    return kept.mask(kept.apply(is_unknown), "")


def refuse_unknown(path: Path, table: pd.DataFrame, column: str, known: Sequence[str]) -> None:
    """Raise :class:`PreceptorError` with the lines of ``path`` on which ``column`` has a value that is not known."""
    unknown = table[~table[column].isin(known)]
    if len(unknown):
        first = unknown.iloc[0][column]
        raise PreceptorError(
            f"{path}: unknown {column} {first!r} on line {some_of(unknown[LINE])}.{did_you_mean(first, known)}",
            expected=f"{column} is one of {', '.join(known)}",
        )


def count_notes(labels: pd.Series, published: Mapping[str, int]) -> list[str]:
    """Notes on a copy whose classes are not as large as the published ones; none where they are."""
    counts = labels.value_counts()
    here, there = len(labels), sum(published.values())
    if here > there:
        return [f"this copy has {here:,} images, more than the {there:,} published"]
    if here < there:
        return [f"this copy has {here:,} of the {there:,} published images"]
    sizes = {name: int(counts.get(name, 0)) for name in published}
    other = [f"{name} {sizes[name]:,} ({n:,})" for name, n in published.items() if sizes[name] != n]
    return [f"classes of another size than published (in brackets): {', '.join(other)}"] if other else []
