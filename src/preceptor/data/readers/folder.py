"""Images in folders: one for each class, or one for images and one for masks; below those of the publisher's parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from preceptor.data.catalog import UNLABELLED, Catalog
from preceptor.data.file_finder import walk_files
from preceptor.data.foreign_formats import FOREIGN_SUFFIXES
from preceptor.data.groups import tidied
from preceptor.data.images import SUFFIXES
from preceptor.data.layout import PART_WORDS
from preceptor.data.litter import is_litter
from preceptor.data.mask_pairs import FolderPair, mask_folders, pair_by_folder, pair_siblings
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

_LAYOUT = "ROOT/<class>/<image>.jpg (png, tif, bmp, webp), a directory for each class"


@reader(
    "folder",
    layout=_LAYOUT,
    about=About("your own data, by folders", tasks=("classification", "segmentation"), groups="option group_pattern"),
)
def folder(root: Path, group_pattern: str = "") -> Catalog:
    """Classes by directory, in alphabetical order. Directories inside a class are searched too, links followed.

    A tree ``train/``, ``val/``, ``test/`` above the classes is read as the parts that its publisher prescribes. A file
    ``x_mask.png`` beside ``x.png`` (or ``x_segmentation``, ``x_mask_1``, …) is the mask of that image. ``images/`` and
    ``masks/`` are no classes but images with masks, for segmentation.

    Args:
        root: the folder whose directories are the classes.
        group_pattern: a regular expression with one group in brackets that finds the patient or lesion in a file name,
            such as ``^(patient[0-9]+)_``; or, where it holds a slash, in the path below the class, such as
            ``(patient[0-9]+)/`` or ``^([^/]+)/``. Without it every image is a group of its own.

    Raises:
        PreceptorError: no class directories, or a single one; a class without images; images that belong to no class,
            or of a format that is not read; two files that differ in the ending only; a pattern that is wrong or does
            not match.
    """
    parts = _part_folders(root)
    tops = sorted(parts) or [""]
    pair = mask_folders([_folders(root / top) for top in tops])
    files = _files(root, tops)
    if pair is None:
        _refuse_stray_images(root, tops)
    table, notes = _segmentation(root, tops, pair, files.images) if pair else _classification(root, tops, files.images)
    _refuse_twins(root, table)
    notes += files.notes()
    if parts:
        table["part"] = table["image"].map(lambda path: parts[PurePosixPath(path).parts[0]])
        notes.append(f"{some_of(f'{name}/' for name in parts)} are read as the publisher's parts, not as classes")
    if group_pattern:
        table["group"], spelling = tidied(_groups(root, table["image"], tops, pair, group_pattern), table["id"])
        notes += spelling
    else:
        table["group"] = table["id"]
        notes.append("no groups known: every image is taken as unrelated to the others (data.group_pattern finds them)")
    classes = (UNLABELLED,) if pair else tuple(sorted(set(table["label"])))
    return Catalog("folder", root, table, classes, tuple(notes))


class _Files:
    """The image files below a folder, and those of other kinds."""

    def __init__(self, paths: Sequence[str]) -> None:
        suffixes = [PurePosixPath(path).suffix.lower() for path in paths]
        self.images = [path for path, suffix in zip(paths, suffixes, strict=True) if suffix in SUFFIXES]
        self.foreign = [path for path, suffix in zip(paths, suffixes, strict=True) if suffix in FOREIGN_SUFFIXES]
        self.others = sorted(set(paths) - set(self.images) - set(self.foreign))

    def notes(self) -> list[str]:
        if not self.others:
            return []
        return [f"{len(self.others):,} files are not images by their names: {some_of(self.others, 3)}"]


def _files(root: Path, tops: Sequence[str]) -> _Files:
    files = _Files([path for path in walk_files(root) if "/" in path])
    if files.foreign:
        kinds = Counter(PurePosixPath(path).suffix.lower() for path in files.foreign)
        raise PreceptorError(
            f"{root}: {len(files.foreign):,} files are of formats that are not read ({some_of(kinds)}): "
            f"{some_of(files.foreign, 3)}",
            expected=f"images in {', '.join(sorted(SUFFIXES))}",
            remedy="convert them to PNG, or move them out of the folder",
        )
    return files


def _part_folders(root: Path) -> dict[str, str]:
    """The folders of a tree split by its publisher -> the part of each; none where the folders are classes."""
    names = _folders(root)
    parts = {name: PART_WORDS[name.lower()] for name in names if name.lower() in PART_WORDS}
    if not parts or len(parts) < len(names) or set(parts.values()) == {"validation"}:
        return {}
    return parts if all(_folders(root / name) for name in parts) else {}


def _classification(root: Path, tops: Sequence[str], images: list[str]) -> tuple[pd.DataFrame, list[str]]:
    classes = sorted({name for top in tops for name in _folders(root / top)})
    depth = 1 if tops != [""] else 0
    if not classes:
        raise PreceptorError(f"{root} holds no directories", expected="a directory for each class")
    masks, notes = pair_siblings(images)
    kept = [path for path in images if path not in masks.taken and len(PurePosixPath(path).parts) > depth + 1]
    labels = [PurePosixPath(path).parts[depth] for path in kept]
    _refuse_empty_and_single(root, classes, set(labels))
    table = pd.DataFrame({"image": kept, "label": labels, "id": [_stem(path) for path in kept]})
    table["mask"] = [masks.of.get(path, "") for path in kept]
    return table, notes


def _segmentation(
    root: Path, tops: Sequence[str], pair: FolderPair, images: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    paired = pair_by_folder(root, tops, pair, images)
    table = pd.DataFrame({"image": list(paired), "mask": list(paired.values()), "id": [_stem(path) for path in paired]})
    table["label"] = UNLABELLED
    without = int((table["mask"] == "").sum())
    notes = [f"{pair.images}/ and {pair.masks}/ are read as images and their masks, not as classes"]
    return table, notes + ([f"{without:,} of {len(table):,} images have no mask"] if without else [])


def _refuse_empty_and_single(root: Path, classes: Sequence[str], filled: set[str]) -> None:
    empty = [name for name in classes if name not in filled]
    if empty:
        raise PreceptorError(
            f"{root}: no images in {some_of(f'{name}/' for name in empty)}",
            expected="every directory is a class and holds images",
            remedy="fill or remove the directory",
        )
    if len(classes) > 1:
        return
    below = _folders(root / classes[0]) if (root / classes[0]).is_dir() else []
    raise PreceptorError(
        f"{root} holds one directory of a class, {classes[0]}/, and so one class only",
        expected="a directory for each of at least two classes",
        remedy=f"if the classes are {some_of(below, 3)}, give --root {root / classes[0]}" if len(below) > 1 else "",
    )


def _refuse_stray_images(root: Path, tops: Sequence[str]) -> None:
    stray = [
        (Path(top) / path.name).as_posix()
        for top in tops
        for path in sorted((root / top).iterdir())
        if path.is_file() and path.suffix.lower() in SUFFIXES and not is_litter(path.name)
    ]
    if stray:
        raise PreceptorError(
            f"{root}: images that lie in no class: {some_of(stray)}",
            expected="every image in the directory of its class",
        )


def _refuse_twins(root: Path, table: pd.DataFrame) -> None:
    twins = table[table["id"].duplicated(keep=False)]
    if len(twins):
        raise PreceptorError(
            f"{root}: files that differ in their ending only: {some_of(twins['image'])}",
            expected="one file for each name, as the id is the name without its ending",
            remedy="remove the copies, or rename what is not a copy",
        )


def _groups(root: Path, images: pd.Series, tops: Sequence[str], pair: FolderPair | None, pattern: str) -> pd.Series:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise PreceptorError(f"data.group_pattern={pattern}: {error}", expected="a regular expression") from None
    if compiled.groups != 1:
        raise PreceptorError(
            f"data.group_pattern={pattern} has {compiled.groups} groups in brackets",
            expected="exactly one, as in ^(patient[0-9]+)_",
        )
    above = (1 if tops != [""] else 0) + 1  # folders above what the pattern is for: part, and class or images/
    texts = [
        "/".join(PurePosixPath(path).parts[above:]) if "/" in pattern else PurePosixPath(path).name for path in images
    ]
    matches = [compiled.search(text) for text in texts]
    unmatched = [path for path, match in zip(images, matches, strict=True) if not (match and match[1])]
    if unmatched:
        raise PreceptorError(
            f"{root}: data.group_pattern={pattern} finds no group in {some_of(unmatched)}",
            expected="a pattern that matches every file name (with a slash in it: every path below the class)",
        )
    return pd.Series([match[1] for match in matches if match], index=images.index)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_litter(path.name))


def _stem(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix()
