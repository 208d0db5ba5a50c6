"""What the sections on classifiers work on: predictions of both parts as arrays, and estimates with intervals.

Whatever is chosen (a threshold, a temperature, a set's size) is chosen on the validation part and measured on the test
part. Under ``protocol: paper`` there is no validation part, and nothing is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.class_names import full_names
from preceptor.evaluation.calibration import determined_temperature, log_probabilities, rescaled
from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.metrics.registry import Floats
from preceptor.evaluation.resampling import Interval, Resampling, Sampled, interval, resample, shared_resampling
from preceptor.evaluation.score_columns import score_columns
from preceptor.report.entries import Entry, LabelledRun
from preceptor.tasks import TASKS


@dataclass(frozen=True)
class Estimate:
    """A value of the test part and its 95 % interval; None where it is undefined."""

    value: float | None
    interval: Interval | None = None


NOTHING = Estimate(None)


class Judged(Protocol):
    """What a row of a section is about: a network of a run, or a line of a study over its cells."""

    @property
    def entry(self) -> Any:
        """The network or line, with the name and colour that tables show."""


@dataclass(frozen=True)
class Predictions:
    """What a network predicted on one part.

    Attributes:
        ids: (N,) of the images.
        targets: (N,) class indices.
        probabilities: (N, C).
        groups: (N,) lesion or patient of each image.
    """

    ids: NDArray[np.str_]
    targets: NDArray[np.int64]
    probabilities: Floats
    groups: NDArray[np.str_]


@dataclass(frozen=True)
class NetworkPredictions:
    """A network with its predictions on both parts; resamplings are shared between networks tested on one part."""

    entry: Entry
    validation: Predictions | None
    test: Predictions
    resampling: Resampling

    @cached_property
    def temperature(self) -> float | None:
        """Fitted on the validation part; None without one, and where it does not determine a temperature."""
        if self.validation is None:
            return None
        return determined_temperature(log_probabilities(self.validation.probabilities), self.validation.targets)

    @cached_property
    def calibrated(self) -> Floats:
        """Probabilities (N, C) of the test part after temperature scaling, as they are without a temperature."""
        if self.temperature is None:
            return self.test.probabilities
        return rescaled(self.test.probabilities, self.temperature)

    def estimates(self, metrics: Mapping[str, Metric], probabilities: Floats | None = None) -> dict[str, Estimate]:
        """Return metrics of the test part with intervals, of other ``probabilities`` (N, C) if given."""
        scores = self.test.probabilities if probabilities is None else probabilities
        sampled = resample(metrics, [((self.test.targets, scores), self.test.groups)], self.resampling)
        return {key: estimate_of(value) for key, value in sampled.items()}

    @cached_property
    def group_index(self) -> NDArray[np.intp]:
        """(N,) which of the resampled groups each test image is of."""
        return self.resampling.index(self.test.groups)


def predictions_of(entries: Sequence[Entry]) -> list[NetworkPredictions]:
    """Return the networks of runs that predict one class per image, with their predictions."""
    draws: dict[bytes, Resampling] = {}
    result = []
    for entry in entries:
        test = predictions_on(entry, "test")
        if TASKS[entry.run.task].target != "class" or test is None:
            continue
        names = np.unique(test.groups)
        key = names.tobytes()
        if key not in draws:
            draws[key] = shared_resampling(names)
        result.append(NetworkPredictions(entry, predictions_on(entry, "validation"), test, draws[key]))
    return result


def estimate_of(sampled: Sampled) -> Estimate:
    """Return value and interval, neither where the value is undefined."""
    if not np.isfinite(sampled.value):
        return NOTHING
    return Estimate(sampled.value, interval(sampled.samples) if np.isfinite(sampled.samples).any() else None)


def class_words(run: LabelledRun, codes: Sequence[str] | None = None) -> dict[str, str]:
    """Return the classes of a run, or other ``codes`` of its data, in full words, by code.

    Names come from the data set's reader; a code that it does not know names itself.
    """
    codes = run.classes if codes is None else codes
    names: dict[str, str] = {}
    for reader in reversed(run.readers):
        known = dict(zip(codes, full_names(reader, codes), strict=True))
        names |= {code: name for code, name in known.items() if code not in names or name != code.replace("_", " ")}
    return names


def predictions_on(entry: Entry, part: str) -> Predictions | None:
    """Return what a network predicted on a part, None where it has no rows or does not predict one class per image."""
    table, classes = entry.run.predictions, entry.run.classes
    rows = table[(table["network"] == entry.name) & (table["part"] == part)]
    if rows.empty or TASKS[entry.run.task].target != "class":
        return None
    index = {name: place for place, name in enumerate(classes)}
    return Predictions(
        ids=rows["id"].to_numpy(str),
        targets=np.asarray(rows["target"].map(index), dtype=np.int64),
        probabilities=rows[score_columns(classes)].to_numpy(np.float64),
        groups=group_of_each(entry, rows["id"]),
    )


def group_of_each(entry: Entry, ids: pd.Series) -> NDArray[np.str_]:
    """Return the lesion or patient of each image of a network's run, (N,)."""
    # On other data the validation part is the run's own, of which the split says nothing: nobody resamples it.
    return ids.map(entry.run.split.set_index("id")["group"]).fillna(ids).to_numpy(str)
