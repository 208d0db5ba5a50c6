"""One CSV file that names the images and their labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import PARTS, UNLABELLED, Catalog
from preceptor.data.csvfile import LINE, is_missing, is_unknown, read_csv, refuse_absent, refuse_missing
from preceptor.data.file_finder import FileFinder
from preceptor.data.groups import tidied
from preceptor.data.label_columns import Labels, binary_columns, one_column, several_columns, several_in_a_cell
from preceptor.data.layout import PART_WORDS
from preceptor.data.readers import About, reader
from preceptor.data.sources import EMPTY_MASK
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of


@reader(
    "table",
    layout="a CSV file with the columns image, label or mask (or both) and, if known, group",
    reads_file=True,
    about=About(
        "your own data, by a table", tasks=("classification", "multi_label", "segmentation"), groups="column group"
    ),
)
def table(
    root: Path,
    csv: str = "",
    image: str = "image",
    label: str = "label",
    group: str = "group",
    mask: str = "mask",
    id: str = "",
    separator: str = ",",
    mask_classes: str = "",
    folder: str = "",
    labels: str = "",
    label_separator: str = "",
    split: str = "",
    attributes: str = "",
    empty_masks: bool = False,
    unlabelled: bool = False,
    encoding: str = "utf-8",
) -> Catalog:
    """Images and labels by a table; labels stay the strings that they are ("0", "01", "NA").

    Paths of images and masks start from the folder of the table. Names without a folder or an ending are searched for
    below it. Where all labels are numbers the classes are in numerical order, else in alphabetical order. A table with
    masks and without labels serves segmentation alone.

    Args:
        root: the CSV file, or a folder that holds one.
        csv: the file's name in the folder, where it holds several.
        image: column with the image's path.
        label: column with its class; may be absent where there are masks.
        group: column with the lesion or patient; without such a column images are taken as unrelated.
        mask: column with the path of the image's mask; may be absent where there are labels.
        id: column with a unique id; the image's path when empty.
        separator: what stands between two fields of the file; ``\\t`` for a tab.
        mask_classes: what the values 0, 1, … of the masks mean, as in ``background,disc,cup``; background and
            foreground when empty.
        folder: the folder, below that of the table, that the images lie in, where the table does not say.
        labels: columns of 1 and 0, one for each label, as in ``MEL,NV,BCC``; in place of ``label``.
        label_separator: what stands between several labels in the column ``label``, as in ``Edema|Mass``.
        split: column with the parts that the publisher prescribes (train, val, test and the like).
        attributes: columns that describe patient or acquisition, as in ``sex,age,site``.
        empty_masks: take an empty cell in the column ``mask`` for an image that shows nothing.
        unlabelled: keep images without a label, for objectives that need none.
        encoding: of the file's text.

    Raises:
        PreceptorError: no table or several, a missing column, a row without a value, a label without a file, a
            repeated id or image, names of mask classes that repeat or have no masks, a part of another name.
    """
    path = _find_csv(root, csv)
    chosen = {"label": label, "group": group, "mask": mask}
    listed = [*_listed(labels), *_listed(attributes)]
    required = [image, *([id] if id else []), *(name for usual, name in chosen.items() if name != usual), *listed]
    rows = read_csv(path, [*required, *([split] if split else [])], separator=separator, encoding=encoding)
    group, mask = (name if name in rows.columns else "" for name in (group, mask))
    label = "" if labels else _label_column(path, rows, image, label, mask)
    blank_allowed = {label if unlabelled or label_separator else "", ""}
    if mask and not label and not labels and not empty_masks:
        _refuse_images_without_mask(path, rows, mask)
    for column in {image, label, id} - blank_allowed:
        refuse_missing(path, rows, column)
    read_labels = _labels(path, rows, label, _listed(labels), label_separator)
    finder = FileFinder(path.parent, folder)
    result = pd.DataFrame(
        {
            "id": rows[id or image],
            "image": rows[image].map(finder.find),
            "label": read_labels.text,
            "mask": _masks(rows, mask, finder, empty_masks),
        }
    )
    _refuse_missing_files(path, rows, result, finder, {"image": image, **({"mask": mask} if mask else {})})
    _refuse_repeats(path, rows, result["image"])
    result["group"], notes = tidied(rows[group], result["id"]) if group else (result["id"], [])
    if split:
        result["part"] = _parts(path, rows, split)
    described = rows[_listed(attributes)]
    result = pd.concat([result, described.mask(described.apply(is_unknown), ""), read_labels.matrix], axis=1)
    return Catalog(
        "table",
        path.parent,
        result,
        read_labels.classes,
        (
            *_notes(rows, result, read_labels, group, mask, split),
            *_unknown_notes(described),
            *notes,
            *_spelling_notes(finder),
        ),
        mask_classes=_mask_classes(path, mask_classes, bool((result["mask"] != "").any())),
        attribute_names=tuple(_listed(attributes)),
        label_names=read_labels.classes if read_labels.matrix is not None else (),
    )


def _listed(names: str) -> list[str]:
    return [name for name in _items(names) if name]


def _items(names: str) -> list[str]:
    """The parts of ``a,b``, or of ``[a,b]`` as lists are written elsewhere, there also in quotation marks."""
    inner = names.strip()[1:-1]
    if names.strip() != f"[{inner}]" or "[" in inner or "]" in inner:  # brackets of the names themselves
        return [name.strip() for name in names.split(",")]
    items = [name.strip() for name in inner.split(",")]
    return [name[1:-1] if name[:1] == name[-1:] and name[:1] in ("'", '"') else name for name in items]


def _label_column(path: Path, rows: pd.DataFrame, image: str, label: str, mask: str) -> str:
    """The column with the labels; none in a table of masks."""
    if label in rows.columns:
        return label
    binary = binary_columns(rows)
    if len(binary) > 1 and not did_you_mean(label, rows.columns):
        raise PreceptorError(
            f"{path} has no column {label!r}; its columns {some_of(binary)} hold 0 and 1 alone (one-hot)",
            expected="one column with the label, or the names of the columns that hold one label each",
            remedy=f"add data.labels={','.join(binary)}",
        )
    if not mask or did_you_mean(label, rows.columns):  # a slip of the pen is not taken for the wish to have none
        refuse_absent(path, rows.columns.drop(LINE), [image, label])
    return ""


def _labels(path: Path, rows: pd.DataFrame, label: str, columns: list[str], separator: str) -> Labels:
    if columns:
        return several_columns(path, rows, columns)
    if not label:
        text = pd.Series(UNLABELLED, index=rows.index)
        return Labels(text, (UNLABELLED,), None, ("no labels: for segmentation only",))
    column = rows[label].mask(is_missing(rows[label]), "")
    return several_in_a_cell(column, separator) if separator else one_column(path, column)


def _masks(rows: pd.DataFrame, mask: str, finder: FileFinder, empty_masks: bool) -> pd.Series:
    if not mask:
        return pd.Series("", index=rows.index)
    blank = is_missing(rows[mask])
    return (
        rows[mask]
        .where(~blank, "")
        .map(lambda name: finder.find(name) if name else "")
        .mask(blank, EMPTY_MASK if empty_masks else "")
    )


def _parts(path: Path, rows: pd.DataFrame, split: str) -> pd.Series:
    words = rows[split].str.strip().str.lower()
    wrong = ~words.isin([*PART_WORDS, ""])
    if wrong.any():
        raise PreceptorError(
            f"{path}: {split} is {rows.loc[wrong, split].iloc[0]!r} on line {some_of(rows.loc[wrong, LINE])}",
            expected=f"one of {', '.join(PARTS)} (or train, val, test), or nothing",
            remedy="correct the rows, or work without data.split",
        )
    return words.map({**PART_WORDS, "": ""})


def _notes(
    rows: pd.DataFrame, result: pd.DataFrame, labels: Labels, group: str, mask: str, split: str
) -> tuple[str, ...]:
    notes = list(labels.notes)
    if not group:
        notes.append("no groups known: every image is taken as unrelated to the others (data.group names their column)")
    if mask and (without := int((result["mask"] == "").sum())):
        notes.append(
            f"{without:,} of {len(rows):,} images have no mask (data.empty_masks=true takes them as showing nothing)"
        )
    if unlabelled := int((result["label"] == "").sum()) if labels.matrix is None else 0:
        notes.append(f"{unlabelled:,} images are unlabelled")
    for column in rows.columns.drop(LINE) if not split else ():
        words = rows[column].str.strip().str.lower()
        if len(rows) and words.isin(PART_WORDS).all() and words.nunique() > 1:
            notes.append(f"the column {column!r} names parts that are not used (data.split={column} takes them)")
    return tuple(notes)


def _unknown_notes(attributes: pd.DataFrame) -> list[str]:
    """Say which words of an attribute stand for no value."""
    notes = []
    for name in attributes.columns:
        words = attributes[name].str.strip()
        unknown = words[is_unknown(words) & (words != "")]
        if len(unknown):
            counts = unknown.value_counts()
            listed = some_of(f"{count:,} × {word}" for word, count in counts.items())
            notes.append(f"attribute {name}: {listed} taken as not recorded")
    return notes


def _spelling_notes(finder: FileFinder) -> list[str]:
    if not finder.searched:
        return []
    examples = some_of((f"{name} is {file}" for name, file in finder.searched.items()), 2)
    return [f"{len(finder.searched):,} files are spelled differently in the table: {examples}"]


def _mask_classes(path: Path, text: str, any_masks: bool) -> tuple[str, ...]:
    names = tuple(_items(text)) if text else ()
    if names and not any_masks:
        raise PreceptorError(
            f"data.mask_classes={text}, but {path} names no masks", expected="a column with the path of each mask"
        )
    if names and (len(names) < 2 or "" in names or len(set(names)) < len(names)):
        raise PreceptorError(
            f"data.mask_classes={text}", expected="two or more different names, as in background,disc,cup"
        )
    return names


def _find_csv(root: Path, name: str) -> Path:
    if root.is_file():
        if name:
            raise PreceptorError(
                f"--root {root} is a file, and data.csv={name} names another", remedy="give one of them"
            )
        return root
    if name:
        if not (root / name).is_file():
            raise PreceptorError(f"{root} holds no file {name} (data.csv)", expected="the name of a CSV file in --root")
        return root / name
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv" and not path.name.startswith("."))
    if not tables:
        raise PreceptorError(
            f"{root} holds no CSV file", expected="one, with the columns image and label, or image and mask"
        )
    if len(tables) > 1:
        raise PreceptorError(
            f"{root} holds several CSV files: {some_of(path.name for path in tables)}",
            expected="one of them, named",
            remedy=f"add data.csv={tables[0].name}",
        )
    return tables[0]


def _refuse_images_without_mask(path: Path, rows: pd.DataFrame, mask: str) -> None:
    lines = rows.loc[is_missing(rows[mask]), LINE]
    if len(lines):
        raise PreceptorError(
            f"{path}: no {mask!r} on line {some_of(lines)}: {len(lines):,} of {len(rows):,} images have no mask",
            expected="labels, or a mask for every image",
            remedy="data.empty_masks=true takes these images as showing nothing; or remove the rows",
        )


def _refuse_repeats(path: Path, rows: pd.DataFrame, files: pd.Series) -> None:
    twice = files.duplicated(keep=False)
    if twice.any():
        raise PreceptorError(
            f"{path} names images more than once: {some_of(sorted(set(files[twice])))} "
            f"(line {some_of(rows.loc[twice, LINE])})",
            expected="one row for each image",
            remedy="remove the repeated rows",
        )


def _refuse_missing_files(
    path: Path, rows: pd.DataFrame, result: pd.DataFrame, finder: FileFinder, columns: dict[str, str]
) -> None:
    for kind, column in columns.items():
        absent = (result[kind] == "") & ~is_missing(rows[column])
        if not absent.any():
            continue
        names, lines = rows.loc[absent, column], rows.loc[absent, LINE]
        several = [name for name in names if name in finder.ambiguous]
        if several:
            raise PreceptorError(
                f"{path}: {len(several)} {kind} names fit several files, such as {several[0]}: "
                f"{some_of(finder.ambiguous[several[0]], 3)} (line {some_of(lines)})",
                expected="names that fit one file each",
                remedy="name the folder that is meant: data.folder=…, or write the paths into the table",
            )
        raise PreceptorError(
            f"{path} names {len(names)} {kind} files that are not there: {some_of(names)} (line {some_of(lines)})",
            expected=f"paths below {path.parent}",
            remedy="correct the paths, name the folder of the images (data.folder=…), or remove the rows",
        )
