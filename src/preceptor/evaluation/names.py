"""What the figures of merit are called, in ``metrics.json`` and by people; light, for plans are checked by it."""

from __future__ import annotations

METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC",
    "macro_average_precision": "macro average precision",
    "calibration_error": "calibration error",
}
MASK_METRICS = {
    "iou_pooled": "IoU of all pixels",
    "dice_pooled": "Dice of all pixels",
    "iou": "IoU an image",
    "dice": "Dice an image",
    "iou_with_target": "IoU where there is a target",
    "dice_with_target": "Dice where there is a target",
    "pixel_accuracy": "pixel accuracy",
}
OF_TASK = {"classification": METRICS, "segmentation": MASK_METRICS}
