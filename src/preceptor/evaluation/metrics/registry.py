"""What a metric is, and the registry of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.pixel_counts import PixelCounts
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.registry import Registry

Floats = NDArray[np.float64]
#: How often each group is drawn (S, G): whole numbers in float32, read-only.
Draws = NDArray[np.float32]
#: Values of a metric under resamplings: draws (S, G) -> (S,). Sums beyond 2²⁴ need float64.
Resampled = Callable[[Draws], Floats]
ONE_CLASS = ("classification", "ordinal")  # tasks with one class per image


@dataclass(frozen=True)
class Additive:
    """A metric that is a function of sums over images, so that any resampling of them is one matrix product.

    Attributes:
        statistics: what each image adds: the cases of a task (see :class:`Metric`) -> (N, K). Metrics that share the
            function share its sums.
        value: (…, K) sums -> (…), NaN where the metric is undefined.
    """

    statistics: Callable[..., NDArray[Any]]
    value: Callable[[NDArray[Any]], NDArray[Any]]

    def __call__(self, *cases: Any) -> float:
        """Return the value over all cases."""
        columns = np.ascontiguousarray(self.statistics(*cases).T)  # numpy sums a contiguous row pairwise
        return float(self.value(columns.sum(axis=1)))


@dataclass(frozen=True)
class Metric:
    """One figure of merit of a network on a part of the data.

    Attributes:
        key: its name in ``metrics.json``, ``history.csv``, study plans and ``select.metric``.
        label: its name in reports, in the field's words.
        tasks: names of the tasks that have it.
        function: the value over all cases of a part, None or NaN where it is undefined. The cases are ``(targets,
            predictions)``, class indices (N,) and probabilities (N, C), for tasks on whole images, and one
            :class:`~preceptor.evaluation.pixel_counts.PixelCounts` for masks.
        higher_is_better: the direction in which epochs are selected and differences are judged.
        digits: decimals in reports.
        additive: the metric as a function of sums over images; resampled by matrix products.
        prepare: ``(*cases, group (N,), groups)`` -> :data:`Resampled`, a faster resampling than calling ``function``
            on every draw.
        resampled: whether reports give it an interval over patients or lesions.
        ranks: whether it compares the scores of images with each other. Scores of several networks (of folds) are not
            ranked together, since one network may give higher ones throughout: figures of folds are averaged instead.
        per_image: ``(target (H, W), prediction (H, W))`` of class indices -> the value of one image, NaN where it is
            undefined; ``function`` is then the mean over images.
        every_epoch: whether it is computed after every epoch. A costly metric is not: it is computed when finished
            networks are evaluated, and after every epoch only where ``select.metric`` names it.

    A metric with neither ``additive`` nor ``prepare`` is resampled by calling ``function`` on each draw.
    """

    key: str
    label: str
    tasks: tuple[str, ...]
    function: Callable[..., float | None]
    higher_is_better: bool = True
    digits: int = 3
    additive: Additive | None = None
    prepare: Callable[..., Resampled] | None = None
    resampled: bool = True
    ranks: bool = False
    per_image: Callable[[NDArray[Any], NDArray[Any]], float] | None = None
    every_epoch: bool = True

    def __call__(self, *cases: Any) -> float | None:
        """Return the value over all cases, None where it is undefined.

        Arrays are handed out read-only: one that was sorted in place would be so for other metrics and for
        ``predictions.csv``.

        Raises:
            PreceptorError: the function raises, or returns something that is not a number; names the metric.
        """
        with self._named_errors():
            value = self.function(*map(_read_only, cases))
            return None if value is None or math.isnan(value) else float(value)

    def value_of_image(self, target: NDArray[Any], prediction: NDArray[Any]) -> float:
        """Return the value of one image, NaN where it is undefined, of a metric that has ``per_image``.

        Raises:
            PreceptorError: see :meth:`__call__`.
        """
        assert self.per_image is not None
        with self._named_errors():
            return float(self.per_image(_read_only(target), _read_only(prediction)))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (PreceptorError, MemoryError):
            raise
        except Exception as error:  # whatever the function does
            raise PreceptorError(
                f"metric {self.key}: {type(error).__name__}: {error}",
                expected="a function that returns a number, and leaves its arguments as they are",
            ) from error

    def better(self, difference: float) -> bool:
        """Whether a difference of two values is an improvement.

        >>> METRICS["calibration_error"].better(-0.02)
        True
        """
        return difference > 0 if self.higher_is_better else difference < 0


def _load_ours() -> None:
    package = import_module("preceptor.evaluation.metrics")
    for module in iter_modules(package.__path__):
        import_module(f"preceptor.evaluation.metrics.{module.name}")


#: All metrics by key; third parties add theirs through the entry point group ``preceptor.metrics``.
METRICS: Registry[Metric] = Registry("metric", "preceptor.metrics", _load_ours)


def add_metric(metric: Metric) -> None:
    """Register a metric.

    Raises:
        PreceptorError: another metric has the key, the key is no identifier, or no task is named.
    """
    if not metric.key.isidentifier() or not metric.tasks:
        raise PreceptorError(
            f"metric {metric.key!r} of the tasks {metric.tasks}",
            expected="a key of letters, digits and _, and at least one task",
        )
    METRICS.add(metric.key, metric, metric.per_image or metric.function)


def register_metric(
    key: str,
    *,
    label: str,
    tasks: Iterable[str],
    higher_is_better: bool = True,
    digits: int = 3,
    per_image: bool = False,
    resampled: bool = True,
    ranks: bool = False,
    every_epoch: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: register a function of ``(targets, predictions)`` as a metric.

    Args:
        key: see :class:`Metric`, as all others.
        per_image: for masks: the function takes class indices (H, W), true and predicted, of one image, and the metric
            is its mean over images; images for which it is NaN are left out. ``predictions.csv`` then has a column
            ``key`` with the value of each image.

    >>> @register_metric("error_rate", label="error rate", tasks=["classification"], higher_is_better=False)
    ... def error_rate(targets, probabilities):
    ...     return float((probabilities.argmax(axis=1) != targets).mean())
    >>> METRICS["error_rate"](np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        additive = Additive(lambda counts: _known(counts.values_of(key)), _mean_of_known) if per_image else None
        metric = Metric(
            key,
            label,
            tuple(tasks),
            additive or function,
            higher_is_better,
            digits,
            additive=additive,
            resampled=resampled,
            ranks=ranks,
            per_image=function if per_image else None,
            every_epoch=every_epoch,
        )
        add_metric(metric)
        return function

    return decorate


def metrics_of(*tasks: str) -> dict[str, Metric]:
    """Return the metrics of any of some tasks by key, in the order in which reports show them."""
    return {key: METRICS[key] for key in METRICS if not set(tasks).isdisjoint(METRICS[key].tasks)}


def metric_of(task: str, key: str) -> Metric:
    """Return the metric ``key`` of a task.

    Raises:
        PreceptorError: the task has no such metric; names the nearest one.
    """
    known = metrics_of(task)
    if key not in known:
        elsewhere = f", it is of {' and '.join(METRICS[key].tasks)}" if key in METRICS else ""
        raise PreceptorError(
            f"{task} has no metric {key!r}{elsewhere}.{did_you_mean(key, known)}",
            expected=f"one of {', '.join(known)}",
        )
    return known[key]


def values_of(metrics: Mapping[str, Metric], *cases: Any) -> dict[str, float | None]:
    """Return the value of each metric over all cases, None where it is undefined."""
    return {key: metric(*cases) for key, metric in metrics.items()}


def _read_only(case: Any) -> Any:
    """Return an array, or the counts of masks, as views that cannot be written to; anything else as it is."""
    if isinstance(case, np.ndarray):
        view = case.view()
        view.setflags(write=False)
        return view
    if isinstance(case, PixelCounts):
        parts = {part.name: _read_only(getattr(case, part.name)) for part in fields(case)}
        return PixelCounts(**{**parts, "values": {key: _read_only(value) for key, value in case.values.items()}})
    return case


def _known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.stack([known.astype(np.float64), np.where(known, values, 0.0)], axis=1)


def _mean_of_known(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return sums[..., 1] / sums[..., 0]
