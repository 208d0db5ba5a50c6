"""Reading all files of a data set before anything is trained on it: ``preceptor data check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from preceptor.data.absent_classes import absent_notes
from preceptor.data.catalog import PARTS, Catalog
from preceptor.data.check_report import ClassCount, DataReport
from preceptor.data.image_kinds import Kind, kind_notes, kind_of
from preceptor.data.images import read_header, read_oriented
from preceptor.data.label_notes import label_notes
from preceptor.data.mask_images import read_mask_of
from preceptor.data.readers import READERS
from preceptor.data.sources import close_containers
from preceptor.data.split import identity_notes
from preceptor.utils.errors import PreceptorError, some_of

__all__ = ["ClassCount", "DataReport", "check"]


def check(
    catalog: Catalog,
    *,
    decode: bool = True,
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> DataReport:
    """Read all files of a catalog; problems are collected, not raised.

    Args:
        catalog: the data set.
        decode: read all pixels; headers alone are quick, and miss truncated files and wrong masks.
        progress: called with the number of images read since the last call.
        workers: threads (decoding releases the GIL); as Python's ``ThreadPoolExecutor`` chooses when None.
    """
    totals = _Totals()
    with ThreadPoolExecutor(workers) as pool:
        findings = pool.map(lambda row: _examined(catalog, row, decode), range(len(catalog)))
        for image_id, finding in zip(catalog.table["id"], findings, strict=True):
            totals.add(image_id, finding)
            if progress:
                progress(1)
    close_containers()
    table, shares = catalog.table, totals.mean_shares(catalog.mask_classes)
    labels_of = table.groupby("group")["label"].unique()
    labels_of = labels_of[labels_of.map(len) > 1]
    mixed = {str(group): tuple(sorted(filter(None, labels))) for group, labels in labels_of.items()}
    return DataReport(
        name=catalog.name,
        root=catalog.root,
        layout=READERS[catalog.name].layout if catalog.name in READERS else "",
        classes=_class_counts(catalog),
        images=len(catalog),
        groups=table["group"].nunique(),
        most_in_group=int(table["group"].value_counts().max()),
        unlabelled=int((~catalog.labelled).sum()),
        parts={part: int((table["part"] == part).sum()) for part in PARTS} if catalog.has_parts else {},
        attributes={str(name): int((values != "").sum()) for name, values in catalog.attributes.items()},
        sizes=dict(totals.sizes.most_common()),
        modes=dict(totals.modes.most_common()),
        unreadable=totals.unreadable,
        without_mask=tuple(table.loc[table["mask"] == "", "id"]),
        mask_shares=shares,
        empty_masks=tuple(totals.empty),
        smeared_masks=tuple(totals.smeared),
        larger_masks=tuple(totals.larger),
        mixed_groups={} if catalog.label_names else {name: kept for name, kept in mixed.items() if len(kept) > 1},
        notes=(*_notes(catalog), *kind_notes(catalog, totals.kinds), *absent_notes(_absent(shares))),
        decoded=decode,
    )


@dataclass(frozen=True)
class _Finding:
    """What one image and its mask show; plain values only, so that no decoded array outlives its turn."""

    problem: str = ""
    size: tuple[int, int] | None = None
    mode: str = ""
    shares: np.ndarray | None = None  # of the mask classes, where there is a readable mask
    smeared: bool = False
    larger: bool = False
    kind: Kind = "photograph"


class _Totals:
    """What the findings of all images add up to."""

    def __init__(self) -> None:
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.modes: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}
        self.empty, self.smeared, self.larger = list[str](), list[str](), list[str]()
        self.kinds: list[Kind] = []
        self._shares: list[np.ndarray] = []

    def add(self, image_id: str, finding: _Finding) -> None:
        """Count what was found of one image."""
        self.kinds.append(finding.kind)
        if finding.problem:
            self.unreadable[image_id] = finding.problem
        if finding.size:
            self.sizes[finding.size] += 1
            self.modes[finding.mode] += 1
        if finding.shares is not None:
            self._shares.append(finding.shares)
            if finding.shares[0] == 1:
                self.empty.append(image_id)
        if finding.smeared:
            self.smeared.append(image_id)
        if finding.larger:
            self.larger.append(image_id)

    def mean_shares(self, classes: tuple[str, ...]) -> dict[str, float]:
        if not self._shares:
            return {}
        return dict(zip(classes, np.mean(self._shares, axis=0).tolist(), strict=True))


def _examined(catalog: Catalog, row: int, decode: bool) -> _Finding:
    path, has_mask = catalog.path(row), bool(catalog.table.at[row, "mask"])
    size, mode, shares, smeared, larger = None, "", None, False, False
    problem = ""
    try:
        header = read_header(path)
        size, mode = (header.width, header.height), header.mode
        image, orientation = read_oriented(path) if decode else (None, 1)
    except PreceptorError as error:
        problem, image, orientation = error.what, None, 1
    if decode and has_mask:
        try:
            mask, smeared = read_mask_of(catalog, row, image, orientation)
            shares = np.bincount(mask.ravel(), minlength=len(catalog.mask_classes)) / mask.size
            larger = image is not None and mask.shape != image.shape[:2]
        except PreceptorError as error:
            problem = "; ".join(filter(None, (problem, error.what)))
    kind: Kind = "photograph" if image is None else kind_of(image)
    return _Finding(problem, size, mode, shares, smeared, larger, kind)


def _absent(shares: dict[str, float]) -> list[str]:
    return [name for name, share in shares.items() if not share]


def _class_counts(catalog: Catalog) -> tuple[ClassCount, ...]:
    table, counts = catalog.table, catalog.counts()
    if catalog.label_names:
        groups = {name: table.loc[table[name] == 1, "group"].nunique() for name in catalog.label_names}
    else:
        groups = {name: table.loc[table["label"] == name, "group"].nunique() for name in catalog.classes}
    known = table[list(catalog.label_names)].notna().sum().to_dict() if catalog.label_names else {}
    labelled = int(catalog.labelled.sum())
    return tuple(
        ClassCount(name, images, int(groups.get(name, 0)), int(known.get(name, labelled)))
        for name, images in counts.items()
    )


def _notes(catalog: Catalog) -> tuple[str, ...]:
    notes = [*catalog.notes, *label_notes(catalog), *identity_notes(catalog)]
    if len(catalog.classes) == 1 and catalog.has_labels:
        notes.append(f"one class only, {catalog.classes[0]!r}: there is nothing to tell apart")
    if catalog.excluded:
        notes.append(f"left out on request: {some_of(catalog.excluded)}")
    return tuple(notes)
