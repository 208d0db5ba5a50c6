"""What a task is, and the registry of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from preceptor.evaluation.metrics import Metric, metrics_of
from preceptor.recipe import Recipe
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import nn

    from preceptor.data.batches import Loader
    from preceptor.data.catalog import Catalog
    from preceptor.evaluation.evaluate import Evaluation


class Task(ABC):
    """What networks learn to predict of an image.

    Attributes:
        name: as in ``task:`` of a recipe.
        label: in reports, in the field's words.
        target: what an image has and ``predictions.csv`` holds: one ``class``, several ``labels``, or a ``mask``.
        network: which kind of network predicts it (a key of ``networks.kinds.KINDS``).
        headline: key of the metric that heads reports and, unless a recipe names another, selects the epoch.
        summary: keys of the metrics that the command line prints of a network.
        cases: key in ``metrics.json`` of the number of images.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    target: ClassVar[Literal["class", "labels", "mask"]]
    network: ClassVar[Literal["classifier", "labeller", "segmenter"]] = "classifier"
    headline: ClassVar[str]
    summary: ClassVar[tuple[str, ...]]
    cases: ClassVar[str] = "cases"

    @property
    def metrics(self) -> dict[str, Metric]:
        """Metrics of the task and of those that it derives from, by key."""
        return metrics_of(*(kind.__dict__["name"] for kind in type(self).__mro__ if "name" in kind.__dict__))

    def monitored_metrics(self, selected: str) -> dict[str, Metric]:
        """Return the metrics that are computed after every epoch: all but costly ones, and the one that selects.

        Args:
            selected: key of the metric that epochs are selected by, or ``last``.
        """
        return {key: metric for key, metric in self.metrics.items() if metric.every_epoch or key == selected}

    @property
    def needs_masks(self) -> bool:
        """Whether images are decoded with their masks."""
        return self.target == "mask"

    @abstractmethod
    def classes(self, catalog: Catalog) -> tuple[str, ...]:
        """Return what networks tell apart, in the order of their outputs.

        Raises:
            PreceptorError: the data lack the targets of this task.
        """

    def classes_to_measure(self, catalog: Catalog) -> tuple[str, ...]:
        """Return :meth:`classes` of data that trained networks are measured on.

        Raises:
            PreceptorError: as :meth:`classes`, but where targets of this kind are lacking, training for another task is
                no way out any more.
        """
        lacking = {"class": not catalog.has_labels or bool(catalog.label_names), "labels": not catalog.label_names}
        try:
            return self.classes(catalog)
        except PreceptorError as error:
            if not lacking.get(self.target, not catalog.has_masks):
                raise
            some_masks = self.target == "mask" and bool((catalog.table["mask"] != "").any())
            raise PreceptorError(
                f"{error.what}; the networks were trained for {self.label}",
                expected=error.expected,
                remedy=("leave out images without a mask (--exclude), " if some_masks else "")
                + "name data that have such targets, or measure networks that were trained for those of these data",
            ) from None

    def targets(self, catalog: Catalog) -> np.ndarray:
        """Return what is known of each image as arrays that batches carry: class indices (N,) int64."""
        return catalog.labels

    @abstractmethod
    def default_objectives(self, network: str, weight: float = 1.0, suffix: str = "") -> list[dict[str, Any]]:
        """Return the task's own loss for one network: objectives as a recipe's YAML writes them.

        Args:
            suffix: what the objectives' names end in, where several networks have such a loss.
        """

    @abstractmethod
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
        """Return metrics and predictions of networks on the images of a loader.

        Args:
            networks: by name, on the loader's device; all take images of the loader's size.
            ids: of the loader's images, in its order.
            classes: what :meth:`classes` returned.
            part: what these images are called in the predictions.
            ensembles: members of each group of networks whose joint predictions are evaluated too.
            references: networks that the others' predictions are compared with (``fidelity``), teachers as a rule.
            batch_size: images at a time; the result does not depend on it.
            relations: whether similarities of embeddings are measured, where the task has them.
            metrics: what to compute, by key; all of the task unless given.

        Raises:
            PreceptorError: the predictions of a network are not finite.
        """

    @abstractmethod
    def metric_cases(self, predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[Any, ...]:
        """Return what the task's metrics are called with, from rows of ``predictions.csv`` of one network."""

    @abstractmethod
    def prediction_columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that ``predictions.csv`` must have, besides ``id``, ``part`` and ``network``."""

    def trains_like(self, other: Task) -> bool:
        """Whether networks are trained alike for another task, so that a recipe for one has a form for the other."""
        own, others = (task.default_objectives("network") for task in (self, other))
        return (self.target, self.network, own) == (other.target, other.network, others)

    def check_class_groups(self, recipe: Recipe, classes: Sequence[str]) -> None:
        """Raise a PreceptorError if a recipe groups classes that there are not.

        Args:
            classes: what :meth:`classes` returned.
        """
        for name, members in recipe.class_groups.items():
            for member in members:
                if member not in classes:
                    raise PreceptorError(
                        f"class_groups.{name}: there is no class {member!r}.{did_you_mean(member, classes)}",
                        expected=f"some of {', '.join(classes)}",
                    )
            if len(set(members)) < len(members) or len(set(members)) == len(classes):
                raise PreceptorError(
                    f"class_groups.{name}: {', '.join(members)}", expected="some classes, each once, against all others"
                )

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise a PreceptorError, which names the key, if a recipe cannot be run on this task."""
        if recipe.class_groups and self.target != "class":
            raise PreceptorError(
                f"class_groups: {self.name} has no one class per image", remedy="leave class_groups out"
            )
        metric = recipe.select.metric
        if metric != "last" and metric not in self.metrics:
            known = (*self.metrics, "last")
            raise PreceptorError(
                f"select.metric: {metric} is not of {self.name}.{did_you_mean(metric, known)}",
                expected=f"one of {', '.join(known)}",
            )


def _load_ours() -> None:
    package = import_module("preceptor.tasks")
    for module in iter_modules(package.__path__):
        import_module(f"preceptor.tasks.{module.name}")


#: All tasks by name; third parties add theirs through the entry point group ``preceptor.tasks``.
TASKS: Registry[Task] = Registry("task", "preceptor.tasks", _load_ours)

T = TypeVar("T", bound=type[Task])


def register_task(task: T) -> T:
    """Class decorator: register a task under its name.

    Raises:
        PreceptorError: another task has the name.
    """
    TASKS.add(task.name, task(), task)
    return task
