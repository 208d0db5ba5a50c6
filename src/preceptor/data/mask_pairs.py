"""Which mask belongs to which image, by the names of files and folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from preceptor.data.sources import join_masks
from preceptor.utils.errors import PreceptorError, some_of

_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "imagestr", "jpegimages", "photos", "original"})
_MASK_FOLDERS = frozenset(
    {"mask", "masks", "labelstr", "label", "labels", "annotation", "annotations", "segmentation", "segmentations",
     "segmentationclass", "gt", "groundtruth", "ground_truth", "ground truth"}
)  # fmt: skip
_ENDING = re.compile(r"(?P<stem>.+?)[ _-](?:mask|masks|segmentation|seg|gt|label)(?:[_-]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class FolderPair:
    """A folder of images and the folder of their masks."""

    images: str
    masks: str


@dataclass
class Siblings:
    """Masks that lie beside their images.

    Attributes:
        of: image -> its masks, as a catalog names them.
        taken: the mask files.
    """

    of: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


def mask_folders(folders: Sequence[Sequence[str]]) -> FolderPair | None:
    """The pair of folders that hold images and masks, where all of several tops hold these two and no others."""
    names = set(map(tuple, folders))
    if len(names) != 1 or len(folders[0]) != 2:
        return None
    first, second = folders[0]
    for images, masks in ((first, second), (second, first)):
        if images.lower() in _IMAGE_FOLDERS and masks.lower() in _MASK_FOLDERS:
            return FolderPair(images, masks)
    return None


def pair_siblings(images: Sequence[str]) -> tuple[Siblings, list[str]]:
    """Pair ``x_mask.png`` (``x_mask_1.png``, ``x_segmentation.png``, …) with ``x.png`` in the same folder.

    Returns:
        The pairs, and a note where there are any.
    """
    by_stem = {PurePosixPath(path).with_suffix("").as_posix(): path for path in images}
    masks: dict[str, list[str]] = defaultdict(list)
    for path in images:
        place = PurePosixPath(path)
        match = _ENDING.fullmatch(place.stem)
        image = by_stem.get((place.parent / match["stem"]).as_posix()) if match else None
        if image:
            masks[image].append(path)
    siblings = Siblings({image: join_masks(sorted(files)) for image, files in masks.items()})
    siblings.taken = {file for files in masks.values() for file in files}
    if not siblings.taken:
        return siblings, []
    example = next(iter(sorted(siblings.taken)))
    return siblings, [f"{len(siblings.taken):,} files are read as masks of the images beside them, such as {example}"]


def pair_by_folder(root: Path, tops: Sequence[str], pair: FolderPair, files: Sequence[str]) -> dict[str, str]:
    """Image -> mask (empty where there is none), by equal names in the two folders; a mask may end in ``_mask``.

    Raises:
        PreceptorError: masks without an image.
    """
    paired: dict[str, str] = {}
    lonely: list[str] = []
    for top in tops:
        prefix = f"{top}/" if top else ""
        of_top = [path for path in files if path.startswith(f"{prefix}{pair.images}/")]
        images = {_below(path, prefix + pair.images): path for path in of_top}
        paired |= dict.fromkeys(images.values(), "")
        for path in files:
            if path.startswith(f"{prefix}{pair.masks}/"):
                key = _below(path, prefix + pair.masks)
                match = _ENDING.fullmatch(key)
                image = images.get(key) or (images.get(match["stem"]) if match else None)
                if image is None:
                    lonely.append(path)
                else:
                    paired[image] = join_masks([*filter(None, [paired[image]]), path])
    if lonely:
        raise PreceptorError(
            f"{root}: {len(lonely):,} masks without an image of that name: {some_of(lonely)}",
            expected=f"the same names in {pair.images}/ and {pair.masks}/ (masks may end in _mask)",
            remedy="name the masks as their images, or use a table (--data table)",
        )
    return paired


def _below(path: str, folder: str) -> str:
    return PurePosixPath(path).relative_to(folder).with_suffix("").as_posix()
