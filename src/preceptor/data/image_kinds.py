"""Pictures that are no photographs: masks that lie where photographs should, and pictures of one colour throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from preceptor.data.catalog import Catalog
from preceptor.utils.errors import some_of

#: What a picture looks like: a mask, one colour throughout, or anything else, which is taken for a photograph.
Kind = Literal["mask", "blank", "photograph"]

_GRIDS = (8, 64)  # sides of grids of pixels: the first tells nearly all photographs, in no time
_ROWS = 256  # of pixels that are looked at in full, at most
_FEW = 8  # colours of a mask that was stored losslessly, at most
_BLACK, _WHITE = 16, 239  # grey values that JPEG makes of black and white lie below and above
_MOST_BETWEEN = 0.3  # pixels between them, the smeared outline, per pixel of the rarer of the two
_SHARE = 0.1  # of the images of a class that look like masks; of slices of brains, 1 % are dark enough to do so
_SMOOTH = 0.7  # share of pixels with a right neighbour of the same colour, besides those of the commonest colour


def kind_of(pixels: np.ndarray) -> Kind:
    """Tell what a decoded picture (H, W, 3) uint8 looks like.

    A mask has a few colours that fill areas (two grey values, indices of labels, colours of labels), or is black and
    white with a thin grey outline, as JPEG and scaling leave it. Photographs, radiographs and slices have many colours,
    also where they are dark: noise fills no areas.

    >>> mask = np.zeros((64, 64, 3), np.uint8)
    >>> mask[20:40, 20:40] = 255
    >>> noise = np.random.default_rng(0).integers(0, 256, mask.shape, dtype=np.uint8)
    >>> kind_of(mask), kind_of(noise), kind_of(mask * 0)
    ('mask', 'photograph', 'blank')
    """
    for side in _GRIDS:
        grid = pixels[_every(pixels.shape[0], side), _every(pixels.shape[1], side)]
        if not _has_few_colours(grid) and not _is_black_and_white(grid, outline=False):
            return "photograph"
    if (pixels == pixels[0, 0]).all():
        return "blank"
    rows = pixels[_every(pixels.shape[0], _ROWS)]
    masked = _fills_areas(_packed(rows)) if _has_few_colours(rows) else _is_black_and_white(rows)
    return "mask" if masked else "photograph"


def kind_notes(catalog: Catalog, kinds: Sequence[Kind] | np.ndarray | None) -> list[str]:
    """Say which images of a catalog look like masks, and which are of one colour throughout.

    A few dark slices of a volume look like masks as well, so that nothing is said below a tenth of a class.

    Args:
        kinds: :func:`kind_of` each image, in the order of the catalog's rows; None where it is not known.
    """
    if kinds is None:
        return []
    ids, of = catalog.table["id"].to_numpy(str), np.array(kinds, dtype=str)
    labels = np.zeros(len(ids), dtype=str) if catalog.label_names else catalog.table["label"].to_numpy(str)
    notes: list[str] = []
    affected: dict[str, str] = {}
    for name in sorted(set(labels.tolist())):
        masks, photographs = (int((of[labels == name] == kind).sum()) for kind in ("mask", "photograph"))
        if are_masks(masks, photographs):
            where = f"of class {name!r}" if name else "without a label"
            affected[name] = f"{masks:,} of {int((labels == name).sum()):,} {where}"
    if affected:
        named = ids[(of == "mask") & np.isin(labels, [*affected])]
        classes = f" ({some_of(affected.values())})" if len(affected) < len(set(labels)) else ""
        notes.append(
            f"{len(named):,} of {len(ids):,} images{classes} look like masks, not like photographs (a few colours that "
            f"fill areas): {some_of(named, 3)}. If they are masks, give the photographs in their place (readers "
            "tell the two apart as images/ and masks/, as x.png and x_mask.png, and by the columns image and mask), or "
            "leave them out: list their ids in a file and give it as --exclude FILE"
        )
    if blank := ids[of == "blank"].tolist():
        notes.append(f"{len(blank):,} of {len(ids):,} images are of one colour throughout: {some_of(blank, 3)}")
    return notes


def are_masks(masks: int, photographs: int) -> bool:
    """Whether so many images that look like masks, beside so many others, are masks rather than dark photographs."""
    return masks >= _SHARE * (masks + photographs) and masks >= min(2, masks + photographs) and masks > 0


def _every(length: int, most: int) -> slice:
    return slice(None, None, -(-length // most))


def _packed(pixels: np.ndarray) -> np.ndarray:
    """(H, W) int32, one number for each colour."""
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _has_few_colours(pixels: np.ndarray) -> bool:
    colours = _packed(pixels).ravel()
    return len(set(colours.tolist()) if len(colours) < 100 else np.unique(colours)) <= _FEW


def _fills_areas(colours: np.ndarray) -> bool:
    """Whether the pixels (H, W) of other colours than the commonest lie together, as those of masks do."""
    values, counts = np.unique(colours, return_counts=True)
    rare = colours[:, :-1] != values[counts.argmax()]
    same = colours[:, :-1] == colours[:, 1:]
    return bool(rare.any() and same[rare].mean() >= _SMOOTH)


def _is_black_and_white(pixels: np.ndarray, outline: bool = True) -> bool:
    """Whether a picture is grey, and black and white but for its outline.

    Args:
        outline: whether the outline has to be thin, which a coarse grid of pixels does not show.
    """
    levels = pixels[..., 0]
    if (pixels != levels[..., None]).any():
        return False
    black, white = int((levels <= _BLACK).sum()), int((levels >= _WHITE).sum())
    between = levels.size - black - white
    if not outline:
        return between <= 0.25 * levels.size
    return min(black, white) > 0 and between <= _MOST_BETWEEN * min(black, white)
