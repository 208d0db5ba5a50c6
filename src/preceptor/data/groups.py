"""Clean names of lesions and patients, so that one patient is not taken for two, nor two patients for one."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import is_unknown, read_csv, refuse_missing
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of


def tidied(groups: pd.Series, ids: pd.Series) -> tuple[pd.Series, list[str]]:
    """Give images of one patient one spelling of the group, and each image without a group one of its own.

    Spellings that differ in blanks (also no-break ones) or in upper and lower case are one group, as two would let a
    split separate one patient. ``NA``, ``None``, ``unknown`` and the like are no group, as one would tie together
    images that have nothing in common.

    Args:
        groups: the group of each image, as written.
        ids: the id of each image.

    Returns:
        The groups, and a note on either change where there was any.

    >>> groups, notes = tidied(pd.Series(["P1", "p1 ", "NA"]), pd.Series(["a", "b", "c"]))
    >>> groups.tolist()
    ['P1', 'P1', 'c']
    """
    unknown = is_unknown(groups)
    keys = groups.map(lambda name: unicodedata.normalize("NFKC", name).strip().casefold())
    first = groups[~unknown].groupby(keys[~unknown]).first()
    result = keys.map(first).where(~unknown, ids)
    spellings = groups[~unknown].groupby(keys[~unknown]).unique()
    several = spellings[spellings.map(len) > 1]
    notes = []
    if len(several):
        examples = some_of((" and ".join(map(repr, names)) for names in several), 3)
        notes.append(f"{len(several):,} groups differ in blanks or case alone, and are taken as one each: {examples}")
    if unknown.any():
        words = [repr(word) for word in sorted(set(groups[unknown].str.strip()))]
        notes.append(
            f"the group of {int(unknown.sum()):,} images is missing ({some_of(words, 3)}): each is taken as unrelated "
            "to the others"
        )
    return result.astype(str), notes


def regrouped(catalog: Catalog, path: Path) -> Catalog:
    """The catalog with the groups of a CSV file (columns ``id`` and ``group``) for the images that it names.

    Raises:
        PreceptorError: no such file or columns, an id that is not there or occurs twice, a row without a group.
    """
    rows = read_csv(path, ("id", "group"))
    for column in ("id", "group"):
        refuse_missing(path, rows, column)
    known = set(catalog.table["id"])
    strange = [name for name in rows["id"] if name not in known]
    twice = rows["id"][rows["id"].duplicated()].tolist()
    if strange or twice:
        what = "ids that are not in the data set" if strange else "ids more than once"
        raise PreceptorError(
            f"{path} names {what}: {some_of(strange or twice)}.{did_you_mean((strange or twice)[0], known)}",
            expected=f"one row for each image of {catalog.name}, or for some",
        )
    table = catalog.table.copy()
    groups = table["id"].map(dict(zip(rows["id"], rows["group"], strict=True)))
    table["group"] = groups.where(groups.notna(), table["group"])
    notes = (*catalog.notes, f"groups of {len(rows):,} images by {path.name}")
    return replace(catalog, table=table, notes=notes)
