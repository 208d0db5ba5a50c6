"""Makes run directories of fake_run.py, and studies of them, into ones on several labels per image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from preceptor.evaluation.labels import label_metrics, label_rows
from preceptor.evaluation.metrics import metrics_of

LABELS = ("edema", "lung_mass", "never")  # no image has the last one


def with_labels(path: Path, seed: int = 0) -> Path:
    """Give a run's images labels, of which some are not known, and its networks predictions of them; return it."""
    split = pd.read_csv(path / "split.csv", dtype=str)
    metrics = json.loads((path / "metrics.json").read_text()) | {"task": "multi_label", "classes": list(LABELS)}
    draw = np.random.default_rng(seed)
    truth = (draw.random((len(split), 3)) < (0.3, 0.15, 0.0)).astype(float)
    truth[draw.random(truth.shape) < 0.1] = np.nan
    frames = []
    for name, result in metrics["networks"].items():
        logits = np.nan_to_num(truth) * 2 - 1 + draw.normal(size=truth.shape)
        scores = 1 / (1 + np.exp(-logits))
        for part in ("validation", "test"):
            rows = (split["part"] == part).to_numpy()
            if rows.any():
                ids = split.loc[rows, "id"].tolist()
                frames.append(label_rows(ids, truth[rows], scores[rows], LABELS, part=part, network=name))
                result[part] = label_metrics(truth[rows], scores[rows], LABELS, metrics_of("multi_label"))
    pd.concat(frames).to_csv(path / "predictions.csv", index=False)
    (path / "metrics.json").write_text(json.dumps(metrics))
    recipe = yaml.safe_load((path / "recipe.yaml").read_text()) | {"task": "multi_label"}
    recipe["select"]["metric"] = "label_auc"
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def study_with_labels(folder: Path) -> Path:
    """Make every cell of a study one on labels; return the folder."""
    plan = yaml.safe_load((folder / "study.yaml").read_text())
    plan["layout"]["columns"] = {"label_auc": "AUC"}
    plan.pop("paper", None)
    (folder / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True))
    for seed, path in enumerate(sorted(folder.glob("cells/*/metrics.json"))):
        with_labels(path.parent, seed)
    return folder
