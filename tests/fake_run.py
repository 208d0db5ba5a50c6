"""Run directories made up without training, in the format that the engine writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.predictions import prediction_rows, write_predictions
from preceptor.evaluation.relations import RelationMeter, sample_rows, write_matrices

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.06, 0.08, 0.13, 0.03, 0.13, 0.53, 0.04)
COSTS = {"mobilenetv2_100": (2_232_839, 600_000_000, 9.1), "mobilenetv2_050": (696_583, 193_000_000, 4.2)}


@dataclass(frozen=True)
class Taught:
    """One network of a made-up run; ``skill`` is how far its logits lean towards the truth."""

    role: str = "trained"
    backbone: str = "mobilenetv2_050"
    skill: float = 2.0
    start: str = "random"


@dataclass(frozen=True)
class FakeRun:
    """What a made-up run says of itself; the defaults are a student trained alone."""

    recipe: str = "student"
    networks: dict[str, Taught] = field(default_factory=lambda: {"student": Taught()})
    objectives: tuple[str, ...] = ("cross_entropy",)
    protocol: str = "grouped"
    classes: tuple[str, ...] = CLASSES
    images: int = 700
    epochs: int = 12
    seed: int = 0
    notes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    split_seed: int = 0
    fold: int | None = None
    relations: bool = False


def write_fake_run(directory: Path, run: FakeRun | None = None) -> Path:
    """Writes the run directory and returns it."""
    run = run or FakeRun()
    directory.mkdir(parents=True)
    split = _split(run)
    split.to_csv(directory / "split.csv", index=False)
    _history(run).to_csv(directory / "history.csv", index=False)
    frames, networks = _networks(run, split)
    write_predictions(frames, directory / "predictions.csv")
    if run.relations:
        _relations(run, split, networks, directory / "relations.npz")
    (directory / "metrics.json").write_text(json.dumps(_metrics(run, networks)))
    (directory / "environment.json").write_text(json.dumps(_environment(run)))
    (directory / "recipe.yaml").write_text(yaml.safe_dump(_recipe(run), sort_keys=False))
    return directory


def _split(run: FakeRun) -> pd.DataFrame:
    draw = np.random.default_rng(run.split_seed)
    shares = np.array(SHARES[: len(run.classes)])
    labels = draw.choice(run.classes, size=run.images, p=shares / shares.sum())
    parts = draw.choice(["train", "validation", "test"], size=run.images, p=[0.6, 0.1, 0.3])
    if run.protocol == "paper":
        parts[parts == "validation"] = "train"
    ids = [f"ISIC_{24306 + index:07d}" for index in range(run.images)]
    # Two images per lesion, of one label and in one part.
    labels, parts = np.repeat(labels[::2], 2)[: run.images], np.repeat(parts[::2], 2)[: run.images]
    if run.fold is not None:  # one of five whose test parts make up the data
        fold = np.repeat(draw.integers(0, 5, len(labels[::2])), 2)[: run.images]
        other = np.where(fold == (run.fold + 1) % 5, "validation", "train")
        parts = np.where(fold == run.fold, "test", "train" if run.protocol == "paper" else other)
    groups = [f"HAM_{index // 2:07d}" for index in range(run.images)]
    return pd.DataFrame({"id": ids, "group": groups, "part": parts, "label": labels})


def _history(run: FakeRun) -> pd.DataFrame:
    draw = np.random.default_rng(run.seed)
    epoch = np.arange(1, run.epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "seconds": 7.5, "lr": 1e-3 * np.sin(np.pi * epoch / (run.epochs + 1))})
    total = np.zeros(run.epochs)
    for index, name in enumerate(run.objectives):
        values = (1.9 - 0.6 * index) * np.exp(-epoch / 6) + 0.3 + 0.02 * draw.normal(size=run.epochs)
        weight = np.ones(run.epochs) if index == 0 else np.exp(-5 * (1 - np.minimum(epoch / 6, 1)) ** 2)
        table[f"loss/{name}"], table[f"weight/{name}"] = values, weight
        total += values * weight
    table.insert(3, "loss", total)
    part = "test" if run.protocol == "paper" else "validation"
    for name, network in run.networks.items():
        for index, metric in enumerate(("accuracy", "balanced_accuracy", "macro_f1")):
            ceiling = 0.2 + 0.25 * network.skill / (1 + 0.2 * index)
            values = np.minimum(ceiling * (1 - np.exp(-epoch / 4)) + 0.015 * draw.normal(size=run.epochs), 1)
            if part == "test":
                values[: max(0, run.epochs - 10)] = np.nan
            table[f"{part}/{name}/{metric}"] = values
    return table


def _networks(run: FakeRun, split: pd.DataFrame) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    frames, networks = [], {}
    for index, (name, network) in enumerate(run.networks.items()):
        facts: dict[str, Any] = {"role": network.role, "backbone": network.backbone, "start": network.start}
        for part in ("validation", "test"):
            rows = split[split["part"] == part]
            facts[part] = None
            if rows.empty:
                continue
            targets = rows["label"].map({name: i for i, name in enumerate(run.classes)}).to_numpy()
            # The same images are hard for all networks, as in life; half of the noise is the network's own.
            noise = np.random.default_rng(99 + 7 * (run.fold or 0)).normal(size=(len(rows), len(run.classes)))
            noise = noise + np.random.default_rng(100 * run.seed + index + 10_000 * (run.fold or 0)).normal(
                size=noise.shape
            )
            logits = noise + network.skill * np.eye(len(run.classes))[targets]
            scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            facts[part] = classification_metrics(targets, scores, run.classes)
            frames.append(prediction_rows(list(rows["id"]), targets, scores, run.classes, part=part, network=name))
        facts["cost"] = _cost(network.backbone)
        networks[name] = facts
    return frames, networks


def _relations(run: FakeRun, split: pd.DataFrame, networks: dict[str, Any], path: Path) -> None:
    """Embeddings that gather round their class, the closer the better the network; adds the figures to ``networks``."""
    test = split[split["part"] == "test"]
    labels = test["label"].map({name: i for i, name in enumerate(run.classes)}).to_numpy()
    rows = sample_rows(labels, len(run.classes))
    matrices = {}
    for name, network in run.networks.items():
        noise = np.random.default_rng(run.seed).random((len(test), len(run.classes)))
        meter = RelationMeter(len(run.classes), rows)
        embeddings = torch.from_numpy(noise + network.skill * np.eye(len(run.classes))[labels])
        meter.add(torch.arange(len(test)), torch.tensor(labels.tolist()), embeddings)
        networks[name]["relations"] = meter.relations().plain()
        matrices[name] = meter.similarity()
    write_matrices(matrices, test["id"].iloc[rows].tolist(), labels[rows], run.classes, path)


def _cost(backbone: str) -> dict[str, Any]:
    parameters, flops, median = COSTS[backbone]
    latency = {"median": median, "p10": median * 0.9, "p90": median * 1.3, "batch": 1, "repeats": 30}
    return {
        "image_size": 224,
        "parameters": parameters,
        "trainable_parameters": parameters,
        "bytes": 4 * parameters,
        "flops": flops,
        "latency_ms": latency | {"threads": 2, "device": "cpu"},
    }


def _metrics(run: FakeRun, networks: dict[str, Any]) -> dict[str, Any]:
    paper = run.protocol == "paper"
    return {
        "format": 1,
        "task": "classification",
        "protocol": run.protocol,
        "classes": list(run.classes),
        "epochs": run.epochs,
        "epochs_run": run.epochs,
        "selected_epoch": None if paper else run.epochs - 2,
        "selected_by": None if paper else f"validation/{next(reversed(run.networks))}/balanced_accuracy",
        "mean_of_last_epochs": min(10, run.epochs) if paper else None,
        "early_stopped": False,
        "training_seconds": 92.4,
        "networks": networks,
    }


def _environment(run: FakeRun) -> dict[str, Any]:
    return {
        "versions": {"preceptor": "0.1.0", "python": "3.11.9", "torch": "2.11.0", "timm": "1.0.31"},
        "device": "cpu",
        "machine": "x86_64, 2 cores",
        "threads": 2,
        "processes": 1,
        "precision": "32-true",
        "seed": run.seed,
        "command": f"preceptor train {run.recipe} --data ham10000 --root HAM10000 --seed {run.seed}",
        "started": "2026-11-20T21:14:05+00:00",
        "data": {
            "name": "ham10000",
            "root": "HAM10000",
            "options": {},
            "fingerprint": "9d8c1f0b6a3e",
            "fold": run.fold or 0,
            "folds": 5,
            "images": run.images,
            "classes": list(run.classes),
            "excluded": list(run.excluded),
            "notes": list(run.notes),
        },
        "split_hash": f"split-{run.split_seed + (run.fold or 0)}-{run.images}",
    }


def _recipe(run: FakeRun) -> dict[str, Any]:
    return {
        "name": run.recipe,
        "paper": "Hinton et al. 2015, Distilling the Knowledge in a Neural Network",
        "task": "classification",
        "protocol": run.protocol,
        "image_size": 224,
        "batch_size": 32,
        "epochs": run.epochs,
        "seed": run.seed,
        "networks": {name: _network(run, network) for name, network in run.networks.items()},
        "views": dict.fromkeys(run.networks, "plain"),
        "objectives": [{"loss": name, **_sides(run, name)} for name in run.objectives],
        "select": {"network": _learner(run)},
    }


def _network(run: FakeRun, network: Taught) -> dict[str, Any]:
    if network.role == "mean teacher":
        return {"mean_of": _learner(run)}
    frozen = {"frozen": True, "run": "runs/teacher"} if network.role == "frozen teacher" else {}
    return {"backbone": network.backbone, **frozen}


def _learner(run: FakeRun) -> str:
    """The last network that learns."""
    return [name for name, network in run.networks.items() if "teacher" not in network.role][-1]


def _sides(run: FakeRun, loss: str) -> dict[str, str]:
    learner = _learner(run)
    return {"of": learner} if loss == "cross_entropy" else {"from": "teacher", "to": learner}


THREE = ("bkl", "mel", "nv")
ALONE = FakeRun(classes=THREE, images=160, epochs=6)
TAUGHT = replace(
    ALONE,
    recipe="kd",
    networks={
        "teacher": Taught("frozen teacher", "mobilenetv2_100", 3.0, "run runs/teacher"),
        "student": Taught(skill=2.6),
    },
    objectives=("cross_entropy", "kl"),
)


def write_two(folder: Path, **noted: Any) -> list[Path]:
    """A student alone and the same taught by a teacher."""
    return [
        write_fake_run(folder / "student", replace(ALONE, **noted)),
        write_fake_run(folder / "kd", replace(TAUGHT, **noted)),
    ]
