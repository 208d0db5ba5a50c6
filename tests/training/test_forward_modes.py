"""Modes of passes: float32 weights and losses whatever the mode, and a choice that keeps to its tolerance."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from pathlib import Path

import pytest
import torch

from preceptor.networks.folding import relative_error
from preceptor.networks.network_file import save_network
from preceptor.recipe import ForwardMode
from preceptor.training import mode_choice, network_pass
from preceptor.training.mode_choice import choose_modes
from preceptor.training.module import DistillationModel
from preceptor.training.network_pass import NetworkPass, has_compiler
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from small_model import CE, KL, STUDENT, losses, model, views
from small_networks import classifier, images


@pytest.fixture
def pair(tmp_path: Path) -> DistillationModel:
    """A student and a frozen teacher, which the last objective reads a stage of."""
    save_network(classifier(seed=3), tmp_path / "teacher.safetensors")
    teacher = {"run": str(tmp_path / "teacher.safetensors"), "frozen": True}
    at = {"loss": "at", "from": "teacher", "to": "student", "features": ["stage3"]}
    same = {"student": "plain", "teacher": {"same_as": "student"}}
    return model([CE, KL, at], {"student": STUDENT, "teacher": teacher}, views=same)


@pytest.mark.parametrize("mode", ["float32+folded", "bf16", "bf16+folded"])
def test_a_frozen_network_gives_float32_near_its_own_outputs(mode: str) -> None:
    network = classifier().eval()
    x = images(4)
    with torch.no_grad():
        expected = network(x, features=("stage2",))
    output = NetworkPass(network, ForwardMode.parse(mode), frozen=True, features=("stage2",))(x, ("stage2",))
    tolerance = 1e-5 if mode.startswith("float32") else 0.02
    for value, wanted in ((output.logits, expected.logits), (output.features["stage2"], expected.features["stage2"])):
        assert value.dtype == torch.float32
        assert not value.requires_grad
        assert relative_error(value, wanted) < tolerance
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_a_network_that_learns_in_bf16_keeps_float32_weights_and_gradients() -> None:
    network = classifier()
    run = NetworkPass(network, ForwardMode("bf16"))
    run(images(4)).logits.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.dtype == torch.float32 for gradient in gradients)


def test_losses_are_float32_in_every_mode(pair: DistillationModel) -> None:
    before = losses(pair)
    pair.use_modes({"student": ForwardMode("bf16"), "teacher": ForwardMode("bf16", folded=True)})
    after = losses(pair)
    assert {loss.dtype for loss in after.values()} == {torch.float32}
    assert any(not torch.equal(after[name], before[name]) for name in after)
    for name in after:
        torch.testing.assert_close(after[name], before[name], rtol=0.05, atol=0.05)


def _choose(pair: DistillationModel, **settings: float) -> dict[str, mode_choice.ModeChoice]:
    features = {name: pair.feature_points(name) for name in pair.networks}
    return choose_modes(pair.recipe, dict(pair.networks), views(pair), features, steps=1, **settings)  # type: ignore[arg-type]


def test_every_mode_is_timed_and_nothing_of_the_networks_changes(pair: DistillationModel) -> None:
    before = {key: value.clone() for key, value in torch.nn.Module.state_dict(pair).items()}
    state = torch.get_rng_state()
    choices = _choose(pair)
    assert set(choices["student"].seconds) == {"float32", "bf16"}
    assert set(choices["teacher"].seconds) == {"float32", "bf16", "float32+folded", "bf16+folded"}
    assert all(choice.errors["float32"] == 0 for choice in choices.values())
    after = torch.nn.Module.state_dict(pair)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(parameter.grad is None for parameter in pair.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_fastest_mode_that_agrees_is_taken(pair: DistillationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = {"float32": 1.0, "bf16": 0.3, "float32+folded": 0.9, "bf16+folded": 0.2}
    monkeypatch.setattr(mode_choice, "_seconds", lambda works: {name: paces[name] for name in works})
    fast = _choose(pair)
    assert str(fast["teacher"].mode) == "bf16+folded"
    assert str(fast["student"].mode) == "bf16"
    exact = _choose(pair, tolerance=1e-4)
    assert str(exact["teacher"].mode) == "float32+folded"
    assert exact["teacher"].refused == ("bf16", "bf16+folded")
    assert str(exact["student"].mode) == "float32"
    assert str(_choose(pair, tolerance=0.0)["teacher"].mode) == "float32"


def test_a_choice_says_what_was_refused_and_why() -> None:
    seconds = {"float32": 1.0, "bf16": 0.5, "bf16+folded": 0.4}
    errors = {"float32": 0.0, "bf16": 0.0412, "bf16+folded": math.inf, "bf16+graphed": math.inf}
    choice = mode_choice.ModeChoice(ForwardMode(), seconds, errors, ("bf16", "bf16+folded", "bf16+graphed"))
    assert choice.in_words("student") == (
        "precision of student: float32, no other that agrees saves enough time; refused: "
        "bf16 (error 0.041, allowed 0.03), bf16+folded (no finite output), bf16+graphed (failed)"
    )


def test_a_mode_that_saves_next_to_nothing_is_not_taken(
    pair: DistillationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode_choice, "_seconds", lambda works: {name: 1 - 0.01 * i for i, name in enumerate(works)})
    assert {str(choice.mode) for choice in _choose(pair).values()} == {"float32"}


def test_compiling_is_tried_where_a_long_run_repays_it(
    pair: DistillationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda network, **settings: tried.append("compiled") or network)
    monkeypatch.setattr(mode_choice, "has_compiler", lambda: True)
    monkeypatch.setattr(
        mode_choice, "_seconds", lambda works: {name: 0.5 if "compiled" in name else 1.0 for name in works}
    )
    assert not tried
    assert {str(choice.mode) for choice in _choose(pair).values()} == {"float32"}  # one step is left
    monkeypatch.setattr(mode_choice, "COMPILE_FROM", 0.5)
    assert {str(choice.mode) for choice in _choose(pair).values()} == {"float32+compiled"}
    monkeypatch.setattr(mode_choice, "has_compiler", lambda: False)
    assert {str(choice.mode) for choice in _choose(pair).values()} == {"float32"}


def test_a_compiler_that_fails_costs_nothing_but_its_mode(
    pair: DistillationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(network: object, **settings: object) -> None:
        raise RuntimeError("file too short")

    monkeypatch.setattr(torch, "compile", failing)
    monkeypatch.setattr(mode_choice, "COMPILE_FROM", 0.0)
    monkeypatch.setattr(mode_choice, "has_compiler", lambda: True)
    monkeypatch.setattr(mode_choice, "_seconds", lambda works: dict.fromkeys(works, 1.0))
    with pytest.warns(PreceptorWarning, match=r"cannot run in float32\+compiled here"):
        choices = _choose(pair)
    assert {str(choice.mode) for choice in choices.values()} == {"float32"}
    assert choices["teacher"].refused == ("float32+compiled",)
    assert choices["teacher"].in_words("teacher").endswith("; refused: float32+compiled (failed)")


@pytest.mark.parametrize(
    ("gpu", "variable", "default", "missing"),
    [
        (False, "CXX", "g++", "this machine has no (g|clang)"),
        (True, "CC", "gcc", "this machine has no gcc and no clang"),
    ],
)
def test_compiling_without_a_compiler_is_refused(
    gpu: bool, variable: str, default: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch would call counts: the one that a variable names, and no other beside it."""
    compiler = tmp_path / ("clang++" if sys.platform == "darwin" and not gpu else default)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(network_pass, "has_triton", lambda: True)
    with pytest.raises(PreceptorError, match=f"needs a compiler, and {missing}"):
        NetworkPass(classifier(), ForwardMode(compiled=True))
    compiler.touch(0o755)
    assert has_compiler()
    monkeypatch.setenv(variable, "/nowhere/c++-99")
    with pytest.raises(PreceptorError, match=rf"the environment variable {variable} names, '/nowhere/c\+\+-99'"):
        NetworkPass(classifier(), ForwardMode(compiled=True))
    assert not has_compiler()


