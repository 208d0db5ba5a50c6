"""The result of ``preceptor data check``, as plain text and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from preceptor.data.failures import grouped_by_cause
from preceptor.utils.errors import some_of

_NAMED = 5  # groups with several labels that are listed; of patients with many slices, all may be


@dataclass(frozen=True)
class ClassCount:
    """One class: its name, images and groups (lesions, patients), and of how many images it is known."""

    name: str
    images: int
    groups: int
    known: int


@dataclass(frozen=True)
class DataReport:
    """Everything that :func:`preceptor.data.check.check` learns of a data set.

    Attributes:
        name, root, layout: the reader, the folder, and what the reader expects there.
        classes: images and groups of each class (of each label, where an image may have several).
        images, groups: how many there are in all.
        most_in_group: images of the largest group.
        unlabelled: images without a label.
        parts: prescribed part -> number of images; empty where none is prescribed.
        attributes: attribute -> number of images that have a value.
        sizes: (width, height) -> number of images, as stored.
        modes: Pillow's mode, such as ``RGB`` or ``L`` -> number of images.
        unreadable: id -> what is wrong with its image and mask; every one, not just the first.
        without_mask: ids without a mask.
        mask_shares: mask class -> its share of the pixels of a mask, mean over the readable masks; empty without any.
        empty_masks: ids whose mask is background throughout.
        smeared_masks: ids whose mask of two classes has other values too, and is cut at half.
        larger_masks: ids whose mask is of a larger scale than the image.
        mixed_groups: group -> its labels, where it has several.
        notes: what the reader has to say about this copy, and what the audit adds.
        decoded: whether the pixels were read, or the headers alone.
        near_duplicates: what the search for near-duplicates tells; empty where none was made.
    """

    name: str
    root: Path
    layout: str
    classes: tuple[ClassCount, ...]
    images: int
    groups: int
    most_in_group: int
    unlabelled: int
    parts: dict[str, int]
    attributes: dict[str, int]
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    unreadable: dict[str, str]
    without_mask: tuple[str, ...]
    mask_shares: dict[str, float]
    empty_masks: tuple[str, ...]
    smeared_masks: tuple[str, ...]
    larger_masks: tuple[str, ...]
    mixed_groups: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    decoded: bool
    near_duplicates: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file can be read."""
        return not self.unreadable

    def lines(self) -> list[str]:
        """The report as plain text."""
        width = max(5, *(len(row.name) for row in self.classes))
        return [
            *self._head(),
            "",
            f"{'class':{width}}  {'images':>8}  {'groups':>8}  {'known':>8}  {'share':>6}",
            *(
                f"{row.name:{width}}  {row.images:>8,}  {row.groups:>8,}  {row.known:>8,}  {_share(row):>6}"
                for row in self.classes
            ),
            "",
            *self._findings(),
        ]

    def __rich__(self) -> Group:
        table = Table("class", box=None, header_style="bold")
        table.add_column("images", justify="right")
        table.add_column("groups", justify="right")
        table.add_column("known", justify="right")  # of the images
        table.add_column("share", justify="right")  # of those
        for row in self.classes:
            counts = (f"{count:,}" for count in (row.images, row.groups, row.known))
            table.add_row(Text(row.name), *counts, _share(row))  # a name is not markup
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
        lines += self._known_of_images()
        lines += self._of_masks()
        for group, labels in list(self.mixed_groups.items())[:_NAMED]:
            lines.append(f"group {group} has several labels: {', '.join(labels)}")
        if len(self.mixed_groups) > _NAMED:
            lines.append(f"and {len(self.mixed_groups) - _NAMED:,} more groups have several labels")
        lines += [*self.near_duplicates, *(f"note: {note}" for note in self.notes)]
        depth = "read in full" if self.decoded else "opened (headers only)"
        if self.ok:
            lines.append(f"all files can be {depth}")
        else:
            lines.append(f"{len(self.unreadable):,} of {self.images:,} images cannot be {depth}:")
            lines += [f"  {line}" for line in grouped_by_cause(self.unreadable)]
        return lines

    def _known_of_images(self) -> list[str]:
        lines = [f"unlabelled: {self.unlabelled:,}"] if self.unlabelled else []
        if self.parts:
            lines.append("prescribed parts: " + ", ".join(f"{part} {count:,}" for part, count in self.parts.items()))
        if self.attributes:
            known = [f"{name} ({count:,})" for name, count in self.attributes.items()]
            lines.append(f"attributes, with the images that have a value: {some_of(known)}")
        return lines

    def _of_masks(self) -> list[str]:
        if len(self.without_mask) == self.images:
            return ["masks: none"]
        lines = [f"masks: {self.images - len(self.without_mask):,} of {self.images:,}"]
        if self.without_mask:
            lines.append(f"without a mask: {some_of(self.without_mask)}")
        if self.mask_shares:
            shares = [f"{name} {share:.1%}" for name, share in self.mask_shares.items()]
            lines.append(f"pixels of a mask: {', '.join(shares)} (mean)")
            lines.append(f"empty masks: {len(self.empty_masks):,}")
        for ids, what in (
            (self.smeared_masks, "masks with grey values at the border, cut at half"),
            (self.larger_masks, "masks of a larger scale than their image, scaled with it"),
        ):
            if ids:
                lines.append(f"{what}: {len(ids):,} ({some_of(ids, 3)})")
        return lines


def _share(row: ClassCount) -> str:
    return f"{row.images / row.known:.1%}" if row.known else "–"
