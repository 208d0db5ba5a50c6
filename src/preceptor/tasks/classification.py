"""Classification: one class per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from preceptor.evaluation.score_columns import score_columns
from preceptor.tasks.registry import Task, register_task
from preceptor.utils.errors import PreceptorError, some_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from preceptor.data.batches import Loader
    from preceptor.data.catalog import Catalog
    from preceptor.evaluation.evaluate import Evaluation
    from preceptor.evaluation.metrics import Metric


@register_task
class Classification(Task):
    """One class per image; weighted cross-entropy, judged by balanced accuracy."""

    name = "classification"
    label = "classification of images"
    target: ClassVar[Literal["class", "labels", "mask"]] = "class"
    headline = "balanced_accuracy"
    summary = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")

    def classes(self, catalog: Catalog) -> tuple[str, ...]:
        """Return the classes of the catalog's labels."""
        if not catalog.has_labels:
            raise PreceptorError(
                f"{catalog.name}: its images have masks and no labels", remedy="train with --task segmentation"
            )
        if catalog.label_names:
            raise PreceptorError(
                f"{catalog.name}: an image may have several labels ({some_of(catalog.label_names, 3)})",
                expected="one class per image",
                remedy="train with --task multi_label",
            )
        if len(catalog.classes) < 2:
            raise PreceptorError(
                f"{catalog.name}: all images are of one class, {catalog.classes[0]!r}",
                expected="at least two classes to tell apart",
                remedy="check --root, or the column with the labels",
            )
        return catalog.classes

    def default_objectives(self, network: str, weight: float = 1.0, suffix: str = "") -> list[dict[str, Any]]:
        """Return cross-entropy, classes weighted by inverse frequency."""
        return [
            {
                "loss": "cross_entropy",
                "class_weights": "inverse_frequency",
                "name": f"cross_entropy{suffix}",
                "of": network,
                "weight": weight,
            }
        ]

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
        """Return metrics, probabilities and similarities of embeddings (see the base class)."""
        from preceptor.evaluation.evaluate import evaluate_classes

        wanted = self.metrics if metrics is None else metrics
        return evaluate_classes(
            networks, loader, ids, classes, part, wanted, ensembles or {}, references, batch_size, relations
        )

    def metric_cases(self, predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[Any, ...]:
        """Return class indices (N,) and probabilities (N, C)."""
        index = {name: place for place, name in enumerate(classes)}
        scores = predictions[score_columns(classes)].to_numpy(float)
        return predictions["target"].map(index).to_numpy(), scores

    def prediction_columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return ``target``, ``predicted`` and a probability for each class."""
        return ("target", "predicted", *score_columns(classes))
