"""Tiny runs and their exports, made once for all tests of exported networks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import without_reports
from preceptor import export, train
from preceptor.deploy.page.web_runtime import VARIABLE, VERSION
from preceptor.runs.directory import Run

ONE_EPOCH = {"image_size": 32, "batch_size": 32, "epochs": 1}
#: Two classifiers that learn from each other, and their ensemble.
PAIR: dict[str, Any] = {
    **ONE_EPOCH,
    "epochs": 8,
    "optimiser.lr": 0.003,
    "networks.student_1.backbone": "test_resnet",
    "networks.student_2.backbone": "test_efficientnet",
}
UNET: dict[str, Any] = {
    **ONE_EPOCH,
    "task": "segmentation",
    "networks.student.backbone": "test_resnet",
    "networks.student.pretrained": "none",
}


@pytest.fixture(scope="session")
def pair(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two classifiers and their ensemble."""
    out = tmp_path_factory.mktemp("pair") / "run"
    with without_reports():
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
    with without_reports():
        return train("student", data="phantom", root=phantom_root, out=out, overrides=UNET)


@pytest.fixture(scope="session")
def exported_masks(unet: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the U-Net."""
    out = tmp_path_factory.mktemp("exported_masks") / "unet"
    export(unet.path, out=out)
    return out


@pytest.fixture(scope="session")
def web_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime Web: of ``$PRECEPTOR_WEB_RUNTIME``, or fetched with npm where that works."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("npm")
    if npm is None:
        pytest.skip(f"{VARIABLE} is not set and there is no npm")
    command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", f"onnxruntime-web@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"{VARIABLE} is not set and npm cannot fetch onnxruntime-web")
    return folder
