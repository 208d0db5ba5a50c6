"""The run directory, read back: runs of this version and of format 1, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from fake_run import write_two
from preceptor.report.run_report import write_report
from preceptor.runs.directory import Run
from preceptor.runs.schema import FORMAT, Metrics
from preceptor.utils.errors import PreceptorError

FORMAT_1 = Path(__file__).parent.parent / "fixtures" / "run_format_1"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(write_two(tmp_path)[1])


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_run_of_format_1_is_read_in_all_its_parts() -> None:
    run = Run(FORMAT_1)
    assert run.finished
    assert run.recipe.views["student"].extra_transforms == ["rot90", "rot180", "rot270"]
    assert run.environment.format == 1
    assert run.environment.data.images == len(run.split) == 160
    assert list(run.history["epoch"]) == [1, 2]
    student = run.metrics.networks["student"]
    assert (student.role, student.backbone) == ("trained", "test_efficientnet")
    table = run.predictions.query("part == 'test' and network == 'student'")
    assert student.test["accuracy"] == pytest.approx((table["target"] == table["predicted"]).mean())


def test_a_report_is_written_of_format_1(tmp_path: Path) -> None:
    assert "SSD-KD" in write_report([FORMAT_1], tmp_path / "report.html").read_text()


def test_what_was_read_is_written_again_as_it_was(tmp_path: Path) -> None:
    run = Run(shutil.copytree(FORMAT_1, tmp_path / "run"))
    before = {name: json.loads((run.path / name).read_text()) for name in ("metrics.json", "environment.json")}
    run.write_metrics(run.metrics)
    run.write_environment(run.environment)
    for name, content in before.items():
        assert json.loads((run.path / name).read_text()) == content


def test_each_file_is_read_once(run: Run) -> None:
    first = run.metrics, run.environment, run.recipe, run.split, run.history, run.predictions
    for path in run.path.iterdir():
        path.write_text("")
    assert all(a is b for a, b in zip(
        first, (run.metrics, run.environment, run.recipe, run.split, run.history, run.predictions), strict=True
    ))  # fmt: skip


def test_paths_may_be_text(run: Run) -> None:
    assert Run(str(run.path)) == run  # type: ignore[arg-type]


def test_a_finished_run_shows_its_metrics(run: Run) -> None:
    value = f"{run.metrics.networks['student'].test['balanced_accuracy']:.3f}"
    assert re.search(rf"balanced accuracy +\S+ +{re.escape(value)}", repr(run))
    assert value in run._repr_html_()


def test_other_runs_say_how_they_stand(run: Run, tmp_path: Path) -> None:
    (run.path / "metrics.json").unlink()
    assert repr(run).endswith("unfinished")
    assert repr(Run(tmp_path / "none")).endswith("not a run yet")
    assert "metrics" not in run._repr_html_()


@pytest.mark.parametrize("name", ["metrics.json", "environment.json"])
@pytest.mark.parametrize("number", [0, FORMAT + 1, "one"])
def test_another_format_is_refused(run: Run, name: str, number: object) -> None:
    edited(run.path / name, format=number)
    with pytest.raises(PreceptorError, match=rf"{name}: the format is {number!r}"):
        _ = getattr(run, name.removesuffix(".json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as JSON"),
        (b'{"format": 1, "task"', "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[]", "holds a list"),
        (b'{"name": "a package.json"}', "lacks"),
    ],
)
@pytest.mark.parametrize("name", ["metrics.json", "environment.json"])
def test_a_cut_or_foreign_file_is_one_error(run: Run, name: str, content: bytes, message: str) -> None:
    (run.path / name).write_bytes(content)
    with pytest.raises(PreceptorError, match=message) as caught:
        _ = getattr(run, name.removesuffix(".json"))
    assert str(run.path / name) in str(caught.value)
    assert "remove" in caught.value.remedy


def test_a_wrong_value_is_named_by_its_key(run: Run) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text())
    metrics["networks"]["student"]["test"] = 0.5
    edited(run.path / "metrics.json", networks=metrics["networks"])
    with pytest.raises(PreceptorError, match=r"metrics\.json: networks\.student\.test is '0\.5'"):
        _ = run.metrics


def test_unknown_keys_are_kept(run: Run) -> None:
    edited(run.path / "metrics.json", a_later_addition=[1, 2])
    run.write_metrics(run.metrics)
    assert json.loads((run.path / "metrics.json").read_text())["a_later_addition"] == [1, 2]


def test_what_is_not_given_is_not_written() -> None:
    result = {"role": "trained", "backbone": "resnet18", "test": {"accuracy": 0.5}}
    metrics = {"format": FORMAT, "task": "classification", "protocol": "paper", "classes": ["a", "b"], "epochs": 1}
    content = {**metrics, "epochs_run": 1, "training_seconds": 2.0, "networks": {"student": result}}
    assert Metrics.model_validate(content).plain() == content
