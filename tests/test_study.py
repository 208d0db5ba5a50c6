"""Studies: what plans may say, which cells they make, and that each runs once, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from conftest import TINY
from preceptor.data.catalog import Catalog
from preceptor.data.phantom import CLASSES, Phantom, draw
from preceptor.data.split import make_split
from preceptor.errors import PreceptorError
from preceptor.study.cells import expand
from preceptor.study.conduct import Study, conduct, open_study, threads_before
from preceptor.study.engines import Engine
from preceptor.study.engines.local import LocalEngine
from preceptor.study.plan import Plan, read_plan, shipped, to_yaml, validate
from preceptor.study.settle import Asked, settle
from preceptor.study.show import estimate, matrix_table, result_table
from preceptor.study.work import Outcome, Task, work
from preceptor.training.api import train
from test_resume import epochs_done, wait_for

SETTINGS = {
    **TINY,
    "epochs": 1,
    "networks.student.backbone": "test_efficientnet",
    "networks.student.pretrained": "none",
    "networks.teacher.backbone": "test_resnet",
    "networks.teacher.pretrained": "none",
}
PLAN: dict[str, Any] = {
    "name": "tiny",
    "data": {"reader": "phantom"},
    "folds": [0],
    "set": SETTINGS,
    "rows": [{"name": "alone", "recipe": "student"}, {"name": "KD", "recipe": "kd"}],
    "baseline": "alone",
    "layout": {"columns": {"accuracy": "ACC"}},
}


def plan(**changes: Any) -> Plan:
    said = {**PLAN, **changes}
    if said["set"].keys() >= SETTINGS.keys() and {row.get("recipe") for row in said["rows"]} == {"student"}:
        said["set"] = {key: value for key, value in said["set"].items() if "teacher" not in key}
    return validate(said, "plan tiny")


def refusal(**changes: Any) -> str:
    with pytest.raises(PreceptorError) as refused:
        expand(settle(plan(**changes)), "data", Path("nowhere"))
    return str(refused.value)


class InThisProcess:
    """An engine without processes: what is asked of the study does not depend on where cells run."""

    workers = 1

    def __init__(self, *, fails: str = "", dies_after: int = 1000) -> None:
        self.fails, self.dies_after = fails, dies_after
        self.queue: list[Task] = []
        self.worked: list[str] = []

    def submit(self, task: Task) -> None:
        self.queue.append(task)

    def results(self, seconds: float) -> list[Outcome]:
        if len(self.worked) == self.dies_after:
            raise KeyboardInterrupt
        task = self.queue.pop(0)
        self.worked.append(task.path.name.rsplit("-", 1)[0])
        if self.fails and self.worked[-1].startswith(self.fails):
            return [Outcome(task.identity, "failed", "no luck")]
        return [work(task)]

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.queue.clear()


def run(engine: Engine, root: Path, out: Path, **changes: Any) -> Study:
    study = open_study(settle(plan(**changes), Asked(root=root)), out)
    conduct(study, lambda: engine, 1)
    return study


def table(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "cells.json").read_text())


# --- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"basline": "alone"}, "unknown key 'basline'. Did you mean 'baseline'?"),
        ({"rows": [{"name": "alone", "recipe": "student", "sett": {}}]}, "unknown key 'rows.alone.sett'"),
        ({"folds": "all"}, "'folds' is 'all'"),
        ({"paper": [{"table": "T", "data": "phantom", "rows": {"alone": {"accuracy": 84.3}}}]}, "less than or equal to 1"),
        ({"baseline": "Alone"}, "Did you mean 'alone'?"),
        ({"rows": [*PLAN["rows"], PLAN["rows"][0]]}, "alone occurs twice"),
        ({"rows": [{"name": "alone"}]}, "needs either a recipe, or teacher: true"),
        ({"rows": [{"name": "alone", "teacher": True}]}, "the plan has none"),
        ({"set": {"seed": 3}}, "set.seed: is the plan's own; see seeds"),
        ({"set": {"epohcs": 3}}, "unknown key 'epohcs'. Did you mean 'epochs'?"),
        ({"set": {"networks.studnet.backbone": "resnet18"}}, "Did you mean 'student'?"),
        ({"set": {**SETTINGS, "epochs": "many"}}, "row alone: recipe student: 'epochs' is 'many'"),
        ({"rows": [{"name": "alone", "recipe": "studnet"}]}, "Did you mean 'student'?"),
        ({"rows": [{"name": "alone", "recipe": "student", "networks": ["x"]}]}, "row alone: networks: student has no"),
        ({"folds": [5]}, "fold 5: the recipe's split has 5 folds"),
        ({"rows": [{"name": "alone", "recipe": "kd", "set": {"objectives.kl.temprature": 3}}]}, "row alone: "),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_by_its_key(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(**changes)


def test_a_plan_from_a_file_finds_recipes_beside_it(tmp_path: Path) -> None:
    from preceptor.recipes.resolve import resolve
    from preceptor.recipes.resolve import to_yaml as recipe_yaml

    (tmp_path / "mine.yaml").write_text(recipe_yaml(resolve("student")))
    said = {**PLAN, "rows": [{"name": "alone", "recipe": "mine.yaml"}], "set": {}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(said))
    settled = settle(read_plan(str(tmp_path / "plan.yaml")), Asked(overrides={"epochs": 7}))
    assert settled.rows[0].recipe == str(tmp_path / "mine.yaml")
    assert settled.rows[0].set == {"epochs": 7}
    with pytest.raises(PreceptorError, match="Did you mean 'crckd_table1'"):
        read_plan("crckd_tabel1")


def test_settling() -> None:
    """Settings go where they mean something; the row's own over the plan's, quick over both, the command over all."""
    whole = plan(
        rows=[
            {"name": "alone", "recipe": "student", "set": {"epochs": 5, "batch_size": 8}},
            {"name": "KD", "recipe": "kd"},
            {"name": "more", "recipe": "kd"},
        ],
        set={"epochs": 4, "temperature": 3.0, "networks.teacher.backbone": "test_resnet"},
        folds=3,
        paper=[{"table": "Table 1", "data": "phantom", "rows": {"KD": {"accuracy": 0.9}}}],
        quick={"rows": ["alone", "KD"], "folds": [0], "set": {"batch_size": 16}},
    )
    settled = settle(whole, Asked(overrides={"epochs": 2, "seeds": [7, 8]}))
    assert settled.row("alone").set == {"batch_size": 8, "split.folds": 3, "epochs": 2}
    assert settled.row("KD").set["temperature"] == 3.0
    assert (settled.folds, settled.seeds, settled.set, settled.is_quick) == ([0, 1, 2], [7, 8], {}, False)
    assert settled.row("KD").networks == ["student"]
    assert settle(whole, Asked(reader="ham10000", root=Path("/h"))).paper == []
    quick = settle(whole, Asked(quick=True))
    assert [row.name for row in quick.rows] == ["alone", "KD"]
    assert quick.row("alone").set["batch_size"] == 16
    assert (quick.folds, quick.paper, quick.is_quick) == ([0], [], True)
    for one in (settled, quick):  # a settled plan is a plan, and settling it again changes nothing
        assert settle(validate(yaml.safe_load(to_yaml(one)), "again")) == one
    assert "quick: true" in to_yaml(quick)
    with pytest.raises(PreceptorError, match="no quick section"):
        settle(plan(), Asked(quick=True))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_plans_expand(name: str) -> None:
    """At full size and quick, with one fold for the sake of time; all who need a teacher share one."""
    for quick in (False, True):
        settled = settle(read_plan(name), Asked(quick=quick, overrides={"folds": [0]}))
        matrix = expand(settled, "data", Path("nowhere"))
        assert len(matrix.cells) == len(settled.rows)
        parts = Counter(matrix.jobs[key].recipe.name for key in matrix.shared)
        assert (
            parts == {"crckd": {}, "ssdkd": {"teacher": 1, "sskd_head": 1}, "kdml": {"teacher": 1}}[name.split("_")[0]]
        )
        splits = [job.recipe.split for job in matrix.jobs.values()]
        assert all(split == splits[0] for split in splits)
        if quick:
            assert settled.is_quick
            assert settled.data.reader == "phantom"
            for job in matrix.jobs.values():
                assert {one.pretrained for one in job.recipe.networks.values()} == {"none"}
            knobs = Phantom(**settled.data.options)
            catalog = Catalog("phantom", Path("nowhere"), _phantom_rows(knobs), CLASSES)
            for fold in read_plan(name).quick.folds:  # type: ignore[union-attr]
                make_split(catalog, fold=fold, **splits[0].model_dump())  # enough of every class


@pytest.mark.parametrize("path", sorted(Path("benchmarks/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_plans_of_the_measurements_share_one_teacher(path: Path) -> None:
    overrides = {"networks.teacher.pretrained": "none"}  # the weights are not in the repository
    settled = settle(read_plan(str(path)), Asked(overrides=overrides))
    matrix = expand(settled, "data", Path("nowhere"))
    assert [matrix.jobs[key].recipe.name for key in matrix.shared].count("teacher") == 1
    budgets = {job.recipe.epochs for key, job in matrix.jobs.items() if matrix.jobs[key].recipe.name != "sskd_head"}
    assert len(budgets) == 1


def test_the_readme_names_plans_that_exist() -> None:
    from test_docs import blocks

    named = [line.split()[2] for code in blocks("README.md", "bash") for line in code.splitlines() if " study " in line]
    assert {one for one in named if not one.endswith(".yaml")} <= set(shipped())
    assert len(named) > 3
    (example,) = [code for code in blocks("README.md", "yaml") if "baseline" in code]
    assert [row.name for row in settle(validate(yaml.safe_load(example), "README.md")).rows] == [
        "alone",
        "KD",
        "SSD-KD",
    ]


def _phantom_rows(knobs: Phantom) -> pd.DataFrame:
    """What the phantom's table will say, before an image is drawn."""
    lesions = draw._plan(knobs)
    rows = [(name, lesion.label, str(lesion.number)) for lesion in lesions for name in lesion.images]
    return pd.DataFrame(rows, columns=["id", "label", "group"])


