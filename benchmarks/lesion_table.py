"""A table of some lesions of HAM10000 with their masks, for measurements that all images would take too long.

python -m benchmarks.lesion_table HAM10000 --every 8 --out lesions.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

MASKS = "HAM10000_segmentations_lesion_tschandl"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")


def lesion_table(root: Path, every: int) -> pd.DataFrame:
    """Columns image, mask, group: all images of every ``every``-th lesion by name."""
    listed = pd.read_csv(root / "HAM10000_metadata.csv").sort_values("image_id")
    some = sorted(listed["lesion_id"].unique())[::every]
    images = {path.stem: path.resolve() for part in PARTS for path in (root / part).glob("*.jpg")}
    chosen = listed[listed["lesion_id"].isin(some)]
    return pd.DataFrame(
        {
            "image": [images[name] for name in chosen["image_id"]],
            "mask": [(root / MASKS / f"{name}_segmentation.png").resolve() for name in chosen["image_id"]],
            "group": list(chosen["lesion_id"]),
        }
    )


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
