"""Names that make one doubt that they are classes: words for a missing value, and two spellings of one class."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from preceptor.data.catalog import Catalog
from preceptor.data.class_names import FULL_NAMES
from preceptor.data.csvfile import MISSING_WORDS
from preceptor.utils.errors import some_of

_MISSING = MISSING_WORDS | {"unk", "n.a.", "undefined", "unlabelled", "unlabeled", "no label"}
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")  # and not at the end, as in HER2-


def label_notes(catalog: Catalog) -> list[str]:
    """Say which classes are called as missing values are, and which names are perhaps two spellings of one class.

    All of them stay classes: ``unknown`` is one in more than one published data set. Nothing is said of names that the
    reader of a published data set knows (:data:`preceptor.data.class_names.FULL_NAMES`).
    """
    known = FULL_NAMES.get(catalog.name, {})
    counts = {name: images for name, images in catalog.counts().items() if name not in known}
    if not catalog.has_labels:
        return []
    missing = [f"{name!r} ({n:,} image{'s' * (n != 1)})" for name, n in counts.items() if _is_missing(name)]
    notes = []
    if missing:
        notes.append(
            f"classes whose names usually stand for a missing value: {some_of(missing)}; they count as classes of "
            "their own. If these images have no known label, leave them out: list their ids in a file and give it as "
            "--exclude FILE"
        )
    if alike := _alike([*counts]):
        notes.append(
            f"labels that differ in case, blanks, - or _ alone, or are the same number, are different classes: "
            f"{some_of(alike)}"
        )
    return notes


def _is_missing(name: str) -> bool:
    return name.strip().lower() in _MISSING


def _alike(names: Sequence[str]) -> list[str]:
    """The names of each set that one could take for the same, joined."""
    alike: dict[object, list[str]] = defaultdict(list)
    for name in names:
        alike[float(name.replace(",", ".")) if _NUMBER.fullmatch(name) else _folded(name)].append(name)
    return [" = ".join(map(repr, group)) for group in alike.values() if len(group) > 1]


def _folded(name: str) -> str:
    return _BETWEEN.sub(" ", unicodedata.normalize("NFKC", name).casefold().strip(" _"))
