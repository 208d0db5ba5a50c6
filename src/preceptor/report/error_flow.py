"""Errors that a distilled student no longer makes, and new ones: two networks on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from preceptor.report.entries import Entry
from preceptor.report.tables import Difference

SHOWN_ROWS = 12  # the rest is summed up


@dataclass(frozen=True)
class Stream:
    """Images of one class that one network predicts as another class and the other network gets right.

    Attributes:
        target: the true class.
        predicted: the wrong prediction.
        images: their number.
        of: number of images with this confusion by the network in error, whatever the other predicts.
    """

    target: str
    predicted: str
    images: int
    of: int


@dataclass(frozen=True)
class Flow:
    """Errors of ``before`` that ``after`` corrects, and those that it introduces; the most frequent first.

    Attributes:
        both_wrong: images that both get wrong.
        otherwise: those of them with two different predictions.
        both_right: images that both get right.
    """

    before: Entry
    after: Entry
    corrected: list[Stream]
    introduced: list[Stream]
    both_right: int
    both_wrong: int
    otherwise: int

    @property
    def corrected_images(self) -> int:
        return sum(stream.images for stream in self.corrected)

    @property
    def introduced_images(self) -> int:
        return sum(stream.images for stream in self.introduced)


def error_flows(differences: Sequence[Difference]) -> list[Flow]:
    """Compare each distilled student with the same network trained alone, on the same test images."""
    return [
        error_flow(difference.less, difference.of)
        for difference in differences
        if difference.less.kind == "alone"
        and set(difference.of.predictions["id"]) == set(difference.less.predictions["id"])
    ]


def error_flow(before: Entry, after: Entry) -> Flow:
    """Compare two networks image by image; both must have predicted the same test images."""
    columns = ["id", "target", "predicted"]
    table = before.predictions[columns].merge(
        after.predictions[["id", "predicted"]], on="id", suffixes=("_before", "_after"), validate="one_to_one"
    )
    was_right = table["predicted_before"] == table["target"]
    is_right = table["predicted_after"] == table["target"]
    both_wrong = ~was_right & ~is_right
    return Flow(
        before,
        after,
        corrected=_streams(table[~was_right], is_right, "predicted_before"),
        introduced=_streams(table[~is_right], was_right, "predicted_after"),
        both_right=int((was_right & is_right).sum()),
        both_wrong=int(both_wrong.sum()),
        otherwise=int((both_wrong & (table["predicted_before"] != table["predicted_after"])).sum()),
    )


def _streams(wrong: pd.DataFrame, other_right: pd.Series, column: str) -> list[Stream]:
    """By (true, predicted) among images that one network got wrong: those that the other got right."""
    counted = other_right[wrong.index].groupby([wrong["target"], wrong[column]]).agg(["sum", "size"])
    streams = [
        Stream(str(target), str(predicted), int(images), int(of))
        for (target, predicted), images, of in counted.itertuples()
        if images
    ]
    return sorted(streams, key=lambda stream: (-stream.images, stream.target, stream.predicted))
