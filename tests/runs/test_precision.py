"""``precision`` of a run: what was chosen is written down, kept on resume, and repeated by naming it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
from lightning_fabric import Fabric

from conftest import TINY, without_reports
from preceptor import resume, train
from preceptor.api.completion import continue_run
from preceptor.recipe import ForwardMode, Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs import forward_modes
from preceptor.runs.dependencies import plan_run, stage_recipe
from preceptor.runs.directory import Run
from preceptor.runs.schema import ModeRecord
from preceptor.training import mode_choice
from preceptor.training.mode_choice import ModeChoice
from preceptor.utils.errors import PreceptorWarning
from small_recipe import refused

FORMAT_1 = Path(__file__).parent.parent / "fixtures" / "run_format_1"
TEACHER = {"networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
SETTINGS = {
    **TINY,
    "networks.student.backbone": "test_efficientnet",
    "networks.student.pretrained": "none",
}
CHOSEN = {"teacher": "bf16+folded", "student": "float32"}
#: Of the recipe `student` in version 0.2, on "data", fold 0, in one process.
EARLIER = "5e56492ec753d25400fe4e68af016e5e3114bc3e271d18a5219b5fafb875e03c"


def start(root: Path, out: Path, changes: dict[str, Any]) -> Run:
    own = {} if "networks.teacher.run" in changes else TEACHER
    return train("kd", data="phantom", root=root, out=out, overrides={**SETTINGS, **own, **changes})


def choice(mode: str) -> ModeChoice:
    return ModeChoice(
        ForwardMode.parse(mode), {"float32": 0.2, mode: 0.1}, {"float32": 0.0, mode: 0.004, "bf16": inf}, ("bf16",)
    )


def measured(
    recipe: Recipe, networks: Mapping[str, object], *rest: object, **settings: object
) -> dict[str, ModeChoice]:
    """What a machine would choose on which frozen networks are fast in bf16."""
    return {name: choice("bf16+folded" if recipe.networks[name].frozen else "float32") for name in networks}


def test_a_choice_is_recorded_kept_and_repeated(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode_choice, "choose_modes", measured)
    run = start(phantom_root, tmp_path / "auto", {"precision": "auto"})
    record = Run(run.path).environment
    assert record.precision == "auto"
    assert {name: mode.mode for name, mode in record.modes.items()} == CHOSEN
    assert record.modes["teacher"].errors == {"float32": 0.0, "bf16+folded": 0.004, "bf16": None}
    assert record.modes["teacher"].seconds == {"float32": 0.2, "bf16+folded": 0.1}
    assert record.precision_in_use == "auto (teacher bf16+folded, student float32)"
    assert "precision auto (teacher bf16+folded, student float32)" in run.report.read_text(encoding="utf-8")
    assert record.modes["teacher"].tolerance == mode_choice.TOLERANCE

    monkeypatch.setattr(mode_choice, "choose_modes", None)  # whoever measures again fails
    taught = {"networks.teacher.run": str(run.path / "teacher")}
    with without_reports():
        named = start(phantom_root, tmp_path / "named", {"precision": CHOSEN, **taught})
        plain = start(phantom_root, tmp_path / "plain", taught)
    assert named.environment.precision == "teacher bf16+folded, student float32"
    assert losses(named) == losses(run) != losses(plain)

    for file in ("metrics.json", "checkpoints/last.pt", "checkpoints/best.pt", "history.csv"):
        (run.path / file).unlink()
    again = continue_run(run)
    assert {name: mode.mode for name, mode in again.environment.modes.items()} == CHOSEN
    assert losses(again) == losses(named)


def test_a_choice_is_said_in_a_line_of_each_network_and_not_again(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mode_choice, "choose_modes", measured)
    changes = {**SETTINGS, **TEACHER, "precision": "auto"}
    with without_reports():
        run = train("kd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes, progress=True)
    assert lines_on_precision(capsys) == [
        "kd  precision of student: float32, no other that agrees saves enough time; refused: bf16 (failed)",
        "kd  precision of teacher: bf16+folded, 2.0 times as fast as float32; refused: bf16 (failed)",
        "teacher  precision of teacher: float32, no other that agrees saves enough time; refused: bf16 (failed)",
    ]
    monkeypatch.setattr(mode_choice, "choose_modes", None)  # whoever measures again fails
    for file in ("metrics.json", "checkpoints/last.pt", "checkpoints/best.pt", "history.csv"):
        (run.path / file).unlink()
    with without_reports():
        resume(run.path, progress=True)
    assert not lines_on_precision(capsys)


def lines_on_precision(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return sorted(line for line in capsys.readouterr().out.splitlines() if "  precision of " in line)


def losses(run: Run) -> list[float]:
    return [float(value) for value in run.history["loss"]]


def test_a_run_from_before_there_were_modes_goes_on_in_its_own(tmp_path: Path) -> None:
    """``auto`` meant float32 without a GPU, and the run says so."""
    folder = Run(shutil.copytree(FORMAT_1, tmp_path / "run"))
    assert folder.recipe.precision == "auto"
    fabric, nothing = Fabric(accelerator="cpu", devices=1), cast(Any, None)
    modes = forward_modes.settle_modes(fabric, folder, nothing, nothing, print)
    assert modes == dict.fromkeys(folder.recipe.networks, ForwardMode("float32"))


def test_a_run_that_was_measured_on_a_gpu_goes_on_without_one(tmp_path: Path) -> None:
    folder = Run(shutil.copytree(FORMAT_1, tmp_path / "run"))
    record = ModeRecord(mode="bf16+graphed", seconds={}, errors={}, refused=[], tolerance=0.03)
    modes = dict.fromkeys(folder.recipe.networks, record)
    folder.write_environment(folder.environment.model_copy(update={"modes": modes}))
    fabric, nothing = Fabric(accelerator="cpu", devices=1), cast(Any, None)
    with pytest.warns(PreceptorWarning, match="ran as CUDA graphs where the modes were measured"):
        here = forward_modes.settle_modes(fabric, Run(folder.path), nothing, nothing, print)
    assert here == dict.fromkeys(folder.recipe.networks, ForwardMode("bf16"))


def test_modes_of_some_networks_are_not_handed_on() -> None:
    """The teacher of another recipe learns, and would be measured or named there."""
    base = {key: value for key, value in SETTINGS.items() if key.startswith("networks.")}
    assert stage_recipe(resolve("kd", {**base, "precision": CHOSEN}), "teacher").precision == "float32"
    assert stage_recipe(resolve("kd", {**base, "precision": "bf16"}), "teacher").precision == "bf16"


def test_the_identity_of_earlier_runs_is_kept() -> None:
    """They called float32 auto; studies know their finished cells by the hash."""
    identities = {
        name: plan_run(resolve("student", {"precision": name}), 0, "data", 1).identity
        for name in ("float32", "bf16", "auto")
    }
    assert len(set(identities.values())) == 3
    assert identities["float32"] == EARLIER


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ({"tutor": "bf16"}, "precision.tutor: there is no network 'tutor'"),
        ({"student": "bf16+folded"}, "leave +folded out"),
        ({"teacher": "fp16"}, "expected float32 or bf16"),
        ("bf16+folded", "as in precision='{teacher: bf16+folded}'"),
        ("float32+compiled+graphed", "not both"),
        ({"teacher": "bf16+folded+folded"}, "expected float32 or bf16"),
    ],
)
def test_modes_that_cannot_be_are_refused(precision: dict[str, str] | str, message: str) -> None:
    refused(lambda: resolve("kd", {"precision": precision}), message)
