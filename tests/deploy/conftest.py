"""Tiny runs and their exports, made once for all tests of exported networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preceptor import export, train
from preceptor.runs.directory import Run

TINY = {"image_size": 32, "batch_size": 32, "epochs": 1}
#: Two classifiers that learn from each other, and their ensemble.
PAIR: dict[str, Any] = {
    **TINY,
    "epochs": 8,
    "optimiser.lr": 0.003,
    "networks.student_1.backbone": "test_resnet",
    "networks.student_2.backbone": "test_efficientnet",
}
UNET: dict[str, Any] = {
    **TINY,
    "task": "segmentation",
    "networks.student.backbone": "test_resnet",
    "networks.student.pretrained": "none",
}


@pytest.fixture(scope="session")
def pair(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two classifiers and their ensemble."""
    out = tmp_path_factory.mktemp("pair") / "run"
    return train("ml_v1", data="phantom", root=phantom_root, out=out, overrides=PAIR)


@pytest.fixture(scope="session")
def exported(pair: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of one classifier."""
    out = tmp_path_factory.mktemp("exported") / "student"
    export(pair.path, out=out, network="student_1", class_names={"mel": "synthetic melanoma, renamed"})
    return out


@pytest.fixture(scope="session")
def unet(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one U-Net."""
    out = tmp_path_factory.mktemp("unet") / "run"
    return train("student", data="phantom", root=phantom_root, out=out, overrides=UNET)


@pytest.fixture(scope="session")
def exported_masks(unet: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the U-Net."""
    out = tmp_path_factory.mktemp("exported_masks") / "unet"
    export(unet.path, out=out)
    return out