def test_a_compiler_that_torch_does_not_look_for_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "c++").touch(0o755)
    assert not has_compiler()
    monkeypatch.setenv("CXX", "c++")
    assert has_compiler()


def test_remarks_of_the_compiler_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """As torch makes them while it compiles: on a machine with CUDA's toolkit and no GPU, and on one with a GPU."""
    log = logging.getLogger("torch.utils.cpp_extension")

    def compiled(module: torch.nn.Module, **settings: object) -> object:
        log.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr/local")
        log.warning("no disk")
        warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication available but not", stacklevel=1)
        warnings.warn("no memory", stacklevel=1)
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(network_pass, "missing_compiler", lambda: "")
    monkeypatch.setattr(log, "propagate", True)
    NetworkPass(classifier(), ForwardMode(compiled=True))
    assert caplog.messages == ["no disk"]
    assert [str(warning.message) for warning in recwarn] == ["no memory"]


def test_a_compiled_network_runs_a_smaller_batch_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network, sizes = classifier().eval(), []

    def compiled(module: torch.nn.Module, **settings: object) -> object:
        return lambda x: sizes.append(len(x)) or module(x)  # type: ignore[func-returns-value]

    monkeypatch.setattr(torch, "compile", compiled)
    run = NetworkPass(network, ForwardMode(compiled=True), images=4)
    run(images(4))
    run(images(3))
    assert sizes == [4]
