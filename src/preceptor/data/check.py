"""A data set looked through before anything is trained on it: ``preceptor data check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from preceptor.data.catalog import Catalog
from preceptor.data.images import is_smeared, mask_classes_of, read_header, read_image, read_levels
from preceptor.data.readers import READERS
from preceptor.utils.errors import PreceptorError, some_of

_NAMED = 5  # groups with several labels that are listed; of patients with many slices, all may be


@dataclass(frozen=True)
class ClassCount:
    """One class: its name, images and groups (lesions, patients)."""

    name: str
    images: int
    groups: int


@dataclass(frozen=True)
class DataReport:
    """What :func:`check` found.

    Attributes:
        name, root, layout: the reader, the folder, and what the reader expects there.
        classes: images and groups of each class.
        images, groups: how many there are in all.
        most_in_group: images of the largest group.
        sizes: (width, height) -> number of images, as stored.
        modes: Pillow's mode, such as ``RGB`` or ``L`` -> number of images.
        unreadable: id -> what is wrong with its image and mask; every one, not just the first.
        without_mask: ids without a mask.
        mask_shares: mask class -> its share of the pixels of a mask, mean over the readable masks; empty without any.
        empty_masks: ids whose mask is background throughout.
        smeared_masks: ids whose mask of two classes has other values too, and is cut at half.
        mixed_groups: group -> its labels, where it has several.
        notes: what the reader has to say about this copy.
        decoded: whether the pixels were read, or the headers alone.
    """

    name: str
    root: Path
    layout: str
    classes: tuple[ClassCount, ...]
    images: int
    groups: int
    most_in_group: int
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    unreadable: dict[str, str]
    without_mask: tuple[str, ...]
    mask_shares: dict[str, float]
    empty_masks: tuple[str, ...]
    smeared_masks: tuple[str, ...]
    mixed_groups: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    decoded: bool

    @property
    def ok(self) -> bool:
        """Whether every file can be read."""
        return not self.unreadable

    def lines(self) -> list[str]:
        """The report as plain text."""
        width = max(len(one.name) for one in self.classes)
        return [
            *self._head(),
            "",
            f"{'class':{max(width, 5)}}  {'images':>8}  {'groups':>8}",
            *(f"{one.name:{max(width, 5)}}  {one.images:>8,}  {one.groups:>8,}" for one in self.classes),
            "",
            *self._findings(),
        ]

    def __rich__(self) -> Group:
        table = Table("class", box=None, header_style="bold")
        table.add_column("images", justify="right")
        table.add_column("groups", justify="right")
        table.add_column("share", justify="right")
        for one in self.classes:
            table.add_row(one.name, f"{one.images:,}", f"{one.groups:,}", f"{one.images / self.images:.1%}")
        style = "green" if self.ok else "red"
        return Group(*map(Text, self._head()), "", table, "", *(Text(line, style=style) for line in self._findings()))

    def _head(self) -> list[str]:
        return [
            f"{self.name}: {self.root}",
            f"layout: {self.layout}",
            f"{self.images:,} images in {self.groups:,} groups, at most {self.most_in_group} in one group",
        ]

    def _findings(self) -> list[str]:
        sizes = [f"{width}x{height} ({count:,})" for (width, height), count in self.sizes.items()]
        modes = [f"{mode} ({count:,})" for mode, count in self.modes.items()]
        lines = [f"size in pixels: {some_of(sizes, 5)}", f"mode: {some_of(modes)}"] if sizes else []
        if len(self.without_mask) < self.images:
            lines.append(f"masks: {self.images - len(self.without_mask):,} of {self.images:,}")
            if self.without_mask:
                lines.append(f"without a mask: {some_of(self.without_mask)}")
            if self.mask_shares:
                shares = [f"{name} {share:.1%}" for name, share in self.mask_shares.items()]
                lines.append(f"pixels of a mask: {', '.join(shares)} (mean)")
                lines.append(f"empty masks: {len(self.empty_masks):,}")
            if self.smeared_masks:
                lines.append(
                    f"masks with grey values at the border, cut at half: {len(self.smeared_masks):,} "
                    f"({some_of(self.smeared_masks, 3)})"
                )
        else:
            lines.append("masks: none")
        for group, labels in list(self.mixed_groups.items())[:_NAMED]:
            lines.append(f"group {group} has several labels: {', '.join(labels)}")
        if len(self.mixed_groups) > _NAMED:
            lines.append(f"and {len(self.mixed_groups) - _NAMED:,} more groups have several labels")
        lines += [f"note: {note}" for note in self.notes]
        depth = "read in full" if self.decoded else "opened (headers only)"
        if self.ok:
            lines.append(f"all files can be {depth}")
        else:
            lines.append(f"{len(self.unreadable):,} of {self.images:,} images cannot be {depth}:")
            lines += [f"  {image_id}: {reason}" for image_id, reason in self.unreadable.items()]
        return lines


def check(
    catalog: Catalog,
    *,
    decode: bool = True,
    progress: Callable[[int, int], object] | None = None,
    workers: int | None = None,
) -> DataReport:
    """Look through all files of a catalog; problems are collected, not raised.

    Args:
        catalog: the data set.
        decode: read all pixels; headers alone are quick, and miss truncated files and wrong masks.
        progress: called with (images done, images in all).
        workers: threads (decoding releases the GIL); as Python's ``ThreadPoolExecutor`` chooses when None.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    unreadable: dict[str, str] = {}
    shares: list[np.ndarray] = []
    empty, smeared = [], []
    table = catalog.table
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda row: _look_at(catalog, row, decode), range(len(catalog)))
        for done, (image_id, finding) in enumerate(zip(table["id"], found, strict=True), start=1):
            if finding.problem:
                unreadable[image_id] = finding.problem
            if finding.size:
                sizes[finding.size] += 1
                modes[finding.mode] += 1
            if finding.shares is not None:
                shares.append(finding.shares)
                if finding.shares[0] == 1:
                    empty.append(image_id)
                if finding.smeared:
                    smeared.append(image_id)
            if progress:
                progress(done, len(catalog))
    labels_of = table.groupby("group")["label"].unique()
    mixed = {str(group): tuple(sorted(labels)) for group, labels in labels_of.items() if len(labels) > 1}
    groups = table.groupby("label")["group"].nunique()
    return DataReport(
        name=catalog.name,
        root=catalog.root,
        layout=READERS[catalog.name].layout if catalog.name in READERS else "",
        classes=tuple(ClassCount(name, n, int(groups.get(name, 0))) for name, n in catalog.counts().items()),
        images=len(catalog),
        groups=len(labels_of),
        most_in_group=int(table["group"].value_counts().max()),
        sizes=dict(sizes.most_common()),
        modes=dict(modes.most_common()),
        unreadable=unreadable,
        without_mask=tuple(table.loc[table["mask"] == "", "id"]),
        mask_shares=dict(zip(catalog.mask_classes, np.mean(shares, axis=0).tolist(), strict=True)) if shares else {},
        empty_masks=tuple(empty),
        smeared_masks=tuple(smeared),
        mixed_groups=mixed,
        notes=_notes(catalog),
        decoded=decode,
    )