# --- cells ---------------------------------------------------------------------------------------------------------


def identities(fingerprint: str = "data", **changes: Any) -> dict[str, str]:
    matrix = expand(settle(plan(**changes)), fingerprint, Path("nowhere"))
    return {f"{cell.row.name}/{cell.fold}/{cell.seed}": cell.job.identity for cell in matrix.cells}


def test_identity_is_what_decides_on_the_result() -> None:
    before = identities()
    rows = [{"name": "B1", "recipe": "student"}, {"name": "KD", "recipe": "kd", "set": {"temperature": 4.0}}]
    renamed = identities(rows=rows, baseline="B1", title="Another")
    assert renamed["B1/0/0"] == before["alone/0/0"], "names for people decide on nothing"
    assert renamed["KD/0/0"] != before["KD/0/0"]
    of_teacher = identities(set={**SETTINGS, "networks.teacher.backbone": "test_efficientnet"})
    assert of_teacher["alone/0/0"] == before["alone/0/0"]
    assert of_teacher["KD/0/0"] != before["KD/0/0"], "a cell depends on what its teacher is"
    assert set(identities("other").values()).isdisjoint(before.values())
    more = identities(folds=[0, 1], seeds=[0, 1])
    assert len(set(more.values())) == 8
    assert more.items() >= before.items()


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    def with_weights(path: Path) -> str:
        rows = [{"name": "alone", "recipe": "student", "set": {"networks.student.pretrained": str(path)}}]
        return identities(rows=rows)["alone/0/0"]

    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    assert with_weights(one) == with_weights(other)
    other.write_bytes(b"others")
    from preceptor.study.cells import _content

    _content.cache_clear()
    assert with_weights(one) != with_weights(other)


