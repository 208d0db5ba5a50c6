"""Several views of an image in one batch: how they are drawn, which of them an objective sees, and who shares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import TINY
from preceptor import train
from preceptor.data.batches import Batch
from preceptor.data.policy import Policy
from preceptor.data.views import ORIENTATIONS, draw, draw_views, render
from preceptor.losses.registry import LOSSES, register_loss
from preceptor.networks.network_file import load_network
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import Objective
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import stage_recipe
from preceptor.training.augment import make_views
from preceptor.training.checks import check_objectives
from preceptor.training.objectives import LossInputs, ObjectiveModule
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

TURNS = ["rot90", "rot180", "rot270"]


def images(count: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator("several views"))


@pytest.mark.parametrize("name", sorted(ORIENTATIONS))
def test_a_plain_view_is_transformed_exactly(name: str) -> None:
    expected = {
        "rot90": lambda x: x.rot90(1, (2, 3)),
        "rot180": lambda x: x.rot90(2, (2, 3)),
        "rot270": lambda x: x.rot90(3, (2, 3)),
        "h_flip": lambda x: x.flip(3),
        "v_flip": lambda x: x.flip(2),
        "transpose": lambda x: x.mT,
        "antitranspose": lambda x: x.rot90(2, (2, 3)).mT,
    }[name]
    given = images()
    views, _ = render(torch.cat([given, given]), draw_views(Policy(), 5, [name], generator(0)))
    assert torch.equal(views[:5], given / 255)
    assert torch.equal(views[5:], expected(given / 255))


def test_every_view_has_a_draw_of_its_own_and_is_turned_after_it() -> None:
    policy = Policy(rotate=40, scale=(0.8, 1.3), brightness=0.2)
    given = torch.cat([images()] * 4)
    turned = draw_views(policy, 5, TURNS, generator(3))
    straight = draw(policy, 20, generator(3))
    views, plain = render(given, turned)[0], render(given, straight)[0]
    assert torch.equal(views[:5], plain[:5])
    for turn in (1, 2, 3):
        block = slice(5 * turn, 5 * turn + 5)
        assert torch.allclose(views[block], plain[block].rot90(turn, (2, 3)), atol=1e-4)
        assert not torch.allclose(plain[block], plain[:5], atol=0.05), "the draw is the first view's"


def a_batch(count: int) -> Batch:
    masks = (images(count)[:, 0] > 128).to(torch.uint8)
    return Batch(images(count), torch.zeros(count, dtype=torch.long), torch.arange(count), masks)


def test_a_process_sees_its_share_of_every_view() -> None:
    recipe, whole = resolve("ssd_kd"), a_batch(7)
    everything = make_views(recipe, ["student", "teacher"], whole, 7, (0, 1, 2)).images
    assert everything["teacher"] is everything["student"], "what is the same is rendered once"
    for rank, rows in enumerate(np.array_split(np.arange(7), 2)):
        at = torch.from_numpy(rows)
        part = Batch(whole.images[at], whole.labels[at], whole.rows[at])
        received = make_views(recipe, ["student"], part, 7, (0, 1, 2), rank, 2).images["student"]
        expected = everything["student"].unflatten(0, (4, 7))[:, at].flatten(0, 1)
        assert torch.equal(received, expected)


def test_masks_follow_the_views_where_the_task_has_them() -> None:
    recipe = resolve("ssd_kd", {"views.student.policy": "plain"})
    assert make_views(recipe, ["student"], a_batch(4), 4, (0, 0, 0)).masks == {}


class _Sees(nn.Module):
    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.inputs = logits, labels
        return logits.mean()


@pytest.fixture
def sees() -> Any:
    def example(generator: torch.Generator, batch: int) -> Any:
        return {}, {"logits": torch.randn(batch, 3, generator=generator), "labels": torch.zeros(batch).long()}

    feeds = {"logits": "to.logits", "labels": "labels"}
    register_loss("sees", feeds=feeds, trains=("logits",), example=example)(_Sees)
    yield LOSSES["sees"]
    LOSSES._entries.pop("sees")


@pytest.mark.parametrize("chosen", [None, "upright", "all"])
def test_an_objective_sees_the_views_that_it_asks_for(chosen: Any, sees: Any) -> None:
    logits = torch.randn(8, 3)
    output = NetworkOutput(logits, torch.zeros(8, 1, 1, 1), torch.zeros(8, 2))
    inputs = LossInputs({"student": output}, {}, torch.tensor([4, 5]), torch.tensor([0, 1]), {}, (0, 0, 0), [2])
    objective_module = ObjectiveModule(
        Objective.model_validate({"loss": "sees", "of": "student", "images": chosen}), sees, {"": _Sees()}
    )
    objective_module(inputs)
    shown, labels = objective_module.loss.inputs  # type: ignore[union-attr,misc]
    assert torch.equal(shown, logits if chosen == "all" else logits[:2])
    assert labels.tolist() == ([4, 5] * 4 if chosen == "all" else [4, 5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views.student.extra_transforms": ["rot45"]}, "views.student.extra_transforms"),
        ({"views.teacher.policy": "plain"}, "do not see the same views"),
        # a new policy drops the transforms of the old one
        ({"views.student.policy": "plain"}, r"set views\.student\.extra_transforms"),
        ({"objectives.sskd_logits.images": "upright"}, "compares views"),
    ],
)
def test_views_that_do_not_fit_are_one_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        check_objectives(resolve("ssd_kd", changes))


def test_all_views_of_one_are_refused() -> None:
    with pytest.raises(PreceptorError, match=r"objectives\.drkd\.images: student sees one view"):
        check_objectives(resolve("drkd", {"objectives.drkd.images": "all"}))


def test_stages_have_the_budget_that_the_run_says() -> None:
    recipe = resolve(
        "ssd_kd", {"epochs": 9, "image_size": 64, "networks.teacher.backbone": "resnet18", "head_epochs": 3}
    )
    head = stage_recipe(recipe, "teacher")
    assert (head.name, head.epochs, head.image_size) == ("sskd_head", 3, 64)
    assert head.networks["teacher"].frozen == "backbone"
    first = stage_recipe(head, "teacher")
    assert (first.name, first.epochs) == ("teacher", 9)
    assert first.networks["teacher"].backbone == "resnet18"
    assert first.networks["teacher"].projection is None


@pytest.mark.usefixtures("no_reports")
def test_ssd_kd_from_end_to_end(phantom_root: Path, tmp_path: Path) -> None:
    """A finished teacher gets its head, which alone is trained, and the student learns from both."""
    common = {**TINY, "epochs": 1, "pretrained": "none"}
    teacher = train(
        "teacher",
        data="phantom",
        root=phantom_root,
        out=tmp_path / "teacher",
        overrides={**common, "backbone": "test_resnet"},
    )
    run = train(
        "ssd_kd",
        data="phantom",
        root=phantom_root,
        out=tmp_path / "run",
        overrides={
            **TINY,
            "epochs": 1,
            "head_epochs": 1,
            "teacher": str(teacher.path),
            "networks.student.backbone": "test_efficientnet",
        },
    )
    before, _ = load_network(teacher.network_file("teacher"))
    after, _ = load_network(run.stage("teacher").network_file("teacher"))
    assert after.architecture.projection == "mlp"
    for key, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[key]), f"{key}: the head's stage changed the teacher"
    assert not (run.stage("teacher").path / "teacher").exists(), "the teacher was trained again"
    student, _ = load_network(run.network_file("student"))
    assert student.projection is None, "its head is for training alone"
    again = {**TINY, "epochs": 1, "networks.student.backbone": "test_efficientnet"}
    reused = resolve("sskd", {**again, "networks.teacher.run": str(run.stage("teacher").path)})
    assert reused.networks["teacher"].trained_by is None


def test_a_frozen_teacher_without_a_head_is_refused(phantom_root: Path, tmp_path: Path) -> None:
    from preceptor.networks.classifier import Architecture, Classifier
    from preceptor.networks.network_file import save_network
    from preceptor.runs.create import Data

    half = (0.5, 0.5, 0.5)
    classes = Data("phantom", phantom_root).catalog().classes
    save_network(Classifier(Architecture("test_resnet", classes, 32, half, half)), tmp_path / "t.safetensors")
    with pytest.raises(PreceptorError, match="has no projection head"):
        train(
            "sskd",
            data="phantom",
            root=phantom_root,
            out=tmp_path / "run",
            overrides={**TINY, "networks.teacher.run": str(tmp_path / "t.safetensors")},
        )
