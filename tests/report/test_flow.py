"""The flow of errors against a table made by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.error_flow import Stream, error_flow
from preceptor.runs.directory import Run

# true, alone, taught, how often
TABLE = [
    ("mel", "nv", "mel", 3),
    ("mel", "nv", "nv", 2),
    ("mel", "bkl", "nv", 1),
    ("bkl", "nv", "bkl", 1),
    ("bkl", "mel", "bkl", 1),
    ("nv", "nv", "nv", 7),
    ("nv", "nv", "mel", 2),
    ("bkl", "bkl", "mel", 1),
    ("nv", "mel", "mel", 4),
]


def entry(column: int, name: str, shuffled: bool = False) -> Entry:
    rows = [(row[0], row[column]) for row in TABLE for _ in range(row[3])]
    table = pd.DataFrame(rows, columns=["target", "predicted"])
    table = table.assign(id=[f"i{number}" for number in range(len(rows))], part="test", network=name)
    elsewhere = table.head(1).assign(part="validation", predicted="bkl")
    table = pd.concat([elsewhere, table.sample(frac=1, random_state=1) if shuffled else table])
    return Entry(LabelledRun.of(Run(Path(name)), name, predictions=table), name, name, 0)


def test_streams_by_hand() -> None:
    flow = error_flow(entry(1, "alone"), entry(2, "taught", shuffled=True))
    assert flow.corrected == [
        Stream("mel", "nv", 3, of=5),
        Stream("bkl", "mel", 1, of=1),
        Stream("bkl", "nv", 1, of=1),
    ]
    assert flow.introduced == [Stream("nv", "mel", 2, of=6), Stream("bkl", "mel", 1, of=1)]
    assert (flow.corrected_images, flow.introduced_images) == (5, 3)
    assert (flow.both_right, flow.both_wrong, flow.otherwise) == (7, 7, 1)


def test_a_network_against_itself_mends_nothing() -> None:
    flow = error_flow(entry(1, "one"), entry(1, "one", shuffled=True))
    assert (flow.corrected, flow.introduced, flow.otherwise) == ([], [], 0)
