"""Which errors went and which came: two networks on the same test images, confusion by confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from preceptor.report.run import Entry
from preceptor.report.tables import Difference

SHOWN_ROWS = 12  # the rest is summed up


@dataclass(frozen=True)
class Stream:
    """Images of one class that one of the two networks took for another class and the other network got right.

    Attributes:
        target: the true class.
        predicted: what they were taken for.
        images: how many.
        of: all images that the network in error took so, whatever the other said.
    """

    target: str
    predicted: str
    images: int
    of: int


@dataclass(frozen=True)
class Flow:
    """The errors of ``before`` that ``after`` mended, and those that are new; the largest first.

    Attributes:
        both_wrong: images that both get wrong.
        otherwise: those of them that the two take for different classes.
        both_right: images that both get right.
    """

    before: Entry
    after: Entry
    mended: list[Stream]
    new: list[Stream]
    both_right: int
    both_wrong: int
    otherwise: int

    @property
    def mended_images(self) -> int:
        return sum(stream.images for stream in self.mended)

    @property
    def new_images(self) -> int:
        return sum(stream.images for stream in self.new)


def flows(differences: Sequence[Difference]) -> list[Flow]:
    """One for each student that is compared with the same network trained alone, on the same images."""
    return [
        error_flow(one.less, one.of)
        for one in differences
        if one.less.kind == "alone" and set(one.of.predictions["id"]) == set(one.less.predictions["id"])
    ]


def error_flow(before: Entry, after: Entry) -> Flow:
    """Image by image; both networks must have predicted the same test images."""
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
        mended=_streams(table[~was_right], is_right, "predicted_before"),
        new=_streams(table[~is_right], was_right, "predicted_after"),
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
    return sorted(streams, key=lambda one: (-one.images, one.target, one.predicted))
