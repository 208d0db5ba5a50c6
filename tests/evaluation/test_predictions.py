"""predictions.csv keeps what it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preceptor.evaluation.predictions import prediction_rows, write_predictions
from preceptor.runs.tables import read_table


def _frame(network: str = "student", part: str = "test") -> pd.DataFrame:
    scores = np.array([[0.1, 0.9], [1 / 3, 2 / 3], [0.5, 0.5]])
    return prediction_rows(["0012", "NA", "a,b"], [1, 0, 0], scores, ["NA", "mel"], part=part, network=network)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions([_frame("teacher"), _frame("student")], path)
    back = read_table(path, ["id"])
    expected = pd.concat([_frame("teacher"), _frame("student")], ignore_index=True)
    assert list(back.columns) == ["id", "part", "network", "target", "predicted", "p_NA", "p_mel"]
    pd.testing.assert_frame_equal(back, expected, rtol=1e-15, check_dtype=False)
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.csv"]


def test_ids_and_class_names_stay_text(tmp_path: Path) -> None:
    write_predictions([_frame()], tmp_path / "p.csv")
    back = read_table(tmp_path / "p.csv", ["id"])
    assert list(back["id"]) == ["0012", "NA", "a,b"]
    assert list(back["target"]) == ["mel", "NA", "NA"]
    assert list(back["predicted"]) == ["mel", "mel", "NA"]  # among equals the first


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions([_frame()], path)
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_predictions([_frame(), _frame()], path)
    assert path.read_bytes() == before


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 ids and 2 classes"):
        prediction_rows(["a", "b"], [0], np.full((1, 2), 0.5), ["x", "y"], part="test", network="student")
