"""Fabric's advice to compute in TensorFloat-32, which would contradict a run's precision, is not shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CUDAAccelerator, cuda
from lightning_fabric.utilities.rank_zero import rank_zero_info

from preceptor.training.distributed import launch

LOGGER = logging.getLogger("lightning_fabric.utilities.rank_zero")


class Kept(logging.Handler):
    """Keeps the messages that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """What Fabric logs on a machine that seems to have one GPU with tensor cores."""
    for name, value in (("is_available", True), ("device_count", 1), ("get_device_name", "H200"), ("set_device", None)):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(cuda, "_is_ampere_or_later", lambda _: True)
    monkeypatch.setattr(cuda, "num_cuda_devices", lambda: 1)
    monkeypatch.setattr(cuda, "_clear_cuda_memory", lambda: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(LOGGER, "handlers", [handler := Kept()])
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    cuda._check_cuda_matmul_precision.cache_clear()  # it speaks once a process
    yield handler
    cuda._check_cuda_matmul_precision.cache_clear()


def test_fabric_alone_gives_it(kept: Kept) -> None:
    CUDAAccelerator().setup_device(torch.device("cuda", 0))
    assert [message for message in kept.messages if "Tensor Cores" in message]


def test_a_training_does_not_show_it(kept: Kept) -> None:
    def work(fabric: Fabric) -> str:
        rank_zero_info("something else")
        return type(fabric.accelerator).__name__

    assert launch(work, 1) != "CPUAccelerator"
    assert kept.messages == ["something else"]
