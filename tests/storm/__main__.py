"""Command line of the storm."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before torch is loaded: the last bits depend on it
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.storm.kills import storm_of_kills  # noqa: E402
from tests.storm.mutants import storm_of_mutants  # noqa: E402
from tests.storm.signals import storm_of_signals  # noqa: E402

STORMS = {"kills": storm_of_kills, "signals": storm_of_signals, "mutants": storm_of_mutants}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("storm", choices=[*STORMS])
    parser.add_argument("--count", type=int, default=100, help="kills, signals to each job, or mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="jobs or targets, with commas; all unless given")
    parser.add_argument("--work", type=Path, help="folder to work in; a new one below the temporary files unless given")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    work = (arguments.work or Path(tempfile.mkdtemp(prefix="storm-"))).resolve()
    os.environ["PRECEPTOR_CACHE"] = str(work / "cache")
    only = tuple(filter(None, arguments.only.split(",")))
    counts = STORMS[arguments.storm](work, arguments.count, arguments.seed, only)
    print(counts)
    return 0 if counts.clean else 1


if __name__ == "__main__":
    sys.exit(main())
