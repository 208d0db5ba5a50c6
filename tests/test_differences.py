"""Differences between the runs of a study, as the pages of results print them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import differences
from fake_study import FakeStudy, write_fake_study
from preceptor.report.study_compare import compare
from preceptor.report.study_results import read_study


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_folds_are_paired_and_tested_as_in_a_study(
    seeds: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("ResNet50", "Student alone", "KD")
    study = read_study(write_fake_study(tmp_path / "s", FakeStudy(rows=rows, images=300, seeds=seeds)))
    runs = {line.row.name: list(line.runs.values()) for line in study.lines}
    ours, base = runs["KD"], runs["Student alone"]
    paths = [[str(run.path) for run in side] for side in (ours, base[::-1])]  # in whatever order they are given
    monkeypatch.setattr(sys, "argv", ["differences", "--metric", "accuracy", "--of", *paths[0], "--less", *paths[1]])
    differences.main()
    values = [[float(run.metrics.networks["student"].test["accuracy"]) for run in side] for side in (ours, base)]
    gaps = [one - other for one, other in zip(*values, strict=True)]
    kd = compare(study, samples=50).versus["accuracy"][1]
    pooled, printed = capsys.readouterr().out.splitlines()
    assert printed.startswith(f"over 3 folds: {sum(gaps) / len(gaps):+.3f} [")
    assert f"p {kd.test.p:.3f}: " in printed
    assert printed.replace(" / ", ", ").endswith(", ".join(f"{gap:+.3f}" for gap in gaps))
    assert f"{len(seeds)} seed(s)): " in pooled
