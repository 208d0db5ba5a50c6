"""Objectives and the model: who gets gradient, what is computed, and what a checkpoint holds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.kl import KLDivergence
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.network_file import save_network
from preceptor.networks.output import NetworkOutput
from preceptor.training.checks import check_objectives
from preceptor.training.module import DistillationModel
from preceptor.training.objectives import LossInputs
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator
from small_model import BATCH, CE, CLASSES, KL, PAIR, STUDENT, losses, model, one_step, recipe, refused, views


@pytest.fixture
def teacher_run(tmp_path: Path) -> str:
    torch.manual_seed(4)
    network = Classifier(Architecture("test_resnet", CLASSES, 32, (0.5,) * 3, (0.5,) * 3))
    save_network(network, tmp_path / "teacher.safetensors")
    return str(tmp_path)


# --- the same values as by hand -----


def test_a_classroom_says_what_the_losses_say_by_hand() -> None:
    built = model([{**CE, "class_weights": "inverse_frequency", "weight": 0.3}, {**KL, "temperature": 3}]).eval()
    with torch.no_grad():
        for parameter in built.networks["student"].parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator(1)))
        received = views(built)
        result = losses(built, collected=received)
        student, teacher = (built.networks[name](received[name]).logits for name in ("student", "teacher"))
    counts = torch.tensor([2, 3, 1])
    assert list(result) == ["cross_entropy", "kl"]
    expected = CrossEntropy("inverse_frequency", class_counts=counts)(student, BATCH)  # unweighted: 0.3 is the loop's
    torch.testing.assert_close(result["cross_entropy"], expected, rtol=0, atol=0)
    torch.testing.assert_close(result["kl"], KLDivergence(3.0)(student, teacher), rtol=0, atol=0)
    assert result["kl"] > 1e-5


def test_each_process_weighs_as_many_images_as_it_holds() -> None:
    """One of two that holds 3 of 4 images weighs 2·3/4: the mean over processes is the mean over images."""
    objective_module = model([CE, KL]).objectives["kl"]
    logits = {name: torch.randn(4, 3, generator=generator(name)) for name in PAIR}

    def loss(part: slice, sizes: list[int]) -> Tensor:
        outputs = {name: NetworkOutput(parts[part], *(torch.zeros(0),) * 2) for name, parts in logits.items()}
        return objective_module(LossInputs(outputs, {}, BATCH[part], torch.arange(4)[part], None, (0, 0, 0), sizes))

    whole, first, second = loss(slice(4), [4]), loss(slice(3), [3, 1]), loss(slice(3, 4), [3, 1])
    torch.testing.assert_close((first + second) / 2, whole)
    assert (loss(slice(3), [3]) - loss(slice(3, 4), [1])).abs() > 0.1  # or any share would do


# --- who gets gradient -----


def grads(module: nn.Module) -> set[str]:
    return {n for n, p in module.named_parameters() if p.grad is not None and bool(p.grad.ne(0).any())}


def test_only_the_learner_gets_gradient() -> None:
    networks = {"student": STUDENT, "other": {"backbone": "test_efficientnet"}}
    kl = {"loss": "kl", "from": "other", "to": "student"}
    built = model([CE, {**CE, "of": "other", "name": "ce_other"}, kl], networks).train()
    losses(built)["kl"].backward()
    assert grads(built.networks["student"])
    assert not grads(built.networks["other"])


def test_each_side_of_mutual_learning_is_trained_by_its_own_edge() -> None:
    networks = {"student": STUDENT, "other": {"backbone": "test_efficientnet"}}
    edges = [
        {"loss": "kl", "from": "other", "to": "student", "name": "to_student"},
        {"loss": "kl", "from": "student", "to": "other", "name": "to_other"},
    ]
    built = model(edges, networks).train()
    losses(built)["to_other"].backward()
    assert grads(built.networks["other"])
    assert not grads(built.networks["student"])


def test_what_a_loss_does_not_train_arrives_detached(register: Any) -> None:
    arrived = {}

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, ours: Tensor, theirs: Tensor, own: Tensor) -> Tensor:
            arrived.update(ours=ours.requires_grad, theirs=theirs.requires_grad, own=own.requires_grad)
            return (ours * theirs).mean() + own.mean()

    feeds = {"ours": "to.logits", "theirs": "from.logits", "own": "to.embedding"}
    register("spy", Spy, feeds=feeds, trains=("ours",))
    networks = {"student": STUDENT, "other": STUDENT}
    built = model([CE, {**CE, "of": "other", "name": "b"}, {"loss": "spy", "from": "other", "to": "student"}], networks)
    losses(built.train())
    assert arrived == {"ours": True, "theirs": False, "own": False}


def test_a_teacher_gets_no_gradient_and_its_head_only_where_a_loss_trains_it(register: Any) -> None:
    class Pull(nn.Module):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
            return -(ours * theirs).sum(1).mean()

    feeds = {"ours": "to.projection", "theirs": "from.projection"}
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    for trains in (("ours",), ("ours", "theirs")):
        name = f"pull{len(trains)}"
        register(name, Pull, feeds=feeds, trains=trains)
        built = model([CE, {"loss": name, "from": "teacher", "to": "student"}], networks).train()
        losses(built)[name].backward()
        assert "projection.linear.weight" in grads(built.networks["student"])
        expected = {"network.projection.linear.weight", "network.projection.linear.bias"} if len(trains) == 2 else set()
        assert grads(built.networks["teacher"]) == expected


def test_a_loss_learns_its_own_parameters_and_they_are_in_the_state() -> None:
    built = model([CE, {"loss": "fitnet", "from": "teacher", "to": "student"}]).train()
    losses(built)["fitnet"].backward()
    assert grads(built.objectives["fitnet"]) == {"loss.regressor.weight", "loss.regressor.bias"}
    assert "objectives.fitnet.loss.regressor.weight" in built.state_dict()


# --- frozen networks -----


def frozen_room(teacher_run: str, seed: int = 0) -> DistillationModel:
    return model([CE, KL], {"teacher": {"run": teacher_run, "frozen": True}, "student": STUDENT}, seed=seed)


def test_a_frozen_network_stays_as_it_was_evaluated(teacher_run: str) -> None:
    built = frozen_room(teacher_run).train()
    assert built.networks["student"].training
    assert not any(module.training for module in built.networks["teacher"].modules())
    before = copy.deepcopy(built.networks["teacher"].state_dict())
    sum(losses(built).values()).backward()
    assert grads(built.networks["student"])
    assert not grads(built.networks["teacher"])
    after = built.networks["teacher"].state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch-norm statistics too


def test_a_frozen_network_builds_no_graph(teacher_run: str) -> None:
    built = frozen_room(teacher_run).train()
    received = []
    built.networks["teacher"].register_forward_hook(lambda *call: received.append(call[2].logits))
    losses(built)
    assert [logits.requires_grad for logits in received] == [False]


def test_a_frozen_network_is_not_in_the_state_and_loading_keeps_it(teacher_run: str) -> None:
    built, other = frozen_room(teacher_run), frozen_room(teacher_run, seed=1)
    state = built.state_dict()
    assert any(key.startswith("networks.student.") for key in state)
    assert not any(key.startswith("networks.teacher.") for key in state)
    teacher = copy.deepcopy(other.networks["teacher"].state_dict())
    assert not torch.equal(state["networks.student.backbone.fc.weight"], other.networks["student"].classifier.weight)
    other.load_state_dict(state)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())
    assert all(torch.equal(value, other.networks["teacher"].state_dict()[key]) for key, value in teacher.items())


@pytest.mark.parametrize("change", ["less", "more"])
def test_a_state_that_lacks_something_or_has_more_is_refused(teacher_run: str, change: str) -> None:
    built = frozen_room(teacher_run)
    state = dict(built.state_dict())
    if change == "less":
        del state["networks.student.backbone.fc.weight"]
    else:
        state["networks.student.backbone.strange"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"fc\.weight" if change == "less" else "strange"):
        built.load_state_dict(state)


def test_a_mean_teacher_is_in_the_state_and_moves_after_the_step() -> None:
    built = model([CE, KL])
    key = "networks.teacher.network.backbone.fc.weight"
    before = built.state_dict()[key].clone()
    with torch.no_grad():
        built.networks["student"].classifier.weight += 1
    built.after_batch(3, torch.arange(4), {}, [4], True)
    moved = built.state_dict()[key]
    alpha = min(1 - 1 / 4, 0.99)
    torch.testing.assert_close(moved, alpha * before + (1 - alpha) * (before + 1))


# --- objectives that do not count -----


def test_an_objective_without_weight_costs_no_pass() -> None:
    built = model([CE, {**KL, "weight": {"steps": {0: 0, 2: 0.5, 3: 0.0}}}])
    passes = []
    built.networks["teacher"].register_forward_hook(lambda *_: passes.append("teacher"))
    built.networks["student"].register_forward_hook(lambda *_: passes.append("student"))
    assert [built.active(epoch) for epoch in range(4)] == [
        {"cross_entropy": 1.0}, {"cross_entropy": 1.0}, {"cross_entropy": 1.0, "kl": 0.5}, {"cross_entropy": 1.0},
    ]  # fmt: skip
    for epoch, expected in ((0, ["student"]), (2, ["student", "teacher"]), (3, ["student"])):
        passes.clear()
        result = losses(built, epoch)
        assert passes == expected  # and each network looks once, however many objectives ask
        assert set(result) == set(built.active(epoch))


def test_a_network_looks_once_for_several_objectives() -> None:
    built = model([CE, KL, {"loss": "fitnet", "from": "teacher", "to": "student"}])
    passes = []
    built.networks["teacher"].register_forward_hook(lambda *_: passes.append(1))
    losses(built)
    assert len(passes) == 1


# --- random draws -----


def test_a_draw_depends_on_its_address_alone(register: Any) -> None:
    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, logits: Tensor, source: torch.Generator) -> Tensor:
            return logits.mean() * 0 + torch.rand((), generator=source)

    register("draws", Draws, feeds={"logits": "to.logits", "source": "generator"})
    two = [CE, {"loss": "draws", "of": "student"}, {"loss": "draws", "of": "student", "name": "again"}]

    def drawn(epoch: int = 0, step: int = 0, seed: int = 0, objectives: Any = two) -> dict[str, float]:
        torch.manual_seed(torch.seed())  # a global stream that was somewhere else
        result = losses(model(objectives, {"student": STUDENT}, seed=seed), epoch, step)
        return {name: value.item() for name, value in result.items() if name != "cross_entropy"}

    first = drawn()
    assert drawn() == first
    assert drawn(objectives=[two[2], two[1]]) == first  # whatever stands beside
    assert first["draws"] != first["again"]
    for other in (drawn(epoch=1), drawn(step=1), drawn(seed=1)):
        assert other["draws"] != first["draws"]


def test_learned_parts_of_losses_start_from_seed_and_name() -> None:
    fitnet = {"loss": "fitnet", "from": "teacher", "to": "student"}

    def weight(seed: int = 0, name: str = "fitnet", before: tuple[dict[str, Any], ...] = ()) -> Tensor:
        torch.manual_seed(torch.seed())
        built = model([CE, *before, {**fitnet, "name": name}], seed=seed)
        return built.objectives[name].loss.regressor.weight

    assert torch.equal(weight(), weight())
    assert torch.equal(weight(), weight(before=(KL, {**fitnet, "name": "other"})))
    assert not torch.equal(weight(), weight(seed=1))
    assert not torch.equal(weight(), weight(name="other"))


@pytest.mark.parametrize("name", ["train", "keys", "type"])
def test_a_name_that_torch_has_taken_is_refused(name: str) -> None:
    refused([{**CE, "name": name}], {"student": STUDENT}, name)
    whole = recipe([{**CE, "of": name}], {name: STUDENT}, select={"network": name})
    with pytest.raises(PreceptorError, match=name):
        check_objectives(whole)


def test_outputs_reach_objectives_in_single_precision(register: Any) -> None:
    received = []

    class Types(nn.Module):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            received.append((logits.dtype, torch.is_autocast_enabled("cpu")))
            return (logits @ logits.T).mean()

    register("types", Types, feeds={"logits": "to.logits", "labels": "labels"})
    built = model([{"loss": "types", "of": "student"}], {"student": STUDENT})
    with torch.autocast("cpu", torch.bfloat16):
        assert losses(built)["types"].dtype == torch.float32
    assert received == [(torch.float32, False)]


def test_terms_look_at_the_networks_that_feed_them() -> None:
    built = model([CE, KL])
    assert built.objectives["cross_entropy"].networks == {"student"}
    assert built.objectives["kl"].networks == {"student", "teacher"}
    assert isinstance(built.networks["teacher"], MeanTeacher)


# --- memory banks -----


def test_banks_store_projections_after_the_step() -> None:
    """Each network's own projections, into the rows of the images that were seen, and into no others."""
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    built = model([CE, {"loss": "ccd", "from": "teacher", "to": "student"}], networks).train()
    assert set(built.banks) == {"student", "teacher"}
    before = {name: bank.rows.clone() for name, bank in built.banks.items()}
    projections = one_step(built).projections
    assert all(torch.equal(bank.rows, before[name]) for name, bank in built.banks.items()), "not before the step"
    built.after_batch(0, torch.arange(4), projections, [4], True)
    for name, bank in built.banks.items():
        expected = nn.functional.normalize(0.5 * before[name][:4] + 0.5 * projections[name], dim=1)
        torch.testing.assert_close(bank.rows[:4], expected)
        assert torch.equal(bank.rows[4:], before[name][4:])
        assert f"banks.{name}.rows" in built.state_dict()


