"""The teacher cache: bit for bit what the teacher gives anew, computed once, within its memory, refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import train
from preceptor.data.geometric import orientation_codes
from preceptor.data.policy import POLICIES, Policy
from preceptor.data.views import draw, draw_views, reachable_orientations, render
from preceptor.networks.output import NetworkOutput
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import plan_run
from preceptor.training.teacher_cache import TeacherCache
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator
from small_networks import classifier
from small_recipe import refused

TURNS = Policy(h_flip=0.5, quarter_turns=0.75)
ROWS = 12


class Counted:
    """A frozen network that counts its passes."""

    def __init__(self) -> None:
        self.network, self.passes = classifier(seed=2).eval(), 0

    @torch.no_grad()
    def __call__(self, views: Tensor) -> NetworkOutput:
        self.passes += 1
        return self.network(views, features=("stage2",))


def batches(policy: Policy, epochs: int, size: int = 4, also: tuple[str, ...] = ()) -> Any:
    """Views, rows and orientations of every batch."""
    images = torch.randint(0, 256, (ROWS, 3, 32, 32), generator=generator(0), dtype=torch.uint8)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(ROWS)
        for rows in np.split(order, range(size, ROWS, size)):
            drawn = draw_views(policy, len(rows), also, generator(epoch, int(rows[0])))
            views, _ = render(torch.cat([images[rows]] * (1 + len(also))), drawn)
            yield views, rows, orientation_codes(drawn.matrices[:, :, :2])


@pytest.mark.parametrize("also", [(), ("rot90", "v_flip")])
@pytest.mark.parametrize(("policy", "views"), [(Policy(), 1), (TURNS, 8)])
def test_outputs_are_those_of_the_network_in_every_bit(policy: Policy, views: int, also: tuple[str, ...]) -> None:
    network, size = Counted(), 4 * (1 + len(also))
    reachable = reachable_orientations(policy, also)
    cache = TeacherCache("teacher", ROWS, 1.0, ("logits", "embedding", "features"), size, reachable)
    for x, rows, codes in batches(policy, 40, also=also):
        served, anew = cache(network, x, rows, codes), network(x)
        network.passes -= 1
        assert torch.equal(served.logits, anew.logits)
        assert torch.equal(served.embedding, anew.embedding)
        assert torch.equal(served.features["stage2"], anew.features["stage2"])
        assert served.feature_map.numel() == 0  # nobody reads it
    least = ROWS * len(reachable) // size
    assert least <= cache.computed <= 1.5 * least + 1
    assert network.passes == cache.computed + 1  # the first batch twice, in another order


def test_a_smaller_batch_is_computed_as_it_is() -> None:
    def network(views: Tensor) -> NetworkOutput:
        return NetworkOutput(views[:, :, 0, 0], views, views[:, :, 1, 1])

    cache = TeacherCache("teacher", ROWS, 1.0, ("logits",), 8, [0])
    for x, rows, codes in batches(Policy(), 4, size=8):
        assert torch.equal(cache(network, x, rows, codes).logits, network(x).logits)
    assert 4 + 2 <= cache.computed <= 4 + 3  # the last batch of each epoch, and all images once in a whole one


def test_memory_is_bounded_and_stated() -> None:
    cache = TeacherCache("teacher", 10_000_000, 0.1, ("logits",), 4, [0, 1])
    x, rows, codes = next(batches(Policy(h_flip=0.5), 1))
    with pytest.raises(PreceptorError, match=r"teacher needs 0\.22 GiB for 20000000 views") as caught:
        cache(Counted(), x, rows, codes)
    assert "teacher_cache=0.23" in str(caught.value)


def test_a_machine_that_gives_other_bits_in_another_place_is_refused() -> None:
    network = Counted()

    def uneven(views: Tensor) -> NetworkOutput:
        return network(views).map_tensors(
            lambda value: value * torch.linspace(1, 2, len(value)).view(-1, *[1] * (value.ndim - 1))
        )

    x, rows, codes = next(batches(Policy(), 1))
    with pytest.raises(PreceptorError, match="at another place of a batch"):
        TeacherCache("teacher", ROWS, 1.0, ("logits",), 4, [0])(uneven, x, rows, codes)


@pytest.mark.parametrize("policy", [Policy(), Policy(v_flip=1), TURNS, Policy(transpose=0.5), Policy(quarter_turns=1)])
def test_reachable_orientations_are_those_that_are_drawn(policy: Policy) -> None:
    drawn = draw(policy, 400, generator(1))
    assert policy.fixed
    assert reachable_orientations(policy) == sorted({*orientation_codes(drawn.matrices[:, :, :2]).tolist()})


def test_policies_with_a_continuous_range_are_not_fixed() -> None:
    assert [name for name, policy in POLICIES.items() if policy.fixed] == ["plain"]
    assert Policy(scale=(0.9, 1.1), scale_p=0).fixed
    assert not Policy(holes=1).fixed


def settings(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    file = tmp_path / "teacher.safetensors"
    return {
        "networks.teacher.run": str(file),
        "networks.student.backbone": "test_efficientnet",
        "networks.student.pretrained": "none",
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "sees random views"),
        ({"views.student": {"policy": "plain", "mixup": 1.0}}, "sees random views"),
        ({"teacher_cache": 0}, "teacher_cache"),
    ],
)
def test_where_nothing_could_be_kept_it_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    refused(lambda: resolve("kd", {**settings(tmp_path), "teacher_cache": 1.0, **changes}), message)


def test_a_network_that_changes_has_nothing_to_keep() -> None:
    refused(lambda: resolve("student", {"teacher_cache": 1.0}), "no network is frozen")


@pytest.mark.usefixtures("no_reports")
def test_a_run_learns_the_same_with_and_without(phantom_root: Path, tmp_path: Path) -> None:
    run = train(
        "teacher",
        data="phantom",
        root=phantom_root,
        out=tmp_path / "teacher",
        overrides={
            "image_size": 32,
            "epochs": 1,
            "networks.teacher.backbone": "test_resnet",
            "networks.teacher.pretrained": "none",
        },
    )
    same = settings(
        tmp_path,
        **{
            "networks.teacher.run": str(run.path),
            "image_size": 32,
            "batch_size": 16,
            "epochs": 3,
            "views.student.policy": {"h_flip": 0.5, "quarter_turns": 0.75},
        },
    )
    without = train("kd", data="phantom", root=phantom_root, out=tmp_path / "without", overrides=same)
    cached = train(
        "kd", data="phantom", root=phantom_root, out=tmp_path / "with", overrides={**same, "teacher_cache": 0.1}
    )
    assert cached.history.drop(columns="seconds").equals(without.history.drop(columns="seconds"))
    assert cached.recipe.teacher_cache == 0.1
    assert plan_run(cached.recipe, 0, "d", 1).identity == plan_run(without.recipe, 0, "d", 1).identity
