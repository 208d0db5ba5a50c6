"""By how much some runs differ from others on the same images, with intervals over patients or lesions.

``python -m benchmarks.differences --of RUN [RUN …] --less RUN [RUN …] [--network NAME] [--less-network NAME]
[--metric balanced_accuracy] [--part test]``

The runs of each side are one method on several folds: their images are pooled, and a 95 % interval is made of 2,000
resamplings of whole groups, the same for both sides. It holds neither the choice of seed nor of fold.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from preceptor.evaluation.metrics.registry import metric_of
from preceptor.evaluation.resampling import Resampling, interval, resample
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
    one = pooled(of, asked.network, asked.part)
    other = pooled(less, asked.less_network or asked.network, asked.part)
    keys = ["split", "id"]
    if not one[keys].equals(other[keys]):
        parser.error("--of and --less are not the same images: give runs on the same folds of one split to both")
    resampling = Resampling(one["group"])
    task = TASKS[of[0].task]
    metrics = {asked.metric: metric_of(task.name, asked.metric)}
    value, base = (
        resample(metrics, [(task.metric_cases(rows, of[0].classes), rows["group"])], resampling)[asked.metric]
        for rows in (one, other)
    )
    bounds = interval(value.samples - base.samples)
    print(
        f"{asked.metric} ({asked.part}, {len(one)} images of {len(resampling.names)} groups): {value.value:.3f} less "
        f"{base.value:.3f}: {value.value - base.value:+.3f} [{bounds.low:+.3f}, {bounds.high:+.3f}]"
    )


def pooled(runs: Sequence[LabelledRun], network: str, part: str) -> pd.DataFrame:
    """A network's rows of one part of all runs, with their groups, in one order."""
    tables = []
    for run in runs:
        rows = run.predictions.query("network == @network and part == @part")
        if rows.empty:
            raise SystemExit(f"{run.path}: no predictions of {network} on the {part} part")
        groups = run.split.set_index("id")["group"]
        tables.append(rows.assign(group=rows["id"].map(groups), split=run.split_hash))
    return pd.concat(tables).sort_values(["split", "id"], ignore_index=True)


if __name__ == "__main__":
    main()
