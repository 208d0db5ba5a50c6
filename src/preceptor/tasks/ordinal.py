"""Ordinal classification: one of several grades per image, such as the stages of diabetic retinopathy."""

from __future__ import annotations

from preceptor.tasks.classification import Classification
from preceptor.tasks.registry import register_task


@register_task
class Ordinal(Classification):
    """One grade per image; trained as classification, judged by how far a miss is off.

    The grades are the catalog's classes, in their order.
    """

    name = "ordinal"
    label = "grading of images"
    headline = "quadratic_kappa"
    summary = ("quadratic_kappa", "accuracy", "off_by_one_accuracy", "balanced_accuracy")