def test_shared_parts() -> None:
    """Heads stand on teachers; the plan's own teacher takes the place of all, and is a row."""
    rows = [*PLAN["rows"], {"name": "SSKD", "recipe": "sskd"}, {"name": "FitNet", "recipe": "fitnet"}]
    matrix = expand(settle(plan(rows=rows, seeds=[0, 1])), "data", Path("out"))
    assert Counter(matrix.jobs[key].recipe.name for key in matrix.shared) == {"teacher": 2, "sskd_head": 2}
    order = list(matrix.jobs)
    for key, job in matrix.jobs.items():
        assert all(order.index(part.identity) < order.index(key) for part in job.parts.values())
    fixed = expand(settle(plan(rows=rows, seeds=[0, 1], teacher_seed=5)), "data", Path("out"))
    assert {fixed.jobs[key].seed for key in fixed.shared} == {5}
    assert len(fixed.shared) == 2
    own = {"recipe": "teacher", "set": {"epochs": 9}}
    taught = settle(plan(rows=[*rows, {"name": "T", "teacher": True}], teacher=own))
    matrix = expand(taught, "data", Path("out"))
    teachers = [job for job in matrix.jobs.values() if job.recipe.name == "teacher"]
    assert [job.recipe.epochs for job in teachers] == [9]
    assert [cell.row.name for cell in matrix.cells if cell.job == teachers[0]] == ["T"]


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def once(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InThisProcess]:
    """A study of three rows, two of which share a teacher, as it ends when nothing happens."""
    out, engine = tmp_path_factory.mktemp("once") / "study", InThisProcess()
    run(engine, phantom_root, out, rows=[*PLAN["rows"], {"name": "FitNet", "recipe": "fitnet"}])
    return out, engine