def test_ccd_trains_the_mean_teachers_head_and_nothing_else_of_it() -> None:
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    built = model([CE, {"loss": "ccd", "from": "teacher", "to": "student"}], networks).train()
    losses(built)["ccd"].backward()
    assert grads(built.networks["teacher"]) == {"network.projection.linear.weight", "network.projection.linear.bias"}
    assert grads(built.networks["student"])


# --- losses that go wrong -----


class Given(nn.Module):
    """Returns what a test gives it, or raises it."""

    result: Any = None

    def forward(self, logits: Tensor) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return logits.square().mean(1) if self.result == "rows" else self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (ValueError("no way"), r"objectives\.mine: the loss given fails: ValueError: no way\n.*a scalar tensor"),
        (0.5, r"objectives\.mine: the loss given returns float\n.*a scalar tensor"),
        ("rows", r"objectives\.mine: the loss given returns a tensor of the shape \(4,\)\n.*a scalar tensor"),
        (PreceptorError("as it is"), r"^as it is$"),
    ],
)
def test_a_loss_that_goes_wrong_is_named(
    result: Any, message: str, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("given", Given)
    monkeypatch.setattr(Given, "result", result)
    with pytest.raises(PreceptorError, match=message) as caught:
        losses(model([CE, {"loss": "given", "of": "student", "name": "mine"}]))
    assert caught.value is result or isinstance(result, float | str) or caught.value.__cause__ is result


def test_a_loss_of_another_signature_is_named(register: Any) -> None:
    register("given", Given, feeds={"scores": "to.logits"}, trains=("scores",))
    with pytest.raises(PreceptorError, match=r"objectives\.mine: the loss given fails: TypeError: .*scores"):
        losses(model([CE, {"loss": "given", "of": "student", "name": "mine"}]))


def test_memory_that_does_not_suffice_is_not_the_fault_of_a_loss(
    register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("given", Given)
    monkeypatch.setattr(Given, "result", RuntimeError("CUDA out of memory."))
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory"):
        losses(model([CE, {"loss": "given", "of": "student"}]))
