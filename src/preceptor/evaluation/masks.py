"""Figures of merit of a segmenter, counted batch by batch, and the union of several segmenters' masks.

Of one class's pixels IoU is |truth ∩ said| / |truth ∪ said|, and Dice, which is their F-score, is
2·|truth ∩ said| / (|truth| + |said|). Where a mask is empty: both empty, 1; one of them empty, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:  # exported networks are measured where there is no torch
    from torch import Tensor


class MaskMeter:
    """Takes in predicted masks and the truth batch by batch; holds C×C counts an image and no pixel.

    Args:
        classes: the C class names in the order of the logits, background first; figures are of the others.

    Raises:
        ValueError: fewer than two classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            raise ValueError(f"classes {list(classes)}: the background and at least one more were expected")
        self.classes = tuple(classes)
        self._counts: list[NDArray[np.int64]] = []

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Counts the pixels of some images.

        Args:
            predicted: (B, H, W) class indices, or (B, C, H, W) logits or probabilities, of which the largest counts
                (the first, among equals).
            target: (B, H, W) class indices.

        Raises:
            ValueError: shapes that do not fit, or an index that is no class.
        """
        import torch

        classes = len(self.classes)
        said = predicted.argmax(1) if predicted.ndim == 4 else predicted
        if predicted.ndim == 4 and predicted.shape[1] != classes:
            raise ValueError(f"predictions of {predicted.shape[1]} classes; expected {classes}")
        if said.shape != target.shape or target.ndim != 3:
            raise ValueError(f"predictions {tuple(said.shape)} and targets {tuple(target.shape)}; expected (B, H, W)")
        if said.is_floating_point() or target.is_floating_point():
            raise ValueError("masks are of floating point; class indices (integers) were expected")
        said, truth = said.flatten(1).long(), target.flatten(1).long()
        for name, mask in (("predictions", said), ("targets", truth)):
            if mask.numel() and not 0 <= int(mask.min()) <= int(mask.max()) < classes:
                raise ValueError(f"{name} range over {mask.min()} … {mask.max()}; expected 0 … {classes - 1}")
        image = torch.arange(len(said), device=said.device)[:, None]
        cells = ((image * classes + truth) * classes + said).flatten()
        counts = torch.bincount(cells, minlength=len(said) * classes * classes)
        self._counts.append(counts.view(-1, classes, classes).cpu().numpy())

    def update_arrays(self, predicted: NDArray[np.integer[Any]], target: NDArray[np.integer[Any]]) -> None:
        """Count the pixels of one image: class indices (H, W) both.

        Raises:
            ValueError: shapes that differ, or an index that is no class.
        """
        classes = len(self.classes)
        if predicted.shape != target.shape or target.ndim != 2:
            raise ValueError(f"prediction {predicted.shape} and target {target.shape}; expected (H, W) both")
        if not (predicted.min() >= 0 and predicted.max() < classes and target.min() >= 0 and target.max() < classes):
            raise ValueError(f"masks hold indices beyond 0 … {classes - 1}")
        cells = target.astype(np.int64) * classes + predicted
        self._counts.append(np.bincount(cells.ravel(), minlength=classes**2).reshape(1, classes, classes))

    def result(self) -> dict[str, Any]:
        """The figures over all images so far, ready for JSON.

        Returns:
            ``images``; ``images_with_target``, whose truth is not empty; ``iou`` and ``dice``, the mean over images of
            what :meth:`rows` says of each; ``iou_with_target`` and ``dice_with_target``, the same over the images whose
            truth is not empty (None without one): where most masks are empty, silence alone does well on the former;
            ``iou_pooled`` and ``dice_pooled``, from the pixels of all images together, the mean over the foreground
            classes that occur in the truth (over all, where none does); ``pixel_accuracy``, background included;
            ``per_class``: for each foreground class ``iou`` and ``dice`` (means over images), ``iou_pooled``,
            ``dice_pooled`` and ``images``, whose truth holds it; ``absent_classes``, which no truth holds.
            All but the counts lie in [0, 1].

        Raises:
            ValueError: no image was counted.
        """
        counts = self._all()
        truth, _, both = _foreground(counts)
        iou, dice = _per_class(counts)
        image_iou, image_dice = _per_image(counts)
        pooled_iou, pooled_dice = (values[0] for values in _per_class(counts.sum(0, keepdims=True)))
        occurs = truth.sum(0) > 0
        counted = occurs if occurs.any() else np.ones_like(occurs)
        filled = truth.sum(1) > 0
        names = self.classes[1:]
        return {
            "images": len(counts),
            "images_with_target": int(filled.sum()),
            "iou": float(image_iou.mean()),
            "dice": float(image_dice.mean()),
            "iou_with_target": float(image_iou[filled].mean()) if filled.any() else None,
            "dice_with_target": float(image_dice[filled].mean()) if filled.any() else None,
            "iou_pooled": float(pooled_iou[counted].mean()),
            "dice_pooled": float(pooled_dice[counted].mean()),
            "pixel_accuracy": float((counts[:, 0, 0].sum() + both.sum()) / counts.sum()),
            "per_class": {
                name: {
                    "iou": float(iou[:, index].mean()),
                    "dice": float(dice[:, index].mean()),
                    "iou_pooled": float(pooled_iou[index]),
                    "dice_pooled": float(pooled_dice[index]),
                    "images": int((truth[:, index] > 0).sum()),
                }
                for index, name in enumerate(names)
            },
            "absent_classes": [name for index, name in enumerate(names) if not occurs[index]],
        }

    def rows(self, ids: Sequence[str], *, part: str, network: str) -> pd.DataFrame:
        """One row an image, in the order counted, for ``predictions.csv``.

        Columns: ``id``, ``part``, ``network``; ``iou`` and ``dice``, the mean over the foreground classes that the
        truth or the prediction holds (1 where neither holds any); ``target_pixels`` and ``predicted_pixels`` of all
        foreground classes; and where there are several of these ``iou_CLASS``, ``dice_CLASS``, ``target_pixels_CLASS``
        and ``predicted_pixels_CLASS`` of each.

        Raises:
            ValueError: another number of ids than of images.
        """
        counts = self._all()
        if len(ids) != len(counts):
            raise ValueError(f"{len(ids)} ids for {len(counts)} images")
        truth, said, _ = _foreground(counts)
        iou, dice = _per_image(counts)
        table = pd.DataFrame({"id": list(ids), "part": part, "network": network, "iou": iou, "dice": dice})
        table["target_pixels"], table["predicted_pixels"] = truth.sum(1), said.sum(1)
        if len(self.classes) > 2:
            columns = ("iou", "dice", "target_pixels", "predicted_pixels")
            for kind, values in zip(columns, (*_per_class(counts), truth, said), strict=True):
                for index, name in enumerate(self.classes[1:]):
                    table[f"{kind}_{name}"] = values[:, index]
        return table

    def _all(self) -> NDArray[np.int64]:
        if not self._counts:
            raise ValueError("there is no image to measure")
        return np.concatenate(self._counts)


def union(probabilities: Sequence[Tensor]) -> Tensor:
    """The union of several networks' masks: foreground is what any of them calls foreground.

    Its class is the most probable foreground class over the networks that call the pixel foreground, which is the class
    that one of them predicts. With one foreground class this is the plain union of the masks.

    Args:
        probabilities: of each network (B, C, H, W), background first.

    Returns:
        (B, H, W) class indices.

    Raises:
        PreceptorError: no network, or shapes that differ.
    """
    if not probabilities or any(one.shape != probabilities[0].shape for one in probabilities):
        raise PreceptorError(
            f"union of masks: {[tuple(one.shape) for one in probabilities]}",
            expected="probabilities (B, C, H, W) of one shape from at least one network",
        )
    import torch

    stack = torch.stack(list(probabilities))
    votes = stack.argmax(2) > 0
    strongest = stack[:, :, 1:].masked_fill(~votes[:, :, None], -1).amax(0).argmax(1) + 1
    return torch.where(votes.any(0), strongest, 0)


def _foreground(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(N, C-1) pixels of each foreground class: in the truth, in the prediction, in both."""
    return counts.sum(2)[:, 1:], counts.sum(1)[:, 1:], np.diagonal(counts, axis1=1, axis2=2)[:, 1:]


def _per_class(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, C-1) IoU and Dice of each image and foreground class."""
    truth, said, both = _foreground(counts)
    total = truth + said
    empty = total == 0
    return np.where(empty, 1.0, both / np.where(empty, 1, total - both)), np.where(
        empty, 1.0, 2 * both / np.where(empty, 1, total)
    )


def _per_image(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) IoU and Dice of each image: the mean over foreground classes in its truth or prediction, 1 without any."""
    truth, said, _ = _foreground(counts)
    there = truth + said > 0
    shares = there / np.maximum(there.sum(1, keepdims=True), 1)
    none = ~there.any(1)
    iou, dice = (np.where(none, 1.0, (values * shares).sum(1)) for values in _per_class(counts))
    return iou, dice
