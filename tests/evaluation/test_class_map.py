"""Classes of another data set in those of a network: renamed, merged, left out, refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from preceptor.evaluation.class_map import map_classes
from preceptor.evaluation.predictions import prediction_rows
from preceptor.utils.errors import PreceptorError

OWN = ("bcc", "mel", "nv")


def test_a_class_of_the_same_name_needs_no_entry() -> None:
    mapped = map_classes(OWN, ["NV", "mel"], {"NV": "nv"})
    assert mapped.judged == OWN
    assert mapped.label == {"NV": "nv", "mel": "mel"}
    assert not mapped.merges


def test_several_other_classes_may_be_one_of_the_networks() -> None:
    assert map_classes(OWN, ["AK", "SCC"], {"AK": "bcc", "SCC": "bcc"}).label == {"AK": "bcc", "SCC": "bcc"}


def test_merged_classes_have_the_sum_of_their_probabilities() -> None:
    mapped = map_classes(OWN, ["malignant", "benign"], {"malignant": ["mel", "bcc"], "benign": "nv"})
    assert mapped.judged == ("malignant", "nv")
    scores = np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    assert mapped.summed(scores) == pytest.approx(np.array([[0.6, 0.4], [0.3, 0.7]]))
    rows = mapped.rows(prediction_rows(["a", "b"], [0, 1], scores, OWN, part="test", network="student"))
    assert list(rows.columns) == ["id", "part", "network", "target", "predicted", "p_malignant", "p_nv"]
    assert rows["target"].tolist() == ["malignant", "malignant"]
    assert rows["predicted"].tolist() == ["malignant", "nv"]  # the likeliest class of the first image alone is nv


def test_rows_stay_as_they_are_where_no_class_is_merged() -> None:
    rows = prediction_rows(["a"], [0], np.array([[0.3, 0.3, 0.4]]), OWN, part="test", network="student")
    pd.testing.assert_frame_equal(map_classes(OWN, ["MEL"], {"MEL": "mel"}).rows(rows), rows)


@pytest.mark.parametrize(
    ("other", "mapped", "what"),
    [
        (["MEL"], {}, "'MEL' is none of bcc, mel, nv"),
        (["MEL"], {"MEL": "melanoma"}, "'melanoma' is none of the network's classes"),
        (["MEL"], {"MEL": "mel", "XY": "nv"}, "names 'XY'"),
        (["A", "B"], {"A": ["mel", "nv"], "B": "nv"}, "'nv' is judged as 'A' already"),
        (["nv"], {"nv": ["mel", "bcc"]}, "'nv' is both a group and a class"),
    ],
)
def test_what_cannot_be_mapped_is_refused(other: list[str], mapped: dict[str, str], what: str) -> None:
    with pytest.raises(PreceptorError, match=what):
        map_classes(OWN, other, mapped)


def test_the_error_proposes_a_map() -> None:
    with pytest.raises(PreceptorError, match=r"\{MEL: mel, SCC: null\}"):
        map_classes(OWN, ["MEL", "SCC"])
