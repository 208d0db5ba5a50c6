"""Study folders made up without training: study.yaml, cells.json and the runs of their cells."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fake_run import CLASSES, FakeRun, Taught, write_fake_run

#: name -> how good its student is; the second is the baseline, the first has another backbone.
ROWS = {
    "ResNet50": 3.1,
    "Student alone": 2.0,
    "KD": 2.25,
    "FitNet": 1.9,
    "RKD": 2.05,
    "SSKD + relations": 2.5,
}
PAPER = {"Student alone": {"accuracy": 75.4, "balanced_accuracy": 76.7}, "KD": {"accuracy": 83.8}}
COLUMNS = {"accuracy": "ACC", "balanced_accuracy": "BACC", "macro_auc": "AUC", "macro_precision": "“mAP”"}


@dataclass(frozen=True)
class FakeStudy:
    """What a made-up study holds; cells named in ``failed`` and ``pending`` have no run."""

    rows: tuple[str, ...] = tuple(ROWS)
    folds: tuple[int, ...] = (0, 1, 2)
    seeds: tuple[int, ...] = (0,)
    quick: bool = False
    classes: tuple[str, ...] = CLASSES
    images: int = 500
    epochs: int = 10
    failed: tuple[tuple[str, int, int], ...] = ()
    pending: tuple[tuple[str, int, int], ...] = ()
    protocol: str = "grouped"
    relations: bool = False
    masks: bool = False
    reader: str = "isic2019"


def write_fake_study(folder: Path, study: FakeStudy | None = None) -> Path:
    """Writes the folder and returns it."""
    study = study or FakeStudy()
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(_plan(study), sort_keys=False, allow_unicode=True))
    cells = [
        _cell(folder, study, row, fold, seed) for row in study.rows for fold in study.folds for seed in study.seeds
    ]
    (folder / "cells.json").write_text(json.dumps(cells))
    return folder


def _plan(study: FakeStudy) -> dict[str, Any]:
    columns = {"iou": "IoU", "dice": "F-score"} if study.masks else COLUMNS
    return {
        "name": "ssdkd_table2",
        "title": "Distillation on ISIC 2019 (SSD-KD, table 2)",
        "about": "ResNet50 teaches MobileNetV2.",
        "data": {"reader": study.reader, "root": "ISIC2019"},
        "folds": list(study.folds),
        "seeds": list(study.seeds),
        "rows": [{"name": name, "recipe": name.lower().split()[0]} for name in study.rows],
        "baseline": study.rows[min(1, len(study.rows) - 1)],
        "layout": {"columns": columns, "decimals": 3},
        "paper": [{"table": "Wang et al. 2022, table 2", "data": "isic2019", "rows": PAPER}],
        "quick": study.quick,
    }


def _cell(folder: Path, study: FakeStudy, row: str, fold: int, seed: int) -> dict[str, Any]:
    path = f"cells/{row.lower().replace(' ', '-')}-fold{fold}-seed{seed}"
    said = {"name": row, "recipe": row.lower(), "overrides": {"networks.student.backbone": "mobilenetv2_050"}}
    said |= {"fold": fold, "seed": seed, "state": "done", "run": path, "error": "", "seconds": 431.5}
    if (row, fold, seed) in study.failed:
        error = "objectives.relations: the loss became nan in epoch 3\n  to do:    lower optimiser.lr (now 0.001)"
        return said | {"state": "failed", "run": "", "error": error, "seconds": 12.0}
    if (row, fold, seed) in study.pending:
        return said | {"state": "pending", "run": None, "seconds": None}
    index = list(ROWS).index(row)
    large = "mobilenetv2_100" if row == "ResNet50" else "mobilenetv2_050"
    student = Taught(backbone=large, skill=ROWS[row] + 0.1 * float(np.random.default_rng([index, fold, seed]).normal()))
    teacher = {"teacher": Taught("frozen teacher", "mobilenetv2_100", 3.1, "run teacher")} if index > 1 else {}
    run = FakeRun(
        recipe=row.lower(), networks={**teacher, "student": student}, classes=study.classes, images=study.images,
        epochs=study.epochs, seed=10 * index + seed, fold=fold, protocol=study.protocol, relations=study.relations,
        objectives=("cross_entropy", "kl") if teacher else ("cross_entropy",),
    )  # fmt: skip
    written = write_fake_run(folder / path, run)
    _settle(written, run, seed)
    if study.masks:
        _with_masks(written, run, student.skill)
    return said


def _settle(path: Path, run: FakeRun, seed: int) -> None:
    environment = json.loads((path / "environment.json").read_text())
    environment |= {"seed": seed, "command": "preceptor study ssdkd_table2 --root ISIC2019"}
    (path / "environment.json").write_text(json.dumps(environment))
    metrics = json.loads((path / "metrics.json").read_text())
    if "teacher" in run.networks:
        for part in ("validation", "test"):
            if metrics["networks"]["student"][part]:
                metrics["networks"]["student"][part]["fidelity"] = {"to": "teacher", "agreement": 0.81, "kl": 0.42}
    (path / "metrics.json").write_text(json.dumps(metrics))


def _with_masks(path: Path, run: FakeRun, skill: float) -> None:
    """Turns the run into one on masks: a row an image with its IoU and Dice."""
    split = pd.read_csv(path / "split.csv", dtype=str)
    metrics = json.loads((path / "metrics.json").read_text()) | {"task": "segmentation", "classes": ["none", "lesion"]}
    frames = []
    for index, name in enumerate(run.networks):
        for part in ("validation", "test"):
            ids = split.loc[split["part"] == part, "id"]
            draw = np.random.default_rng([run.seed, index, run.fold or 0])
            iou = np.clip(0.5 + 0.1 * skill + 0.1 * draw.normal(size=len(ids)), 0, 1)
            dice = 2 * iou / (1 + iou)
            frames.append(pd.DataFrame({"id": ids, "part": part, "network": name, "iou": iou, "dice": dice}))
            metrics["networks"][name][part] = {"images": len(ids), "iou": iou.mean(), "dice": dice.mean()}
    pd.concat(frames).to_csv(path / "predictions.csv", index=False)
    metrics["selected_by"] = "validation/student/iou"
    (path / "metrics.json").write_text(json.dumps(metrics))
    history = pd.read_csv(path / "history.csv")
    history.columns = [name.replace("balanced_accuracy", "iou") for name in history.columns]
    history.to_csv(path / "history.csv", index=False)


LARGE = replace(FakeStudy(), seeds=(0, 1), folds=(0, 1, 2, 3, 4), images=1400, epochs=20, relations=True)
