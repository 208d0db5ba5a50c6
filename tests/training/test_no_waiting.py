"""A step reads nothing back from the device: the host would wait there for all that is queued before it."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_stack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import preceptor
from preceptor.data.batches import Batch
from preceptor.training.augment import make_views
from preceptor.training.step import StepInputs
from small_model import CE, KL, STUDENT, model

#: Operators whose result, or its shape, depends on values that the host does not have.
READING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero")
SOURCES = str(Path(preceptor.__file__).parent)
PAIR = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
CCD = {"loss": "ccd", "from": "teacher", "to": "student", "positives": 2, "negatives": 3}
CRP = {"loss": "crp", "from": "teacher", "to": "student"}
TURNED = {"policy": "ssd_kd", "extra_transforms": ["rot90", "rot180"]}
SAME = {"student": TURNED, "teacher": {"same_as": "student"}}


class ReadBacks(TorchDispatchMode):
    """Collects every operator that would make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operator.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in READING or masked:
            ours = [frame for frame in extract_stack() if frame.filename.startswith(SOURCES)]
            if not (ours and ours[-1].name == "check_unit_rows"):  # which checks values on the CPU alone
                self.names.append(f"{name} of {ours[-1].filename}:{ours[-1].lineno}" if ours else name)
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("objectives", "networks", "changes"),
    [
        ([CE, KL, CCD, CRP], PAIR, {"views": {"student": "dermoscopy", "teacher": "strong"}}),
        ([CE, {"loss": "drkd", "from": "teacher", "to": "student"}], PAIR, {"views": SAME}),
        ([{"loss": "sskd_logits", "from": "teacher", "to": "student"}], PAIR, {"views": SAME}),
        ([{"loss": "crkd", "from": "teacher", "to": "student"}, CE], PAIR, {"precision": "bf16"}),
    ],
)
def test_views_losses_gradients_and_banks_need_no_value_on_the_host(
    objectives: list[dict[str, Any]], networks: dict[str, Any], changes: dict[str, Any]
) -> None:
    distillation = model(objectives, networks, **changes)
    recipe = distillation.recipe
    distillation.use_modes({name: recipe.mode(name) for name in recipe.networks})
    rows, labels = torch.arange(4), torch.tensor([0, 1, 2, 1])
    batch = Batch(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), labels, rows)
    for step in range(2):  # the first sets Z and buffers up
        with ReadBacks() as waits:
            views = make_views(recipe, recipe.networks, batch, 4, (0, 0, step))
            outputs = distillation(StepInputs(views, labels, rows, (0, 0, step), [4]))
            torch.stack([*outputs.losses.values(), *outputs.critic_losses.values()]).sum().backward()
            distillation.after_batch(step, rows, outputs.projections, [4], True)
        assert waits.names == []


def test_a_value_that_is_read_is_noticed() -> None:
    with ReadBacks() as waits:
        torch.ones(1).item()
        torch.ones(2)[torch.tensor([True, False])]
    assert [name.partition(" ")[0] for name in waits.names][:2] == ["_local_scalar_dense", "index"]
