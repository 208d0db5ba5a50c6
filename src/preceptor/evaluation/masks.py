"""Counts the pixels of predicted and true masks batch by batch, and joins the masks of several segmenters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.evaluation.metrics import Metric, metrics_of
from preceptor.evaluation.metrics.registry import values_of
from preceptor.evaluation.pixel_counts import PixelCounts, counts_of
from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:  # exported networks are measured where there is no torch
    from torch import Tensor


class MaskMeter:
    """Counts predicted and true masks batch by batch; holds C×C numbers per image, and no pixel.

    Args:
        classes: the C class names in the order of the logits, background first; figures are of the others.
        metrics: what to compute, by key; all of segmentation unless given.

    Raises:
        ValueError: fewer than two classes.
    """

    def __init__(self, classes: Sequence[str], metrics: Mapping[str, Metric] | None = None) -> None:
        if len(classes) < 2:
            raise ValueError(f"classes {list(classes)}: the background and at least one more were expected")
        self.classes, self.metrics = tuple(classes), metrics_of("segmentation") if metrics is None else metrics
        self._confusion: list[NDArray[np.int64]] = []
        self._values: dict[str, list[float]] = {key: [] for key in self.metrics if self.metrics[key].per_image}

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Count the pixels of some images.

        Args:
            predicted: (B, H, W) class indices, or (B, C, H, W) logits or probabilities, of which the largest counts
                (the first, among equals).
            target: (B, H, W) class indices.

        Raises:
            ValueError: shapes that do not fit, or an index that is not a class.
        """
        import torch

        classes = len(self.classes)
        labels = predicted.argmax(1) if predicted.ndim == 4 else predicted
        if predicted.ndim == 4 and predicted.shape[1] != classes:
            raise ValueError(f"predictions of {predicted.shape[1]} classes; expected {classes}")
        if labels.shape != target.shape or target.ndim != 3:
            raise ValueError(f"predictions {tuple(labels.shape)} and targets {tuple(target.shape)}; expected (B, H, W)")
        if labels.is_floating_point() or target.is_floating_point():
            raise ValueError("masks are of floating point; class indices (integers) were expected")
        flat, truth = labels.flatten(1).long(), target.flatten(1).long()
        for name, mask in (("predictions", flat), ("targets", truth)):
            if mask.numel() and not 0 <= int(mask.min()) <= int(mask.max()) < classes:
                raise ValueError(f"{name} range over {mask.min()} … {mask.max()}; expected 0 … {classes - 1}")
        image = torch.arange(len(flat), device=flat.device)[:, None]
        cells = ((image * classes + truth) * classes + flat).flatten()
        counts = torch.bincount(cells, minlength=len(flat) * classes * classes)
        self._confusion.append(counts.view(-1, classes, classes).cpu().numpy())
        if self._values:
            self._measure_images(labels.cpu().numpy(), target.cpu().numpy())

    def update_arrays(self, predicted: NDArray[np.integer[Any]], target: NDArray[np.integer[Any]]) -> None:
        """Count the pixels of one image: class indices (H, W) both.

        Raises:
            ValueError: shapes that differ, or an index that is not a class.
        """
        classes = len(self.classes)
        if predicted.shape != target.shape or target.ndim != 2:
            raise ValueError(f"prediction {predicted.shape} and target {target.shape}; expected (H, W) both")
        if not (predicted.min() >= 0 and predicted.max() < classes and target.min() >= 0 and target.max() < classes):
            raise ValueError(f"masks hold indices beyond 0 … {classes - 1}")
        cells = target.astype(np.int64) * classes + predicted
        self._confusion.append(np.bincount(cells.ravel(), minlength=classes**2).reshape(1, classes, classes))
        self._measure_images(predicted[None], target[None])

    def counts(self) -> PixelCounts:
        """Return the counts of all images so far.

        Raises:
            ValueError: no image was counted.
        """
        if not self._confusion:
            raise ValueError("there is no image to measure")
        values = {key: np.array(column, dtype=np.float64) for key, column in self._values.items()}
        return counts_of(np.concatenate(self._confusion), values)

    def result(self) -> dict[str, Any]:
        """Return the figures over all images so far, ready for JSON.

        Returns:
            ``images``; ``images_with_target``, whose truth is not empty; each metric of the task, None where it is
            undefined; ``per_class``: for each foreground class ``iou`` and ``dice`` (means over images),
            ``iou_pooled``, ``dice_pooled`` and ``images``, whose truth holds it; ``absent_classes``, which no truth
            holds.

        Raises:
            ValueError: no image was counted.
        """
        counts = self.counts()
        iou, dice = counts.iou(), counts.dice()
        occurs = counts.truth.sum(0) > 0
        pooled = PixelCounts(*(part.sum(0, keepdims=True) for part in (counts.truth, counts.predicted, counts.both)))
        pooled_iou, pooled_dice = pooled.iou()[0], pooled.dice()[0]
        names = self.classes[1:]
        return {
            "images": len(counts),
            "images_with_target": int(counts.filled.sum()),
            **values_of(self.metrics, counts),
            "per_class": {
                name: {
                    "iou": float(iou[:, index].mean()),
                    "dice": float(dice[:, index].mean()),
                    "iou_pooled": float(pooled_iou[index]),
                    "dice_pooled": float(pooled_dice[index]),
                    "images": int((counts.truth[:, index] > 0).sum()),
                }
                for index, name in enumerate(names)
            },
            "absent_classes": [name for index, name in enumerate(names) if not occurs[index]],
        }

    def rows(self, ids: Sequence[str], *, part: str, network: str) -> pd.DataFrame:
        """Return one row per image, in the order counted, for ``predictions.csv``.

        Columns: ``id``, ``part``, ``network``; ``iou`` and ``dice``, the mean over the foreground classes that the
        truth or the prediction holds (1 where neither holds any); ``target_pixels`` and ``predicted_pixels`` of all
        foreground classes; where there are several of these ``iou_CLASS``, ``dice_CLASS``, ``target_pixels_CLASS``
        and ``predicted_pixels_CLASS`` of each; and the value of each metric that looks at whole masks.

        Raises:
            ValueError: another number of ids than of images.
        """
        counts = self.counts()
        if len(ids) != len(counts):
            raise ValueError(f"{len(ids)} ids for {len(counts)} images")
        iou, dice = counts.iou(), counts.dice()
        table = pd.DataFrame({"id": list(ids), "part": part, "network": network})
        table["iou"], table["dice"] = counts.per_image(iou), counts.per_image(dice)
        table["target_pixels"], table["predicted_pixels"] = counts.truth.sum(1), counts.predicted.sum(1)
        if len(self.classes) > 2:
            columns = ("iou", "dice", "target_pixels", "predicted_pixels")
            for kind, values in zip(columns, (iou, dice, counts.truth, counts.predicted), strict=True):
                for index, name in enumerate(self.classes[1:]):
                    table[f"{kind}_{name}"] = values[:, index]
        return table.assign(**counts.values)

    def _measure_images(self, predicted: NDArray[Any], target: NDArray[Any]) -> None:
        for key, values in self._values.items():
            metric = self.metrics[key]
            values += [metric.value_of_image(*pair) for pair in zip(target, predicted, strict=True)]


def union(probabilities: Sequence[Tensor]) -> Tensor:
    """Return the union of several networks' masks: foreground is what any of them calls foreground.

    Its class is the most probable foreground class over the networks that call the pixel foreground, which is the class
    that one of them predicts. With one foreground class this is the plain union of the masks.

    Args:
        probabilities: of each network (B, C, H, W), background first.

    Returns:
        (B, H, W) class indices.

    Raises:
        PreceptorError: no network, or shapes that differ.
    """
    if not probabilities or any(each.shape != probabilities[0].shape for each in probabilities):
        raise PreceptorError(
            f"union of masks: {[tuple(each.shape) for each in probabilities]}",
            expected="probabilities (B, C, H, W) of one shape from at least one network",
        )
    import torch

    stack = torch.stack(list(probabilities))
    votes = stack.argmax(2) > 0
    strongest = stack[:, :, 1:].masked_fill(~votes[:, :, None], -1).amax(0).argmax(1) + 1
    return torch.where(votes.any(0), strongest, 0)