def test_each_run_once(once: tuple[Path, InThisProcess], phantom_root: Path) -> None:
    out, engine = once
    assert sorted(engine.worked) == ["FitNet-fold0-seed0", "KD-fold0-seed0", "alone-fold0-seed0", "teacher-fold0-seed0"]
    assert [(cell["name"], cell["state"], cell["quick"]) for cell in table(out)] == [
        ("alone", "done", False), ("KD", "done", False), ("FitNet", "done", False)
    ]  # fmt: skip
    for cell in table(out):
        assert (out / cell["run"] / "metrics.json").is_file()
        assert cell["seconds"] > 0
    shared = json.loads((out / "shared.json").read_text())
    assert [one["used_by"] for one in shared] == [["KD, fold 0, seed 0", "FitNet, fold 0, seed 0"]]
    again = InThisProcess(dies_after=0)  # it would be stopped by the first thing that it has to do
    study = run(again, phantom_root, out, rows=[{"name": "B1", "recipe": "student"}, PLAN["rows"][1]], baseline="B1")
    assert [cell["run"].rsplit("-", 1)[0] for cell in table(out)] == [
        "cells/alone-fold0-seed0", "cells/KD-fold0-seed0"
    ]  # fmt: skip
    assert (study.count("done"), estimate(study).said(2)) == (2, "nothing is left to do")
    assert yaml.safe_load((out / "study.yaml").read_text())["threads"] == 1
    rendered = result_table(study)
    assert [column.header for column in rendered.columns] == ["row", "network", "cells", "ACC"]
    with pytest.raises(PreceptorError, match=r"threads is 2; the finished cells in .* had 1"):
        threads_before(out, plan(threads=2))


