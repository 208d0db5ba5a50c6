"""How the memory of a study's report grows with its runs.

``python -m benchmarks.study_memory STUDY [--seeds 2 10]``

The runs of the study's finished cells stand for those of so many seeds: each seed has a copy of them. The report of
each such study is written by a process of its own, whose peak is what is printed, with the growth a run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

#: Files of a run that a report reads; its weights and checkpoints are not copied.
READ = ("*.json", "*.yaml", "*.csv", "*.npz")
REPORT = """
import resource, sys
from pathlib import Path
from preceptor.report.study_report import write_study_report
write_study_report(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_memory", description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 10], help="from few to many")
    asked = parser.parse_args()
    measured = [_measure(asked.study, seeds) for seeds in asked.seeds]
    for runs, peak in measured:
        print(f"{runs} runs: peak {peak:.0f} MiB")
    for (few, less), (many, more) in pairwise(measured):
        print(f"from {few} to {many} runs: {(more - less) / (many - few):.1f} MiB per run")


def _measure(study: Path, seeds: int) -> tuple[int, float]:
    """Return the number of runs, and the peak memory of the process that writes their report, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        runs = repeat_seeds(study, Path(folder), seeds)
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
        command = [sys.executable, "-c", REPORT, folder]
        environment = {**os.environ, "PYTHONPATH": paths}
        return runs, float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def repeat_seeds(study: Path, into: Path, seeds: int) -> int:
    """Copy a study so that the runs of its finished cells are those of several seeds; return the number of runs."""
    records = json.loads((study / "cells.json").read_text(encoding="utf-8"))
    finished = [cell for cell in records if cell["state"] == "done"]
    copies = []
    for seed in range(seeds):
        for number, cell in enumerate(finished):
            run = into / "cells" / f"{number}-seed{seed}"
            run.mkdir(parents=True)
            for file in (file for kind in READ for file in (study / cell["run"]).glob(kind)):
                shutil.copy(file, run)
            copies.append({**cell, "seed": seed, "run": str(run.relative_to(into))})
    for name in ("study.yaml", "environment.json"):
        shutil.copy(study / name, into)
    (into / "cells.json").write_text(json.dumps(copies), encoding="utf-8")
    return len(copies)


if __name__ == "__main__":
    main()
