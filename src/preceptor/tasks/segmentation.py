"""Segmentation: a class for each pixel, the background first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from preceptor.evaluation.pixel_counts import counts_from_rows
from preceptor.recipe import Recipe
from preceptor.tasks.registry import Task, register_task
from preceptor.utils.errors import PreceptorError, some_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from preceptor.data.batches import Loader
    from preceptor.data.catalog import Catalog
    from preceptor.evaluation.evaluate import Evaluation
    from preceptor.evaluation.metrics import Metric

#: Niyaz et al. 2024, eq. (8): focal and Dice. Dice is that of the whole batch, since an image's own says little where
#: its mask is empty.
FOCAL_AND_DICE: tuple[dict[str, Any], ...] = ({"loss": "focal_masks", "gamma": 2.0}, {"loss": "dice_pooled"})


@register_task
class Segmentation(Task):
    """A mask for each image, by a U-Net on any backbone; focal and Dice loss, judged by pooled IoU."""

    name = "segmentation"
    label = "segmentation"
    target: ClassVar[Literal["class", "labels", "mask"]] = "mask"
    network: ClassVar[Literal["classifier", "labeller", "segmenter"]] = "segmenter"
    headline = "iou_pooled"
    summary = ("iou_pooled", "dice_pooled", "iou", "dice")
    cases = "images"

    def classes(self, catalog: Catalog) -> tuple[str, ...]:
        """Return the classes of the masks' pixels, the background first."""
        if not catalog.has_masks:
            bare = catalog.table["id"][catalog.table["mask"] == ""]
            raise PreceptorError(
                f"{catalog.name}: {len(bare)} of {len(catalog)} images have no mask ({some_of(bare, 3)})",
                expected="a mask for every image, as segmentation needs",
                remedy="leave those images out (--exclude), take them as showing nothing (--data table: "
                "data.empty_masks=true), or train with --task classification",
            )
        return catalog.mask_classes

    def default_objectives(self, network: str, weight: float = 1.0, suffix: str = "") -> list[dict[str, Any]]:
        """Return focal and Dice loss."""
        return [{**loss, "name": f"{loss['loss']}{suffix}", "of": network, "weight": weight} for loss in FOCAL_AND_DICE]

    def check_recipe(self, recipe: Recipe) -> None:
        """Refuse also bottlenecks, which U-Nets do not have, and resampling by class."""
        super().check_recipe(recipe)
        for name, network in recipe.networks.items():
            if network.bottleneck is not None:
                raise PreceptorError(
                    f"networks.{name}.bottleneck: a U-Net has no layer before its classifier",
                    expected=f"networks.{name} without bottleneck",
                )
        if recipe.resample != "none":
            raise PreceptorError("resample: masks have no classes of images to balance", remedy="set it to none")

    def evaluate(
        self,
        networks: Mapping[str, nn.Module],
        loader: Loader,
        ids: Sequence[str],
        classes: Sequence[str],
        part: str,
        *,
        ensembles: Mapping[str, Sequence[str]] | None = None,
        references: Sequence[str] = (),
        batch_size: int = 64,
        relations: bool = True,
        metrics: Mapping[str, Metric] | None = None,
    ) -> Evaluation:
        """Return metrics and numbers of pixels of each image (see the base class); masks have no relations."""
        from preceptor.evaluation.evaluate_masks import evaluate_masks

        return evaluate_masks(networks, loader, ids, classes, part, ensembles, references, batch_size, metrics)

    def metric_cases(self, predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[Any, ...]:
        """Return the numbers of pixels of each image."""
        keys = [key for key, metric in self.metrics.items() if metric.per_image]
        return (counts_from_rows(predictions, classes, keys),)

    def prediction_columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return scores and numbers of pixels; of each foreground class, where there are several."""
        kinds = ("iou", "target_pixels", "predicted_pixels") if len(classes) > 2 else ()
        each = (f"{kind}_{name}" for name in classes[1:] for kind in kinds)
        return ("iou", "dice", "target_pixels", "predicted_pixels", *each)
