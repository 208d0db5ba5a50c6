"""Attributes in words: every number in its band."""

from __future__ import annotations

import numpy as np
import pytest

from preceptor.evaluation.attributes import banded


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["3", "1", "2", "1.0"], ["1", "2", "3"]),
        ([np.nan, 5.5, None, " "], ["5.5"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        ([], []),
    ],
)
def test_values_are_words_in_their_order(values: list[object], names: list[str]) -> None:
    assert banded(values)[1] == names


def test_every_number_lies_in_its_band() -> None:
    ages = np.random.default_rng(0).integers(5, 90, 300)
    words, names = banded(ages.astype(str))
    assert len(names) == 4
    for age, word in zip(ages, words, strict=True):
        low = float(word.split(" to ")[0].removeprefix("over ")) if word.startswith("over") else -np.inf
        assert low < age <= float(word.split("to ")[-1])
    counts = [(words == name).sum() for name in names]
    assert sum(counts) == 300
    assert min(counts) > 50


def test_a_number_that_is_most_of_them_makes_fewer_bands() -> None:
    words, names = banded([*["0"] * 90, *map(str, range(1, 11))])
    assert set(words) == set(names)
    assert words[0] == names[0]
