"""What decoded images and masks tell of a data set that its tables and folders do not."""

from __future__ import annotations

from preceptor.data.absent_classes import absent_classes, absent_notes
from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.image_kinds import kind_notes


def pixel_notes(catalog: Catalog, pixels: Pixels) -> list[str]:
    """Say which images look like masks or show nothing, and which classes no mask has."""
    notes = kind_notes(catalog, pixels.kinds)
    if pixels.masks is not None:
        notes += absent_notes(absent_classes(pixels.masks, catalog.mask_classes), pixels.size)
    return notes
