"""What networks are to tell apart, by task."""

from __future__ import annotations

from preceptor.data.catalog import Catalog
from preceptor.recipe import Task
from preceptor.utils.errors import PreceptorError, some_of


def target_classes(catalog: Catalog, task: Task) -> tuple[str, ...]:
    """The classes of the images, or those of the masks' pixels, the background first.

    Raises:
        PreceptorError: the data have no labels, or not every image has a mask.
    """
    if task == "classification":
        if not catalog.has_labels:
            raise PreceptorError(
                f"{catalog.name}: its images have masks and no labels", remedy="train with --task segmentation"
            )
        return catalog.classes
    if not catalog.has_masks:
        bare = catalog.table["id"][catalog.table["mask"] == ""]
        raise PreceptorError(
            f"{catalog.name}: {len(bare)} of {len(catalog)} images have no mask ({some_of(bare, 3)})",
            expected="a mask for every image, for --task segmentation",
            remedy="leave those images out (--exclude), or train with --task classification",
        )
    return catalog.mask_classes
