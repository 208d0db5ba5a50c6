"""Multi-label classification: several labels per image at once, each a yes or no of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from preceptor.evaluation.score_columns import score_columns
from preceptor.recipe import Recipe
from preceptor.tasks.registry import Task, register_task
from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from preceptor.data.batches import Loader
    from preceptor.data.catalog import Catalog
    from preceptor.evaluation.evaluate import Evaluation
    from preceptor.evaluation.metrics import Metric


@register_task
class MultiLabel(Task):
    """Several labels per image; binary cross-entropy of each, judged by the mean AUC of the labels."""

    name = "multi_label"
    label = "several labels per image"
    target: ClassVar[Literal["class", "labels", "mask"]] = "labels"
    network: ClassVar[Literal["classifier", "labeller", "segmenter"]] = "labeller"
    headline = "label_auc"
    summary = ("label_auc", "label_average_precision", "label_macro_f1", "label_accuracy")

    def classes(self, catalog: Catalog) -> tuple[str, ...]:
        """Return the names of the labels."""
        if not catalog.label_names:
            raise PreceptorError(
                f"{catalog.name}: an image has one class and not several labels",
                expected="a data set with several labels per image, such as a table with data.labels=a,b,c",
                remedy="train with --task classification",
            )
        return catalog.label_names

    def targets(self, catalog: Catalog) -> np.ndarray:
        """Return 1, 0 or NaN (not known) for each label, (N, L) float32."""
        matrix = catalog.label_matrix
        assert matrix is not None  # classes() has refused it
        return matrix

    def default_objectives(self, network: str, weight: float = 1.0, suffix: str = "") -> list[dict[str, Any]]:
        """Return binary cross-entropy."""
        name = f"binary_cross_entropy{suffix}"
        return [{"loss": "binary_cross_entropy", "name": name, "of": network, "weight": weight}]

    def check_recipe(self, recipe: Recipe) -> None:
        """Refuse also resampling by class."""
        super().check_recipe(recipe)
        if recipe.resample != "none":
            raise PreceptorError("resample: images with several labels have no one class", remedy="set it to none")

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
        """Return metrics and probabilities (see the base class); there are no classes to measure relations within."""
        from preceptor.evaluation.evaluate_labels import evaluate_labels

        wanted = self.metrics if metrics is None else metrics
        return evaluate_labels(networks, loader, ids, classes, part, wanted, ensembles or {}, references, batch_size)

    def metric_cases(self, predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[Any, ...]:
        """Return labels (N, L), NaN where not known, and probabilities (N, L)."""
        truth, scores = (predictions[[f"{kind}_{name}" for name in classes]].to_numpy(float) for kind in "tp")
        return truth, scores

    def prediction_columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the truth and a probability of each label."""
        return (*(f"t_{name}" for name in classes), *score_columns(classes))