def test_only_what_changed_runs_again(once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(once[0], tmp_path / "study")
    engine = InThisProcess()
    rows = [PLAN["rows"][0], {"name": "KD", "recipe": "kd", "set": {"temperature": 2.0}}]
    study = run(engine, phantom_root, tmp_path / "study", rows=rows)
    assert engine.worked == ["KD-fold0-seed0"]
    assert study.count("done") == 2


def test_a_cell_is_the_run_that_train_makes(
    once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path
) -> None:
    alone = train("kd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=SETTINGS)
    cell = next(cell for cell in table(once[0]) if cell["name"] == "KD")
    for name in ("predictions.csv", "student.safetensors"):
        assert (alone.path / name).read_bytes() == (once[0] / cell["run"] / name).read_bytes()


def test_failures_are_written_down_while_others_go_on(phantom_root: Path, tmp_path: Path) -> None:
    """A teacher fails: its student cannot start, and says why; the rest is done. Asked again, it is tried again."""
    study = run(InThisProcess(fails="teacher"), phantom_root, tmp_path / "study", seeds=[0])
    alone, taught = table(tmp_path / "study")
    assert (alone["state"], taught["state"]) == ("done", "failed")
    assert taught["error"].startswith("needs shared/teacher-fold0-seed0-")
    assert json.loads((tmp_path / "study" / "shared.json").read_text())[0]["error"] == "no luck"
    assert matrix_table(study).row_count == 2
    engine = InThisProcess(dies_after=0)
    with pytest.raises(KeyboardInterrupt):
        run(engine, phantom_root, tmp_path / "study")
    assert [cell["state"] for cell in table(tmp_path / "study")] == ["done", "pending"]


def test_quick_is_marked(phantom_root: Path, tmp_path: Path) -> None:
    quick = {"set": {"epochs": 1}, "rows": ["alone"]}
    study = open_study(settle(plan(quick=quick), Asked(quick=True, root=phantom_root)), tmp_path / "study")
    with pytest.raises(KeyboardInterrupt):
        conduct(study, lambda: InThisProcess(dies_after=0), 1)
    assert [(cell["state"], cell["quick"]) for cell in table(tmp_path / "study")] == [("pending", True)]
    assert yaml.safe_load((tmp_path / "study" / "study.yaml").read_text())["quick"] is True
    for shown in (matrix_table(study), result_table(study)):
        console = Console(width=200)
        with console.capture() as said:
            console.print(shown)
        assert "(quick: not evidence)" in said.get().splitlines()[0]


def test_a_folder_of_another_study_is_refused(once: tuple[Path, InThisProcess], phantom_root: Path) -> None:
    with pytest.raises(PreceptorError, match="holds the study 'tiny'"):
        open_study(settle(plan(name="other"), Asked(root=phantom_root)), once[0])


# --- engines -------------------------------------------------------------------------------------------------------


def results(out: Path) -> dict[str, bytes]:
    found = {}
    for cell in table(out):
        assert cell["state"] == "done", cell["error"]
        for name in ("predictions.csv", "student.safetensors"):
            found[f"{cell['run']}/{name}"] = (out / cell["run"] / name).read_bytes()
    return found


def local(out: Path, workers: int) -> LocalEngine:
    return LocalEngine(workers, 1, 1, out / "logs")


def test_any_number_of_workers_gives_the_same(
    once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path
) -> None:
    """Two processes at once, against one after another in this process; and a recipe that cannot work fails alone."""
    broken = {"name": "broken", "recipe": "student", "set": {"optimiser.lr": 1e30, "optimiser.name": "sgd"}}
    out = tmp_path / "study"
    study = run(local(out, 2), phantom_root, out, rows=[broken, *PLAN["rows"]])
    assert study.count("failed") == 1
    failed, *_ = table(out)
    assert "became" in failed["error"]
    settled = [cell for cell in table(out) if cell["name"] != "broken"]
    (out / "cells.json").write_text(json.dumps(settled))
    assert results(out).items() <= results(once[0]).items()
    assert len(results(out)) == 4


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
def test_ray_gives_the_same(once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path) -> None:
    from preceptor.study.engines.ray import RayEngine

    study = run(RayEngine(None, 1, 1, 1), phantom_root, tmp_path / "study", rows=PLAN["rows"][:1])
    assert study.count("done") == 1
    assert results(tmp_path / "study").items() <= results(once[0]).items()


def test_killed_and_asked_again(phantom_root: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch: the worker ends with its study, and the same command makes up for it."""
    rows, settings = PLAN["rows"][:1], {**SETTINGS, "epochs": 3}
    (tmp_path / "plan.yaml").write_text(to_yaml(plan(rows=rows, set=settings, threads=1)))
    out = tmp_path / "study"
    words = ["study", str(tmp_path / "plan.yaml"), "--root", str(phantom_root), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "preceptor", *words], stdout=subprocess.DEVNULL)
    wait_for(lambda: any(epochs_done(cell) for cell in (out / "cells").glob("*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (cell,) = [cell for cell in (out / "cells").glob("*") if cell.is_dir()]
    until = time.monotonic() + 60
    while _workers_of(out):
        assert time.monotonic() < until, "a worker outlived its study"
        time.sleep(0.05)
    assert 1 <= epochs_done(cell) < 3
    study = run(InThisProcess(), phantom_root, out, rows=rows, set=settings, threads=1)
    assert study.count("done") == 1
    whole = run(InThisProcess(), phantom_root, tmp_path / "whole", rows=rows, set=settings, threads=1)
    assert whole.count("done") == 1
    assert results(out) == results(tmp_path / "whole")


def _workers_of(out: Path) -> list[int]:
    """Processes that write to the study's logs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "fd" / "1").startswith(str(out / "logs")):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_command(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """``--dry-run`` shows the matrix and does nothing."""
    from preceptor.cli import app

    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    out = tmp_path / "study"
    words = ["study", str(tmp_path / "plan.yaml"), "--root", str(phantom_root), "--out", str(out), "--dry-run"]
    app([*words, "seeds=[0,1]"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "4 cells, 0 done; 6 runs in all, 2 of them shared" in said
    assert "left: unknown until the first cell is done" in said
    assert not out.exists()
