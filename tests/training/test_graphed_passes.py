"""Passes as CUDA graphs: what an ordinary pass gives, step for step.

Without a GPU :func:`repeated` stands for the recording of graphs: it does the work again and writes into the same
tensors. Where there is a GPU these tests record real graphs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from conftest import TINY, without_reports
from preceptor import study, train, tune
from preceptor.networks.classifier import Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import ForwardMode
from preceptor.training import graphed_pass, mode_choice, network_pass
from preceptor.training.cuda_graphs import (
    BrokenRecordingError,
    Recorded,
    UnrecordableError,
    nothing_drawn_on_the_host,
)
from preceptor.training.graphed_pass import GraphedPass
from preceptor.training.module import DistillationModel
from preceptor.training.network_pass import NetworkPass
from preceptor.utils.errors import PreceptorError
from small_model import CE, KL, PAIR, model, views
from small_networks import classifier, images, same_state
from small_study import PLAN

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def repeated(work: Callable[[], Sequence[Tensor | None]]) -> Recorded:
    static, autograd = work(), torch.is_grad_enabled()

    def again() -> None:
        with torch.set_grad_enabled(autograd):  # as a graph repeats what was recorded, whatever is enabled now
            anew = work()
        for tensor, value in zip(static, anew, strict=True):
            if tensor is not None and value is not None:
                tensor.detach().copy_(value)

    return static, again


@pytest.fixture(autouse=True)
def _recording(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        monkeypatch.setattr(graphed_pass, "cuda_recorder", lambda: repeated)
        monkeypatch.setattr(network_pass, "has_gpu", lambda: True)


def network(**settings: object) -> Classifier:
    return classifier("test_efficientnet", projection=8, **settings).to(DEVICE).train()


def batch(seed: int, count: int = 4) -> Tensor:
    return images(count, seed=seed).to(DEVICE)


def loss_of(output: NetworkOutput) -> Tensor:
    """What reads the logits and a stage, and leaves the map, the embedding and the projection alone."""
    return output.logits.logsumexp(1).mean() + output.features["stage3"].square().mean()


def steps(run: NetworkPass, learning: Classifier) -> list[Tensor]:
    """The losses of some steps of SGD."""
    optimiser = torch.optim.SGD(learning.parameters(), 0.1, weight_decay=0.1)
    losses = []
    for step in range(3):
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss = run(batch(step)).logits.logsumexp(1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.detach())
    return losses


def test_training_is_the_same() -> None:
    ordinary, graphed = network(dropout=0.5), network(dropout=0.5)
    expected = steps(NetworkPass(ordinary, ForwardMode()), ordinary)
    graphed_losses = steps(NetworkPass(graphed, ForwardMode(graphed=True), images=4), graphed)
    assert torch.equal(torch.stack(graphed_losses), torch.stack(expected))
    assert same_state(graphed, ordinary)  # statistics of batch norm among them


def test_a_layer_behind_no_loss_gets_no_gradient() -> None:
    learning = network()
    run = NetworkPass(learning, ForwardMode(graphed=True), images=4)
    loss_of(run(batch(0), ("stage3",))).backward()  # type: ignore[no-untyped-call]
    without = {name for name, parameter in learning.named_parameters() if parameter.grad is None}
    assert without
    assert all(name.startswith("projection.") for name in without)
    projection = run(batch(1), ("stage3",)).projection
    assert projection is not None
    projection[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for name, p in learning.named_parameters() if name.startswith("projection."))


def test_gradients_of_several_batches_add_up() -> None:
    ordinary, graphed = network(), network()
    for learning, mode in ((ordinary, ForwardMode()), (graphed, ForwardMode(graphed=True))):
        run = NetworkPass(learning, mode, images=4)
        for seed in range(3):
            loss_of(run(batch(seed), ("stage3",))).backward()  # type: ignore[no-untyped-call]
    pairs = zip(graphed.parameters(), ordinary.parameters(), strict=True)
    for one, other in pairs:
        assert (one.grad is None) == (other.grad is None)
        torch.testing.assert_close(one.grad, other.grad)  # what comes back to a stage is added up in another order


def test_outputs_that_are_kept_do_not_change() -> None:
    frozen = network().eval()
    run = NetworkPass(frozen, ForwardMode(graphed=True), frozen=True, images=4)
    first = run(batch(0))
    kept = first.logits.clone()
    second = run(batch(1))
    assert torch.equal(first.logits, kept)
    assert not torch.equal(second.logits, kept)
    assert not second.logits.requires_grad


def test_recording_leaves_statistics_and_draws_alone() -> None:
    learning = network(dropout=0.5)
    before = deepcopy(learning)
    torch.manual_seed(3)
    GraphedPass(learning, learning, batch(0))
    drawn = torch.rand(2, device=DEVICE)
    torch.manual_seed(3)
    assert same_state(learning, before)
    assert torch.equal(drawn, torch.rand(2, device=DEVICE))


def test_a_smaller_batch_and_evaluation_run_too() -> None:
    learning = network()
    run = NetworkPass(learning, ForwardMode(graphed=True), images=4)
    run(batch(0))
    assert run(batch(0, count=3)).logits.shape == (3, 3)
    learning.eval()
    with torch.no_grad():
        assert torch.equal(run(batch(0)).logits, learning(batch(0)).logits)
    learning.train()
    assert run(batch(0)).logits.requires_grad


def test_the_mean_teacher_of_a_step_before_is_not_used() -> None:
    student = network()
    teacher = MeanTeacher(network(seed=1), decay=0.9).to(DEVICE).train()
    run = NetworkPass(teacher, ForwardMode(graphed=True), images=4)
    run(batch(0))
    teacher.update(student, step=5)
    assert torch.equal(run(batch(0)).logits, teacher(batch(0)).logits)


def test_a_backward_pass_after_the_next_forward_pass_is_refused() -> None:
    run = NetworkPass(network(), ForwardMode(graphed=True), images=4)
    first = run(batch(0))
    run(batch(1))
    with pytest.raises(RuntimeError, match="activations of this pass are gone"):
        first.logits.sum().backward()  # type: ignore[no-untyped-call]


def test_a_second_backward_pass_is_refused() -> None:
    logits = NetworkPass(network(), ForwardMode(graphed=True), images=4)(batch(0)).logits
    logits.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="gradients were computed before"):
        logits.sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("draw", "whose"),
    [(lambda: torch.rand(1), "torch's"), (random.random, "Python's"), (np.random.rand, "numpy's")],
)
def test_draws_on_the_host_are_refused_and_taken_back(draw: Callable[[], object], whose: str) -> None:
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    with pytest.raises(UnrecordableError, match=rf"on the host \({whose}\)"), nothing_drawn_on_the_host():
        draw()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]


def test_an_error_of_the_network_stays_its_own() -> None:
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        NetworkPass(network(), ForwardMode(graphed=True), images=4)(batch(0)[:, :2])
    assert not isinstance(caught.value, PreceptorError)


def test_without_a_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_pass, "has_gpu", lambda: False)
    with pytest.raises(PreceptorError, match=r"float32\+graphed needs a GPU"):
        NetworkPass(classifier(), ForwardMode(graphed=True))


def test_several_processes_are_refused() -> None:
    with pytest.raises(PreceptorError, match="for one process, not 2"):
        model([CE], PAIR).use_modes({"student": ForwardMode(graphed=True)}, world=2)


def test_a_machine_without_it_is_known_before_anything_is_trained(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_pass, "has_gpu", lambda: False)
    settings = {**TINY, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    settings |= {"networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}
    with pytest.raises(PreceptorError, match="needs a GPU"):
        train(
            "kd",
            data="phantom",
            root=phantom_root,
            out=tmp_path / "run",
            overrides={**settings, "precision": {"student": "float32+graphed"}},
        )
    assert not (tmp_path / "run").exists()


def test_a_study_and_a_search_are_refused_before_their_first_training(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_pass, "has_gpu", lambda: False)
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(PLAN))
    graphed = {"precision": "float32+graphed"}
    with pytest.raises(PreceptorError, match="needs a GPU"):
        study(file, root=phantom_root, out=tmp_path / "study", overrides=graphed, workers=1)
    assert not (tmp_path / "study" / "cells").exists()
    settings = [
        "networks.student.backbone=test_resnet",
        "networks.student.pretrained=none",
        "precision=float32+graphed",
    ]
    with pytest.raises(PreceptorError, match="needs a GPU"):
        tune(
            "student",
            [*settings, "image_size=32", "optimiser.lr=log(0.001,0.01)"],
            data="phantom",
            root=phantom_root,
            out=tmp_path / "search",
            trials=1,
        )
    assert not (tmp_path / "search" / "trials").exists()


def test_a_pass_is_not_compiled_and_graphed() -> None:
    with pytest.raises(ValueError, match="not both"):
        ForwardMode.parse("float32+compiled+graphed")


def choose(pair: DistillationModel) -> dict[str, mode_choice.ModeChoice]:
    features = {name: pair.feature_points(name) for name in pair.networks}
    images = {name: value.to(DEVICE) for name, value in views(pair).items()}
    return mode_choice.choose_modes(pair.recipe, dict(pair.networks), images, features, steps=1, graphs=True)  # type: ignore[arg-type]


def test_auto_measures_graphs_and_takes_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = {"float32": 4.0, "bf16": 3.0, "float32+graphed": 1.0, "bf16+graphed": 2.0}
    monkeypatch.setattr(
        mode_choice, "_seconds", lambda works: {mode: (work(), pace[mode])[1] for mode, work in works.items()}
    )
    choice = choose(model([CE, KL], PAIR))["student"]
    assert set(choice.seconds) == set(pace)
    assert choice.errors["float32+graphed"] < 1e-6
    assert str(choice.mode) == "float32+graphed"


def test_auto_ends_where_a_recording_was_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(work: object) -> Recorded:
        raise BrokenRecordingError("the recording of CUDA graphs was broken off")

    monkeypatch.setattr(graphed_pass, "cuda_recorder", lambda: failing)
    with pytest.raises(BrokenRecordingError):
        choose(model([CE, KL], PAIR))


@pytest.mark.filterwarnings("ignore:precision. (student|teacher) cannot run")
def test_auto_goes_on_without_what_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(work: object) -> Recorded:
        raise UnrecordableError("a pass that reads a value back cannot be recorded")

    monkeypatch.setattr(graphed_pass, "cuda_recorder", lambda: failing)
    with pytest.warns(UserWarning, match=r"student cannot run in float32\+graphed here"):
        choice = choose(model([CE, KL], PAIR))["student"]
    assert set(choice.refused) >= {"float32+graphed", "bf16+graphed"}
    assert not choice.mode.graphed


@pytest.mark.parametrize("recipe", ["crckd", "ssd_kd"])
def test_a_run_is_the_same(recipe: str, phantom_root: Path, tmp_path: Path) -> None:
    settings = {**TINY, "networks.student.backbone": "test_efficientnet", "networks.student.pretrained": "none"}
    if recipe == "ssd_kd":
        settings |= {
            "networks.teacher.backbone": "test_resnet",
            "networks.teacher.pretrained": "none",
            "head_epochs": 1,
        }
    with without_reports():
        runs = [
            train(
                recipe,
                data="phantom",
                root=phantom_root,
                out=tmp_path / mode,
                overrides={**settings, "precision": mode},
            )
            for mode in ("float32", "float32+graphed")
        ]
    ordinary, graphed = (torch.load(run.path / "checkpoints/last.pt", weights_only=False)["model"] for run in runs)
    assert ordinary.keys() == graphed.keys()
    assert all(torch.equal(ordinary[key], graphed[key]) for key in ordinary)
