"""What all tests share: one thread, no network, caches of their own, and a small phantom drawn once."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import hypothesis
import pytest
import torch
from torch import nn

from preceptor.data.phantom import Phantom, write_phantom
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.training.distributed import warm_up

torch.set_num_threads(1)
hypothesis.settings.register_profile("same every time", derandomize=True, database=None)
hypothesis.settings.load_profile("same every time")
warm_up()

#: Knobs of the shared phantom: small, and with enough lesions of every class for five folds.
KNOBS = {"images": 160, "size": 32, "imbalance": 2.0, "hair": 0.1}
#: Overrides that make a run take seconds.
TINY = {"image_size": 32, "batch_size": 32, "epochs": 2}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test and its fixtures draw from torch's global generator depends on no test before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom on disk; read it with ``data="phantom"`` and this root."""
    root = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(root, Phantom(**KNOBS))  # type: ignore[arg-type]
    return root


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["PRECEPTOR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@contextmanager
def without_reports() -> Iterator[None]:
    """Runs of this process write no report: drawing one takes twice as long as training and testing a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preceptor.api.completion.write_missing_report", lambda run: None)
        yield


@pytest.fixture
def no_reports() -> Iterator[None]:
    """:func:`without_reports`, for the length of a test that reads none."""
    with without_reports():
        yield


@pytest.fixture
def register() -> Iterator[Any]:
    """Registers a loss for the length of a test."""
    added = []

    def add(name: str, module: type[nn.Module], **settings: Any) -> None:
        plain = {"feeds": {"logits": "to.logits"}, "trains": ("logits",), "facts": {}, "relates_images": False}
        LOSSES.add(name, LossSpec(name, module, example=lambda g, b: ({}, {}), **{**plain, **settings}))
        added.append(name)

    yield add
    for name in added:
        del LOSSES._entries[name]


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpacks a real copy (``PRECEPTOR_DATA``), by name."""
    source = os.environ.get("PRECEPTOR_DATA")
    if not source:
        pytest.skip("PRECEPTOR_DATA is not set")

    def unpack(name: str) -> Path:
        target = tmp_path_factory.mktemp(name)
        with zipfile.ZipFile(Path(source) / f"{name}.zip") as archive:
            archive.extractall(target)
        return target

    return unpack
