"""No loss reads a value back from the device inside a step, for which the host would have to wait."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from preceptor.losses.registry import LOSSES
from preceptor.testing.sample import leaves, trial


def fake_of(fake: FakeTensorMode, value: Any) -> Any:
    if isinstance(value, Tensor):
        return fake.from_tensor(value)
    if isinstance(value, list):
        return [fake_of(fake, item) for item in value]
    return value._apply(fake.from_tensor) if isinstance(value, nn.Module) else value


@pytest.mark.parametrize("loss", list(LOSSES))
def test_a_step_needs_no_value_on_the_host(loss: str) -> None:
    """Fake tensors have none: ``.item()``, a mask as an index or an ``if`` on a tensor raises."""
    built = trial(LOSSES[loss])
    with FakeTensorMode() as fake, torch.random.fork_rng(devices=[]):
        fake_of(fake, built.module)
        built.inputs = {name: fake_of(fake, value) for name, value in built.inputs.items()}
        for argument, _, tensor in leaves(built.inputs):
            tensor.requires_grad_(argument in LOSSES[loss].trains)
        built.value().backward()
