"""Study folders made up without training: study.yaml, cells.json and the runs of their cells."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from fake_run import CLASSES, FakeRun, Taught, write_fake_run
from preceptor.evaluation.examples import ids_to_keep
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.overlays import as_jpeg, save_overlays

#: name -> how good its student is; the second is the baseline, the first has another backbone.
ROWS = {
    "ResNet50": 3.1,
    "Student alone": 2.0,
    "KD": 2.25,
    "FitNet": 1.9,
    "RKD": 2.05,
    "SSKD + relations": 2.5,
}
PAPER = {"Student alone": {"accuracy": 0.754, "balanced_accuracy": 0.767}, "KD": {"accuracy": 0.838}}
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


THREE = ("bkl", "mel", "nv")
#: A study that is made up quickly.
SMALL = FakeStudy(classes=THREE, images=160, epochs=4)


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
    columns = {"iou": "IoU", "dice": "F-score", "iou_pooled": "IoU of all pixels"} if study.masks else COLUMNS
    return {
        "name": "ssdkd_table2",
        "title": "Distillation on ISIC 2019 (SSD-KD, table 2)",
        "about": "ResNet50 teaches MobileNetV2.",
        "data": {"reader": study.reader, "root": "ISIC2019"},
        "folds": list(study.folds),
        "seeds": list(study.seeds),
        "rows": [{"name": name, "recipe": name.lower().split()[0], "networks": ["student"]} for name in study.rows],
        "baseline": study.rows[min(1, len(study.rows) - 1)],
        "layout": {"columns": columns, "decimals": 3},
        "paper": [
            {
                "table": "Wang et al. 2023, table 2",
                "data": "isic2019",
                "rows": {row: PAPER[row] for row in study.rows if row in PAPER},
            }
        ],
        "quick": study.quick,
    }


def _cell(folder: Path, study: FakeStudy, row: str, fold: int, seed: int) -> dict[str, Any]:
    path = f"cells/{row.lower().replace(' ', '-')}-fold{fold}-seed{seed}"
    text = {"name": row, "recipe": row.lower(), "overrides": {"networks.student.backbone": "mobilenetv2_050"}}
    text |= {"fold": fold, "seed": seed, "state": "done", "run": path, "error": "", "seconds": 431.5}
    if (row, fold, seed) in study.failed:
        error = "objectives.relations: the loss became nan in epoch 3\n  to do:    lower optimiser.lr (now 0.001)"
        return text | {"state": "failed", "run": "", "error": error, "seconds": 12.0}
    if (row, fold, seed) in study.pending:
        return text | {"state": "pending", "run": None, "seconds": None}
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
    return text


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
    """Turns the run into one on masks: a row per image, and outlines and layers for the report."""
    split = pd.read_csv(path / "split.csv", dtype=str)
    metrics = json.loads((path / "metrics.json").read_text()) | {"task": "segmentation", "classes": ["none", "lesion"]}
    frames = []
    for index, name in enumerate(run.networks):
        for part in ("validation", "test"):
            ids = split.loc[split["part"] == part, "id"].tolist()
            meter = MaskMeter(metrics["classes"])
            truth, text = (_squares(len(ids), 0.0, 0), _squares(len(ids), 6 / skill, run.seed + 7 * index))
            meter.update(torch.from_numpy(text).long(), torch.from_numpy(truth).long())
            frames.append(meter.rows(ids, part=part, network=name))
            fidelity = metrics["networks"][name][part].get("fidelity")
            metrics["networks"][name][part] = meter.result() | ({"fidelity": fidelity} if fidelity else {})
    pd.concat(frames).to_csv(path / "predictions.csv", index=False)
    metrics["selected_by"] = "validation/student/iou_pooled"
    (path / "metrics.json").write_text(json.dumps(metrics))
    history = pd.read_csv(path / "history.csv")
    history.columns = [name.replace("balanced_accuracy", "iou_pooled") for name in history.columns]
    history.to_csv(path / "history.csv", index=False)
    kept = ids_to_keep(split.loc[split["part"] == "test", "id"].tolist())
    _pictures(path, list(run.networks), skill, kept)


def _squares(count: int, shift: float, seed: int) -> np.ndarray:
    """Masks (count, 16, 16) of one square each, moved about by ``shift`` pixels or so."""
    places = np.random.default_rng(1).integers(2, 8, size=(count, 2))
    places = places + np.round(shift * 0.4 * np.random.default_rng(seed).normal(size=places.shape)).astype(int)
    masks = np.zeros((count, 16, 16), np.uint8)
    for mask, (top, left) in zip(masks, np.clip(places, 0, 10), strict=True):
        mask[top : top + 6, left : left + 6] = 1
    return masks


def _pictures(path: Path, networks: list[str], skill: float, ids: list[str]) -> None:
    truth = _squares(len(ids), 0.0, 0)
    masks = {name: _squares(len(ids), 6 / skill, index) for index, name in enumerate(networks)}
    images = np.random.default_rng(5).integers(90, 200, size=(*truth.shape, 3)).astype(np.uint8)
    images[..., 0] += 50 * truth
    save_overlays(path / "overlays.npz", ids, [as_jpeg(image) for image in images], truth, masks)
    if len(networks) > 1:
        names, values = np.array(["conv1", "layer1", "fc"]), np.array([[1, 0.6, 0.2], [0.6, 0.9, 0.4], [0.2, 0.4, 0.8]])
        layers = {"rows_0": names, "columns_0": names, "values_0": values}
        np.savez_compressed(path / "layers.npz", pairs=np.array([networks[:2]]), images=np.array(20), **layers)


LARGE = replace(FakeStudy(), seeds=(0, 1), folds=(0, 1, 2, 3, 4), images=1400, epochs=20, relations=True)
