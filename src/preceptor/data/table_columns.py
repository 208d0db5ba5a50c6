"""Which column of a table holds the image, label, group, mask and attributes, by names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from preceptor.data.csvfile import LINE, is_missing, read_csv
from preceptor.data.file_finder import FileFinder
from preceptor.data.label_columns import binary_columns
from preceptor.data.layout import PART_WORDS
from preceptor.utils.errors import PreceptorError, some_of

_SAMPLE = 50  # rows whose values are searched for among the files
_MOST_CLASSES = 100
_SEPARATORS = {",": ",", ";": ";", "\t": r"\t", "|": "|"}  # as it stands → as the option is written
_WORDS = {
    "mask": r"mask|segmentation|seg|annotation|contour",
    "label": r"label|class|diagnos\w*|dx|target|category|grade|finding|y|klasse|befund",
    "group": r"patient(?:en)?|subject|person|pid|group|lesion|case|study|eye|slide|fall|proband",
    "attribute": r"sex|gender|age|site|anatom\w*|locali[sz]ation|location|skin\w*|fitzpatrick|ethnic\w*|race|scanner|"
    r"device|hospital|cent(?:er|re)|geschlecht|alter|lokalisation",
}
#: Groups from the coarsest to the finest: photographs of one lesion are photographs of one patient too.
_COARSEST = ("patient", "subject", "person", "pid", "proband")


def recognise_columns(path: Path, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Options of the reader ``table`` for a CSV file, and a sentence for each choice.

    Args:
        path: the CSV file.
        given: options that are set already; they are not chosen again.

    Raises:
        PreceptorError: no column names files, or several columns may be the label; the message names them.
    """
    separator = given.get("separator") or _separator(path, given.get("encoding", "utf-8"))
    rows = read_csv(path, (), separator=separator, encoding=given.get("encoding", "utf-8"))
    rows = rows.drop(columns=LINE)
    names = [str(name) for name in rows.columns]
    chosen: dict[str, str] = {} if separator == "," or "separator" in given else {"separator": separator}
    reasons = [f"fields are separated by {separator}"] if "separator" in chosen else []
    files = _columns_of_files(path, rows, given)
    image = given.get("image") or _image(path, rows, files)
    mask = given.get("mask") or next((name for name in files if name != image and _is(name, "mask")), "")
    group = given.get("group") or _group(rows, {image, mask})
    attributes = [name for name in names if name not in (image, mask, group) and _is(name, "attribute")]
    taken = {image, mask, group, *attributes}
    if "label" not in given and "labels" not in given:
        chosen |= _label(path, rows, taken, bool(mask))
    for key, column in (("image", image), ("mask", mask), ("group", group)):
        if column and key not in given and column != key:
            chosen[key] = column
    if attributes and "attributes" not in given:
        chosen["attributes"] = ",".join(attributes)
    reasons.append(f"images by the column {image!r}")
    labels = given.get("labels") or chosen.get("labels")
    label = given.get("label") or chosen.get("label") or ("label" if "label" in rows else "")
    reasons += [f"labels by the columns {labels}"] if labels else [f"labels by {label!r}"] if label else ["no labels"]
    reasons.append(f"groups by {group!r}" if group else "no column of patients or lesions: images count as unrelated")
    reasons += [f"masks by {mask!r}"] if mask else []
    reasons += [f"attributes {', '.join(attributes)}: reports break their figures down by them"] if attributes else []
    return chosen, reasons + _unused_parts(rows, given)


def _separator(path: Path, encoding: str) -> str:
    """The separator, as the option is written: the one that occurs most often in the header."""
    try:
        with path.open(encoding=encoding, errors="replace") as file:
            header = file.readline()
    except (OSError, LookupError):
        return ","  # the reader's own message says what is wrong
    return _SEPARATORS[max(_SEPARATORS, key=lambda mark: (header.count(mark), mark == ","))]


def _columns_of_files(path: Path, rows: pd.DataFrame, given: Mapping[str, str]) -> list[str]:
    """Columns most of whose values name files, masks last."""
    finder = FileFinder(path.parent, given.get("folder", ""))
    columns = []
    for name in map(str, rows.columns):
        values = rows[name][~is_missing(rows[name])].head(_SAMPLE)
        hits = sum(bool(finder.find(value)) for value in values)
        if len(values) and 2 * hits > len(values):
            columns.append(name)
    return sorted(columns, key=lambda name: _is(name, "mask"))


def _image(path: Path, rows: pd.DataFrame, files: list[str]) -> str:
    plain = [name for name in files if not _is(name, "mask")]
    if not plain:
        raise PreceptorError(
            f"{path}: no column names image files below {path.parent}; it has {some_of(rows.columns)}",
            expected="a column with the path, name or id of each image",
            remedy="name it with data.image=COLUMN, or the folder of the images with data.folder=FOLDER",
        )
    if len(plain) > 1:
        raise PreceptorError(
            f"{path}: the columns {some_of(plain)} name image files",
            expected="one of them",
            remedy=f"name it: data.image={plain[0]}",
        )
    return plain[0]


def _group(rows: pd.DataFrame, taken: set[str]) -> str:
    """The column of patients before that of lesions; one with a single value groups nothing."""
    names = [str(name) for name in rows if name not in taken and _is(str(name), "group") and rows[name].nunique() > 1]
    coarse = [name for name in names if re.search("|".join(_COARSEST), name.lower())]
    return next(iter([*coarse, *names]), "")


def _label(path: Path, rows: pd.DataFrame, taken: set[str], has_mask: bool) -> dict[str, str]:
    """The option that names the label; none where masks alone are there."""
    free = [str(name) for name in rows if name not in taken]
    named = [name for name in free if _is(name, "label") and _may_be_label(rows[name])]
    if "label" in named:
        return {}
    if len(named) == 1:
        return {"label": named[0]}
    binary = [name for name in binary_columns(rows) if name in free]
    if not named and len(binary) > 1:
        return {"labels": ",".join(binary)}
    candidates = named or [name for name in free if _may_be_label(rows[name]) and not _is_parts(rows[name])]
    if len(candidates) == 1:
        return {"label": candidates[0]}
    if not candidates and has_mask:
        return {}
    raise PreceptorError(
        f"{path}: {'several columns may be' if candidates else 'no column seems to hold'} the label: "
        f"{some_of(candidates or rows.columns)}",
        expected="one column with the class of each image",
        remedy=f"name it: data.label={candidates[0] if candidates else 'COLUMN'}",
    )


def _may_be_label(values: pd.Series) -> bool:
    """Whether a column has few values for its length, as classes do."""
    return 2 <= values.nunique() <= min(_MOST_CLASSES, max(2, len(values) // 2))


def _is_parts(values: pd.Series) -> bool:
    words = values.str.strip().str.lower()
    return len(values) > 0 and bool(words.isin(PART_WORDS).all())


def _unused_parts(rows: pd.DataFrame, given: Mapping[str, str]) -> list[str]:
    if "split" in given:
        return []
    parts = [str(name) for name in rows if _is_parts(rows[name]) and rows[name].nunique() > 1]
    return [f"the column {name!r} names parts and is not used; data.split={name} takes them" for name in parts]


def _is(name: str, kind: str) -> bool:
    """Whether a column's name has a word of a kind, whatever its case, underscores and ending in id."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(name)).lower()
    return any(re.fullmatch(rf"(?:{_WORDS[kind]})(?:id|nr|no|nummer|number|s)?", word) for word in _split(words))


def _split(words: str) -> list[str]:
    return [word for word in re.split(r"[^a-zäöüß0-9]+", words) if word]
