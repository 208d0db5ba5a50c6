"""Objectives and the classroom: who gets gradient, what is computed, and what a checkpoint holds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from preceptor.errors import PreceptorError
from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.kl import KLDivergence
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.networks.build import build_networks
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.files import save_network
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.output import NetworkOutput
from preceptor.randomness import generator
from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, validate
from preceptor.training.checks import check_objectives
from preceptor.training.classroom import Classroom
from preceptor.training.objectives import Scene, build_banks, build_terms

CLASSES = ("mel", "nv", "bcc")
LABELS = torch.tensor([0, 1, 2, 1, 1, 0])  # of the training part
BATCH = torch.tensor([1, 0, 2, 1])
CE = {"loss": "cross_entropy", "of": "student"}
KL = {"loss": "kl", "from": "teacher", "to": "student"}
STUDENT = {"backbone": "test_resnet"}
PAIR = {"student": STUDENT, "teacher": {"mean_of": "student"}}


def recipe(objectives: list[dict[str, Any]], networks: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    networks = networks or PAIR
    said = {"name": "t", "networks": networks, "views": dict.fromkeys(networks, "plain"), "objectives": objectives}
    return validate({**said, "image_size": 32, **changes}, "t")


def classroom(objectives: list[dict[str, Any]], networks: dict[str, Any] | None = None, **changes: Any) -> Classroom:
    whole = recipe(objectives, networks, **changes)
    check_objectives(whole)
    built, _ = build_networks(whole.networks, CLASSES, 32, whole.seed, whole.task)
    terms = build_terms(whole, built, LABELS, 3)
    return Classroom(whole, built, terms, build_banks(whole, built, terms, LABELS, 3))


def views(room: Classroom, seed: int = 0) -> dict[str, Tensor]:
    """Each network sees something else."""
    return {name: torch.rand(4, 3, 32, 32, generator=generator(seed, name)) for name in room.networks}


def losses(room: Classroom, epoch: int = 0, step: int = 0, seen: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    return room(seen or views(room), BATCH, torch.arange(4), (room.recipe.seed, epoch, step), [4])[0]


def refused(objectives: list[dict[str, Any]], networks: Any, *said: str) -> PreceptorError:
    """The error that these objectives end in before any network is built."""
    whole = recipe(objectives, networks)
    with pytest.raises(PreceptorError) as caught:
        check_objectives(whole)
    for part in said:
        assert part in str(caught.value), str(caught.value)
    return caught.value


@pytest.fixture
def teacher_run(tmp_path: Path) -> str:
    torch.manual_seed(4)
    network = Classifier(Architecture("test_resnet", CLASSES, 32, (0.5,) * 3, (0.5,) * 3))
    save_network(network, tmp_path / "teacher.safetensors")
    return str(tmp_path)


@pytest.fixture
def register() -> Iterator[Any]:
    """Registers a loss for the length of a test."""
    added = []

    def add(name: str, module: type[nn.Module], **said: Any) -> None:
        plain = {"feeds": {"logits": "to.logits"}, "trains": ("logits",), "facts": {}, "relates_images": False}
        LOSSES.add(name, LossSpec(name, module, example=lambda g, b: ({}, {}), **{**plain, **said}))
        added.append(name)

    yield add
    for name in added:
        del LOSSES._entries[name]


# --- the same values as by hand -----


def test_a_classroom_says_what_the_losses_say_by_hand() -> None:
    room = classroom([{**CE, "class_weights": "inverse_frequency", "weight": 0.3}, {**KL, "temperature": 3}]).eval()
    with torch.no_grad():
        for parameter in room.networks["student"].parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator(1)))
        seen = views(room)
        found = losses(room, seen=seen)
        student, teacher = (room.networks[name](seen[name]).logits for name in ("student", "teacher"))
    counts = torch.tensor([2, 3, 1])
    assert list(found) == ["cross_entropy", "kl"]
    expected = CrossEntropy("inverse_frequency", class_counts=counts)(student, BATCH)  # unweighted: 0.3 is the loop's
    torch.testing.assert_close(found["cross_entropy"], expected, rtol=0, atol=0)
    torch.testing.assert_close(found["kl"], KLDivergence(3.0)(student, teacher), rtol=0, atol=0)
    assert found["kl"] > 1e-5


def test_each_process_weighs_as_many_images_as_it_holds() -> None:
    """One of two that holds 3 of 4 images weighs 2·3/4: the mean over processes is the mean over images."""
    term = classroom([CE, KL]).terms["kl"]
    logits = {name: torch.randn(4, 3, generator=generator(name)) for name in PAIR}

    def loss(part: slice, sizes: list[int]) -> Tensor:
        outputs = {name: NetworkOutput(one[part], *(torch.zeros(0),) * 2) for name, one in logits.items()}
        return term(Scene(outputs, {}, BATCH[part], torch.arange(4)[part], None, (0, 0, 0), sizes))

    whole, first, second = loss(slice(4), [4]), loss(slice(3), [3, 1]), loss(slice(3, 4), [3, 1])
    torch.testing.assert_close((first + second) / 2, whole)
    assert (loss(slice(3), [3]) - loss(slice(3, 4), [1])).abs() > 0.1  # or any share would do


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_objectives_of_every_shipped_recipe_pass_their_check(name: str) -> None:
    check_objectives(resolve(name))


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_registered_loss_can_be_named_in_a_recipe(loss: str) -> None:
    """Its settings have defaults, and the engine has all that it feeds on: classes or masks, one view or several."""
    spec = LOSSES[loss]
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    sides = {"from": "teacher", "to": "student"} if spec.needs_source else {"of": "student"}
    tried = {"loss": loss, "name": "tried", **sides}
    seen: dict[str, Any] = {"student": "plain", "teacher": {"same_as": "student"}}
    if "masks" in spec.feeds.values() or loss == "cwd":
        own = {"loss": "cross_entropy_masks", "of": "student"}
        room = classroom([own, tried], networks, task="segmentation", select={"metric": "iou"}, views=seen)
        masks = dict.fromkeys(PAIR, torch.randint(3, (4, 32, 32), generator=generator(0)))
        found = room(views(room), BATCH, torch.arange(4), (0, 0, 0), [4], masks)[0]["tried"]
    elif spec.tells_views_apart:
        seen["student"] = {"policy": "plain", "also": ["rot90"]}
        room = classroom([CE, tried], networks, views=seen)
        found = losses(room, seen={name: torch.cat([one, one]) for name, one in views(room).items()})["tried"]
    else:
        found = losses(classroom([CE, tried], networks, views=seen))["tried"]
    assert found.shape == ()
    assert found.isfinite()


# --- who gets gradient -----


def grads(module: nn.Module) -> set[str]:
    return {n for n, p in module.named_parameters() if p.grad is not None and bool(p.grad.ne(0).any())}


def test_only_the_learner_gets_gradient() -> None:
    networks = {"student": STUDENT, "other": {"backbone": "test_efficientnet"}}
    kl = {"loss": "kl", "from": "other", "to": "student"}
    room = classroom([CE, {**CE, "of": "other", "name": "ce_other"}, kl], networks).train()
    losses(room)["kl"].backward()
    assert grads(room.networks["student"])
    assert not grads(room.networks["other"])


def test_each_side_of_mutual_learning_is_trained_by_its_own_edge() -> None:
    networks = {"student": STUDENT, "other": {"backbone": "test_efficientnet"}}
    edges = [
        {"loss": "kl", "from": "other", "to": "student", "name": "to_student"},
        {"loss": "kl", "from": "student", "to": "other", "name": "to_other"},
    ]
    room = classroom(edges, networks).train()
    losses(room)["to_other"].backward()
    assert grads(room.networks["other"])
    assert not grads(room.networks["student"])


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
    room = classroom(
        [CE, {**CE, "of": "other", "name": "b"}, {"loss": "spy", "from": "other", "to": "student"}], networks
    )
    losses(room.train())
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
        room = classroom([CE, {"loss": name, "from": "teacher", "to": "student"}], networks).train()
        losses(room)[name].backward()
        assert "projection.linear.weight" in grads(room.networks["student"])
        expected = {"network.projection.linear.weight", "network.projection.linear.bias"} if len(trains) == 2 else set()
        assert grads(room.networks["teacher"]) == expected


def test_a_loss_learns_its_own_parameters_and_they_are_in_the_state() -> None:
    room = classroom([CE, {"loss": "fitnet", "from": "teacher", "to": "student"}]).train()
    losses(room)["fitnet"].backward()
    assert grads(room.terms["fitnet"]) == {"loss.regressor.weight", "loss.regressor.bias"}
    assert "terms.fitnet.loss.regressor.weight" in room.state_dict()


# --- frozen networks -----


def frozen_room(teacher_run: str, seed: int = 0) -> Classroom:
    return classroom([CE, KL], {"teacher": {"run": teacher_run, "frozen": True}, "student": STUDENT}, seed=seed)


def test_a_frozen_network_stays_as_it_was_evaluated(teacher_run: str) -> None:
    room = frozen_room(teacher_run).train()
    assert room.networks["student"].training
    assert not any(module.training for module in room.networks["teacher"].modules())
    before = copy.deepcopy(room.networks["teacher"].state_dict())
    sum(losses(room).values()).backward()
    assert grads(room.networks["student"])
    assert not grads(room.networks["teacher"])
    after = room.networks["teacher"].state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch-norm statistics too


def test_a_frozen_network_builds_no_graph(teacher_run: str) -> None:
    room = frozen_room(teacher_run).train()
    seen = []
    room.networks["teacher"].register_forward_hook(lambda *call: seen.append(call[2].logits))
    losses(room)
    assert [logits.requires_grad for logits in seen] == [False]


def test_a_frozen_network_is_not_in_the_state_and_loading_keeps_it(teacher_run: str) -> None:
    room, other = frozen_room(teacher_run), frozen_room(teacher_run, seed=1)
    state = room.state_dict()
    assert any(key.startswith("networks.student.") for key in state)
    assert not any(key.startswith("networks.teacher.") for key in state)
    teacher = copy.deepcopy(other.networks["teacher"].state_dict())
    assert not torch.equal(state["networks.student.backbone.fc.weight"], other.networks["student"].classifier.weight)
    other.load_state_dict(state)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())
    assert all(torch.equal(value, other.networks["teacher"].state_dict()[key]) for key, value in teacher.items())


@pytest.mark.parametrize("change", ["less", "more"])
def test_a_state_that_lacks_something_or_has_more_is_refused(teacher_run: str, change: str) -> None:
    room = frozen_room(teacher_run)
    state = dict(room.state_dict())
    if change == "less":
        del state["networks.student.backbone.fc.weight"]
    else:
        state["networks.student.backbone.strange"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"fc\.weight" if change == "less" else "strange"):
        room.load_state_dict(state)


def test_a_mean_teacher_is_in_the_state_and_moves_after_the_step() -> None:
    room = classroom([CE, KL])
    key = "networks.teacher.network.backbone.fc.weight"
    before = room.state_dict()[key].clone()
    with torch.no_grad():
        room.networks["student"].classifier.weight += 1
    room.after_step(3, torch.arange(4), {}, [4])
    moved = room.state_dict()[key]
    alpha = min(1 - 1 / 4, 0.99)
    torch.testing.assert_close(moved, alpha * before + (1 - alpha) * (before + 1))


# --- objectives that do not count -----


def test_an_objective_without_weight_costs_no_pass() -> None:
    room = classroom([CE, {**KL, "weight": {"steps": {0: 0, 2: 0.5, 3: 0.0}}}])
    passes = []
    room.networks["teacher"].register_forward_hook(lambda *_: passes.append("teacher"))
    room.networks["student"].register_forward_hook(lambda *_: passes.append("student"))
    assert [room.active(epoch) for epoch in range(4)] == [
        {"cross_entropy": 1.0}, {"cross_entropy": 1.0}, {"cross_entropy": 1.0, "kl": 0.5}, {"cross_entropy": 1.0},
    ]  # fmt: skip
    for epoch, expected in ((0, ["student"]), (2, ["student", "teacher"]), (3, ["student"])):
        passes.clear()
        found = losses(room, epoch)
        assert passes == expected  # and each network looks once, however many objectives ask
        assert set(found) == set(room.active(epoch))


def test_a_network_looks_once_for_several_objectives() -> None:
    room = classroom([CE, KL, {"loss": "fitnet", "from": "teacher", "to": "student"}])
    passes = []
    room.networks["teacher"].register_forward_hook(lambda *_: passes.append(1))
    losses(room)
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
        found = losses(classroom(objectives, {"student": STUDENT}, seed=seed), epoch, step)
        return {name: value.item() for name, value in found.items() if name != "cross_entropy"}

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
        room = classroom([CE, *before, {**fitnet, "name": name}], seed=seed)
        return room.terms[name].loss.regressor.weight

    assert torch.equal(weight(), weight())
    assert torch.equal(weight(), weight(before=(KL, {**fitnet, "name": "other"})))
    assert not torch.equal(weight(), weight(seed=1))
    assert not torch.equal(weight(), weight(name="other"))


# --- facts and settings -----


def test_facts_are_filled_from_the_training_part_and_the_networks(register: Any) -> None:
    asked = {}

    class Asks(nn.Module):
        def __init__(self, counts: Tensor, rows: Tensor, k: int, d: int, p: int, tk: int, td: int, tp: int) -> None:
            super().__init__()
            asked.update(counts=counts.tolist(), rows=rows.tolist(), k=k, d=d, p=p, tk=tk, td=td, tp=tp)

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    facts = {
        "counts": "class_counts", "rows": "row_labels", "k": "to.channels", "d": "to.embedding", "p": "to.projection",
        "tk": "from.channels", "td": "from.embedding", "tp": "from.projection",
    }  # fmt: skip
    register("asks", Asks, facts=facts)
    networks = {
        "student": {"backbone": "mobilenetv3_small_050", "projection": 6},
        "other": {"backbone": "test_resnet", "projection": 8},
    }
    classroom([CE, {**CE, "of": "other", "name": "b"}, {"loss": "asks", "from": "other", "to": "student"}], networks)
    assert asked == {
        "counts": [2, 3, 1], "rows": LABELS.tolist(), "k": 288, "d": 1024, "p": 6, "tk": 96, "td": 96, "tp": 8,
    }  # fmt: skip


def test_a_class_without_training_images_is_an_error_of_the_objective() -> None:
    whole = recipe([{**CE, "class_weights": "inverse_frequency"}], {"student": STUDENT})
    built, _ = build_networks(whole.networks, CLASSES, 32, 0)
    with pytest.raises(PreceptorError, match=r"objectives\.cross_entropy: class_weights"):
        build_terms(whole, built, torch.tensor([0, 0, 1]), 3)


def test_settings_reach_the_loss(register: Any) -> None:
    class Settings(nn.Module):
        def __init__(self, kind: Literal["a", "b"] = "a", scale: float = 1.0, many: list[float] | None = None) -> None:
            super().__init__()
            self.said = (kind, scale, many)

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    register("settings", Settings)
    said = {"kind": "b", "scale": 2, "many": [1, 2.5]}
    room = classroom([{"loss": "settings", "of": "student", **said}], {"student": STUDENT})
    assert room.terms["settings"].loss.said == ("b", 2.0, [1.0, 2.5])
    room = classroom([{"loss": "settings", "of": "student"}], {"student": STUDENT})
    assert room.terms["settings"].loss.said == ("a", 1.0, None)


def test_a_loss_of_few_words_works(register: Any) -> None:
    """No ``__init__`` of its own, or one without type hints: a plug-in owes us neither."""

    class Bare(nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return logits.square().mean()

    class NoHints(Bare):
        def __init__(self, scale=2.0):
            super().__init__()
            self.scale = scale

        def forward(self, logits):
            return self.scale * logits.square().mean()

    register("bare", Bare)
    register("no_hints", NoHints)
    room = classroom([{"loss": "bare", "of": "student"}, {"loss": "no_hints", "of": "student", "scale": 3}],
                     {"student": STUDENT}).eval()  # fmt: skip
    found = losses(room)
    torch.testing.assert_close(found["no_hints"], 3 * found["bare"])


def test_a_setting_that_has_no_default_must_be_given(register: Any) -> None:
    class Needs(nn.Module):
        def __init__(self, margin: float) -> None:
            super().__init__()

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    register("needs", Needs)
    refused([{"loss": "needs", "of": "student"}], {"student": STUDENT}, "'objectives.needs.margin' is missing")


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({**CE, "loss": "cross_entrpy"}, ["cross_entrpy", "Did you mean 'cross_entropy'"]),
        ({**KL, "temprature": 3.0}, ["'objectives.kl.temprature'", "Did you mean 'temperature'"]),
        ({**KL, "temperature": "hot"}, ["'objectives.kl.temperature' is 'hot'", "number"]),
        ({**KL, "temperature": True}, ["'objectives.kl.temperature' is True"]),
        ({**KL, "name": "distil", "temperature": "hot"}, ["'objectives.distil.temperature'"]),
        ({**CE, "name": "ce", "class_weights": "inverse"}, ["'objectives.ce.class_weights'", "'inverse_frequency'"]),
        ({**CE, "name": "ce", "class_weights": [1.0, "x", 1.0]}, ["'objectives.ce.class_weights", "'x'", "number"]),
        ({**CE, "name": "ce", "class_counts": [1, 2]}, ["'objectives.ce.class_counts'"]),  # a fact is not a setting
        ({"loss": "kl", "of": "student"}, ["objectives.kl", "from: NAME and to: NAME"]),
        ({"loss": "cross_entropy", "name": "ce", "from": "teacher", "to": "student"}, ["objectives.ce", "of: NAME"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_objective_is_one_error_that_names_its_key(objective: dict[str, Any], said: list[str]) -> None:
    check_objectives(recipe([CE]))
    refused([CE, objective] if objective["loss"] == "kl" else [objective], None, *said)


@pytest.mark.parametrize("setting", [{"label_smoothing": 1.5}, {"class_weights": [1.0, 2.0]}])
def test_a_value_that_the_loss_refuses_is_placed(setting: dict[str, Any]) -> None:
    with pytest.raises(PreceptorError, match=rf"objectives\.cross_entropy: {next(iter(setting))}"):
        classroom([{**CE, **setting}], {"student": STUDENT})


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        ({"student": STUDENT, "teacher": {"mean_of": "student"}}, "networks.student.projection"),
        (
            {"student": {**STUDENT, "projection": 8}, "teacher": {"run": "dir", "frozen": True}},
            "networks.teacher.projection",
        ),
    ],
)
def test_a_loss_that_needs_projections_says_where_to_put_them(register: Any, networks: Any, named: str) -> None:
    register("pull", CrossEntropy, feeds={"logits": "to.projection", "labels": "from.projection"})
    pull = {"loss": "pull", "from": "teacher", "to": "student"}
    refused([CE, pull], networks, "objectives.pull", "projection", named)


def test_an_average_cannot_be_taught_by_what_would_not_reach_it() -> None:
    refused([CE, {"loss": "kl", "from": "student", "to": "teacher"}], PAIR, "objectives.kl", "teacher")


@pytest.mark.parametrize("name", ["train", "keys", "type"])
def test_a_name_that_torch_has_taken_is_refused(name: str) -> None:
    refused([{**CE, "name": name}], {"student": STUDENT}, name)
    whole = recipe([{**CE, "of": name}], {name: STUDENT}, select={"network": name})
    with pytest.raises(PreceptorError, match=name):
        check_objectives(whole)


def test_outputs_reach_objectives_in_single_precision(register: Any) -> None:
    seen = []

    class Types(nn.Module):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            seen.append((logits.dtype, torch.is_autocast_enabled("cpu")))
            return (logits @ logits.T).mean()

    register("types", Types, feeds={"logits": "to.logits", "labels": "labels"})
    room = classroom([{"loss": "types", "of": "student"}], {"student": STUDENT})
    with torch.autocast("cpu", torch.bfloat16):
        assert losses(room)["types"].dtype == torch.float32
    assert seen == [(torch.float32, False)]


def test_terms_look_at_the_networks_that_feed_them() -> None:
    room = classroom([CE, KL])
    assert room.terms["cross_entropy"].networks == {"student"}
    assert room.terms["kl"].networks == {"student", "teacher"}
    assert isinstance(room.networks["teacher"], MeanTeacher)


# --- memory banks -----


def test_banks_take_in_what_was_said_after_the_step() -> None:
    """Each network's own projections, into the rows of the images that were seen, and into no others."""
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    room = classroom([CE, {"loss": "ccd", "from": "teacher", "to": "student"}], networks).train()
    assert set(room.banks) == {"student", "teacher"}
    before = {name: bank.rows.clone() for name, bank in room.banks.items()}
    _, said = room(views(room), BATCH, torch.arange(4), (0, 0, 0), [4])
    assert all(torch.equal(bank.rows, before[name]) for name, bank in room.banks.items()), "not before the step"
    room.after_step(0, torch.arange(4), said, [4])
    for name, bank in room.banks.items():
        expected = nn.functional.normalize(0.5 * before[name][:4] + 0.5 * said[name], dim=1)
        torch.testing.assert_close(bank.rows[:4], expected)
        assert torch.equal(bank.rows[4:], before[name][4:])
        assert f"banks.{name}.rows" in room.state_dict()


def test_ccd_trains_the_mean_teachers_head_and_nothing_else_of_it() -> None:
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    room = classroom([CE, {"loss": "ccd", "from": "teacher", "to": "student"}], networks).train()
    losses(room)["ccd"].backward()
    assert grads(room.networks["teacher"]) == {"network.projection.linear.weight", "network.projection.linear.bias"}
    assert grads(room.networks["student"])
