"""By how much some runs differ from others on the same images, with intervals over patients or lesions.

``python -m benchmarks.differences --of RUN [RUN …] --less RUN [RUN …] [--network NAME] [--less-network NAME]
[--metric balanced_accuracy] [--part test]``

The runs of each side are one method on several folds and seeds, each paired with the other side's of its fold and seed.
The images of all folds are pooled, figures are means over seeds, and a 95 % interval is made of 2,000 resamplings of
whole groups, the same for both sides. Metrics that rank images (AUC, average precision) are computed within folds and
averaged. The interval holds neither the choice of seed nor of fold. Of the test part of several folds the corrected
resampled t-test follows, with the difference of each fold, or of each seed of each fold.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from preceptor.evaluation.metrics.registry import metric_of
from preceptor.evaluation.resampling import Resampling, interval, resample_folds
from preceptor.evaluation.statistics import corrected_t_test
from preceptor.report.entries import LabelledRun, load_runs
from preceptor.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", type=Path, nargs="+", required=True)
    parser.add_argument("--less", type=Path, nargs="+", required=True)
    parser.add_argument("--network", default="student")
    parser.add_argument("--less-network")
    parser.add_argument("--metric", default="balanced_accuracy")
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    asked = parser.parse_args()
    of, less = load_runs(asked.of), load_runs(asked.less)
    own = pooled(of, asked.network, asked.part)
    other = pooled(less, asked.less_network or asked.network, asked.part)
    keys = ["seed", "split", "id"]
    if own.duplicated(keys).any() or not own[keys].equals(other[keys]):
        parser.error("--of and --less are not pairs: give each one run for each fold of one split and each seed")
    resampling = Resampling(own["group"])
    task = TASKS[of[0].task]
    metrics = {asked.metric: metric_of(task.name, asked.metric)}

    def tables(side: pd.DataFrame, keys: list[str]) -> list[tuple[Any, pd.Series]]:
        return [(task.metric_cases(rows, of[0].classes), rows["group"]) for _, rows in side.groupby(keys)]

    value, base = (
        resample_folds(metrics, tables(side, ["seed"]), tables(side, ["seed", "split"]), resampling)[asked.metric]
        for side in (own, other)
    )
    bounds = interval(value.samples - base.samples)
    print(
        f"{asked.metric} ({asked.part}, {own['id'].nunique()} images of {len(resampling.names)} groups, "
        f"{own['seed'].nunique()} seed(s)): {value.value:.3f} less "
        f"{base.value:.3f}: {value.value - base.value:+.3f} [{bounds.low:+.3f}, {bounds.high:+.3f}]"
    )
    if asked.part == "test" and own["split"].nunique() > 1:
        print(over_folds(of, less, asked.network, asked.less_network or asked.network, asked.metric))


def over_folds(
    of: Sequence[LabelledRun], less: Sequence[LabelledRun], network: str, less_network: str, metric: str
) -> str:
    """The mean difference over folds, each run beside the other side's of its fold and seed, and its test."""
    others = {(run.split_hash, run.environment.seed): run for run in less}
    folds: dict[int, list[float]] = {}
    for run in sorted(of, key=lambda run: (run.environment.data.fold, run.environment.seed)):
        other = others[run.split_hash, run.environment.seed]
        gap = _value(run, network, metric) - _value(other, less_network, metric)
        folds.setdefault(run.environment.data.fold, []).append(gap)
    counts = [run.split["part"].value_counts() for run in of]
    test = corrected_t_test(list(folds.values()), float(np.mean([count["test"] / count["train"] for count in counts])))
    each = ", ".join(" / ".join(f"{gap:+.3f}" for gap in gaps) for gaps in folds.values())
    return f"over {len(folds)} folds: {test.mean:+.3f} [{test.low:+.3f}, {test.high:+.3f}], p {test.p:.3f}: {each}"


def _value(run: LabelledRun, network: str, metric: str) -> float:
    value = run.metrics.networks[network].test[metric]
    assert isinstance(value, float)
    return value


def pooled(runs: Sequence[LabelledRun], network: str, part: str) -> pd.DataFrame:
    """A network's rows of one part of all runs, with their groups, in one order."""
    tables = []
    for run in runs:
        rows = run.predictions.query("network == @network and part == @part")
        if rows.empty:
            raise SystemExit(f"{run.path}: no predictions of {network} on the {part} part")
        groups = run.split.set_index("id")["group"]
        tables.append(rows.assign(group=rows["id"].map(groups), split=run.split_hash, seed=run.environment.seed))
    return pd.concat(tables).sort_values(["seed", "split", "id"], ignore_index=True)


if __name__ == "__main__":
    main()
