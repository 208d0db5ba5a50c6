"""A table of some lesions of HAM10000 with their masks, for measurements that all images would take too long.

python -m benchmarks.lesion_table HAM10000 --every 8 --out lesions.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from preceptor.data.readers import read


def lesion_table(root: Path, every: int) -> pd.DataFrame:
    """Columns image, mask, group: all images of every ``every``-th lesion by name."""
    catalog = read("ham10000", root, {"masks": True})
    images = catalog.table.sort_values("id")
    chosen = images[images["group"].isin(sorted(images["group"].unique())[::every])]
    paths = {kind: [catalog.root.resolve() / path for path in chosen[kind]] for kind in ("image", "mask")}
    return pd.DataFrame({**paths, "group": list(chosen["group"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    table = lesion_table(asked.root, asked.every)
    table.to_csv(asked.out, index=False)
    print(f"{asked.out}: {len(table)} images of {table['group'].nunique()} lesions")


if __name__ == "__main__":
    main()
