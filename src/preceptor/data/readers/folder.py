"""One directory a class, with the images inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.images import SUFFIXES
from preceptor.data.readers import reader
from preceptor.utils.errors import PreceptorError, some_of


@reader("folder", layout="ROOT/<class>/<image>.jpg (png, tif, bmp, webp), a directory for each class")
def folder(root: Path, group_pattern: str = "") -> Catalog:
    """Classes by directory, in alphabetical order. Directories inside a class are searched too.

    Args:
        root: the folder whose directories are the classes.
        group_pattern: a regular expression with one group that finds the patient or lesion in a file name, such as
            ``^(patient[0-9]+)_``; without it every image is a group of its own.

    Raises:
        PreceptorError: no class directories, a class without images, a file that is no image or belongs to no class,
            two files that differ in the ending only, a pattern that is wrong or does not match.
    """
    if not root.is_dir():
        raise PreceptorError(f"{root} is not a folder", expected="a folder with a directory for each class")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not _hidden(path))
    if not classes:
        raise PreceptorError(f"{root} holds no directories", expected="a directory for each class")
    stray = [path.name for path in root.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
    if stray:
        raise PreceptorError(
            f"{root}: images that lie in no class: {some_of(sorted(stray))}",
            expected="every image in the directory of its class",
        )
    files = {name: list(_images(root, name)) for name in classes}
    empty = [name for name in classes if not files[name]]
    if empty:
        raise PreceptorError(
            f"{root}: no images in {some_of(f'{name}/' for name in empty)}",
            expected="every directory is a class and holds images",
            remedy="fill or remove the directory",
        )
    paths = [path for name in classes for path in files[name]]
    table = pd.DataFrame(
        {
            "id": [path.with_suffix("").as_posix() for path in paths],
            "image": [path.as_posix() for path in paths],
            "label": [path.parts[0] for path in paths],
        }
    )
    _refuse_twins(root, table)
    notes = []
    if group_pattern:
        table["group"] = _groups(root, paths, group_pattern)
    else:
        table["group"] = table["id"]
        notes.append("no groups known: every image is taken as unrelated to the others (data.group_pattern finds them)")
    return Catalog("folder", root, table, tuple(classes), tuple(notes))


def _images(root: Path, name: str) -> Iterator[Path]:
    for path in sorted((root / name).rglob("*")):
        below = path.relative_to(root)
        if path.is_dir() or any(part.startswith(".") for part in below.parts) or path.name in _LITTER:
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise PreceptorError(
                f"{path} is not an image by its name",
                expected=f"only files ending in {', '.join(sorted(SUFFIXES))}",
                remedy="move the file out of the class directories",
            )
        yield below


#: What Windows leaves behind in folders with pictures; hidden files are passed over as well.
_LITTER = frozenset({"Thumbs.db", "desktop.ini"})


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _refuse_twins(root: Path, table: pd.DataFrame) -> None:
    twins = table[table["id"].duplicated(keep=False)]
    if len(twins):
        raise PreceptorError(
            f"{root}: files that differ in their ending only: {some_of(twins['image'])}",
            expected="one file for each name, as the id is the name without its ending",
            remedy="remove the copies, or rename what is not a copy",
        )


def _groups(root: Path, paths: list[Path], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise PreceptorError(f"data.group_pattern={pattern}: {error}", expected="a regular expression") from None
    if compiled.groups != 1:
        raise PreceptorError(
            f"data.group_pattern={pattern} has {compiled.groups} groups in brackets",
            expected="exactly one, as in ^(patient[0-9]+)_",
        )
    matches = [compiled.search(path.name) for path in paths]
    unmatched = [path.as_posix() for path, match in zip(paths, matches, strict=True) if not (match and match[1])]
    if unmatched:
        raise PreceptorError(
            f"{root}: data.group_pattern={pattern} finds no group in {some_of(unmatched)}",
            expected="a pattern that matches every file name",
        )
    return [match[1] for match in matches if match]