@dataclass(frozen=True)
class _Finding:
    problem: str = ""
    size: tuple[int, int] | None = None
    mode: str = ""
    shares: np.ndarray | None = None  # of the mask classes, where there is a readable mask
    smeared: bool = False


def _look_at(catalog: Catalog, row: int, decode: bool) -> _Finding:
    path, mask_path = catalog.path(row), catalog.path(row, "mask") if catalog.table.at[row, "mask"] else None
    size, mode, shape, problems = None, "", None, []
    shares, smeared = None, False
    try:
        header = read_header(path)
        size, mode = (header.width, header.height), header.mode
        shape = read_image(path).shape[:2] if decode else None
    except PreceptorError as error:
        problems.append(error.what)
    try:
        if decode and mask_path:
            classes = len(catalog.mask_classes)
            levels = read_levels(mask_path, classes)
            mask = mask_classes_of(mask_path, levels, classes)
            shares = np.bincount(mask.ravel(), minlength=classes) / mask.size
            smeared = classes == 2 and is_smeared(levels)
            if shape and mask.shape != shape:
                problems.append(f"{mask_path} is {_named(mask.shape)}, its image is {_named(shape)}")
    except PreceptorError as error:
        problems.append(error.what)
    return _Finding("; ".join(problems), size, mode, shares, smeared)


def _named(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _notes(catalog: Catalog) -> tuple[str, ...]:
    if not catalog.excluded:
        return catalog.notes
    return (*catalog.notes, f"left out on request: {some_of(catalog.excluded)}")
