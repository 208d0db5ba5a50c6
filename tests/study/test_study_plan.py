"""Plans: what they may say, what settles them, and which cells they make."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from preceptor.data.catalog import Catalog
from preceptor.data.phantom import CLASSES, Phantom, draw
from preceptor.data.split import make_split
from preceptor.evaluation.metrics import metrics_of
from preceptor.study.matrix import expand
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.plan import read_plan, shipped, to_yaml, validate
from preceptor.utils.errors import PreceptorError
from small_study import PLAN, SETTINGS, plan


def refusal(**changes: Any) -> str:
    with pytest.raises(PreceptorError) as refused:
        expand(resolve_plan(plan(**changes)), "data", Path("nowhere"))
    return str(refused.value)


def _with(**settings: Any) -> list[dict[str, Any]]:
    return [PLAN["rows"][0], {**PLAN["rows"][1], "set": settings}]


MASKS = {"task": "segmentation", "image_size": 64, "backbone": "test_resnet", "pretrained": "none"}


# --- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"basline": "alone"}, "unknown key 'basline'. Did you mean 'baseline'?"),
        ({"rows": [{"name": "alone", "recipe": "student", "sett": {}}]}, "unknown key 'rows.alone.sett'"),
        ({"folds": "all"}, "'folds' is 'all'"),
        ({"seeds": 0}, "'seeds' is 0"),
        ({"folds": []}, "'folds' is empty\n  expected: at least one entry"),
        ({"rows": []}, "'rows' is empty\n  expected: at least one entry"),
        (
            {"paper": [{"table": "T", "data": "phantom", "rows": {"alone": {"accuracy": 84.3}}}]},
            "less than or equal to 1",
        ),
        ({"baseline": "Alone"}, "Did you mean 'alone'?"),
        ({"rows": [*PLAN["rows"], PLAN["rows"][0]]}, "alone occurs twice"),
        ({"rows": [{"name": "alone"}]}, "needs either a recipe, or teacher: true"),
        ({"rows": [{"name": "alone", "teacher": True}]}, "the plan has none"),
        ({"set": {"seed": 3}}, "set.seed: is set by the plan; see seeds"),
        ({"set": {"epohcs": 3}}, "unknown key 'epohcs'. Did you mean 'epochs'?"),
        ({"set": {"networks.studnet.backbone": "resnet18"}}, "Did you mean 'student'?"),
        ({"set": {**SETTINGS, "epochs": "many"}}, "row alone: recipe student: 'epochs' is 'many'"),
        ({"rows": [{"name": "alone", "recipe": "studnet"}]}, "Did you mean 'student'?"),
        ({"rows": [{"name": "alone", "recipe": "student", "networks": ["x"]}]}, "row alone: networks: student has no"),
        (
            {"rows": _with(**{"split.seed": 3})},
            "row KD, recipe kd: split.seed is 3, but 0 in row alone, recipe student",
        ),
        ({"rows": _with(**{"split.folds": 4})}, "row KD, recipe kd: split.folds is 4, but 5 in row alone"),
        ({"rows": _with(protocol="paper")}, "row KD, recipe kd: protocol is paper, but grouped in row alone"),
        (
            {
                "rows": [{"name": "alone", "recipe": "student"}, {"name": "KD", "recipe": "ml_v1", "set": MASKS}],
                "set": {},
            },
            "row KD, recipe ml_v1: task is segmentation, but classification in row alone",
        ),
        (
            {"rows": _with(**{"networks.teacher.trained_by.set": {"split.seed": 3}})},
            "row KD, recipe teacher: split.seed is 3, but 0 in row alone",
        ),
        ({"layout": {"columns": {"balanced_acuracy": "BMA"}}}, "layout.columns: classification has no metric "),
        ({"layout": {"columns": {"balanced_acuracy": "BMA"}}}, "Did you mean 'balanced_accuracy'?"),
        ({"layout": {"columns": {"iou": "IoU"}}}, "classification has no metric 'iou' (it is of segmentation)."),
        (
            {"paper": [{"table": "T", "data": "phantom", "rows": {"alone": {"acuracy": 0.8}}}]},
            "paper, T: classification has no metric 'acuracy'. Did you mean 'accuracy'?",
        ),
        ({"name": ".."}, "'..' is not a name"),
        ({"external": [{"reader": "phantom", "name": ".."}]}, "'..' is not a name"),
        ({"external": [{"reader": "phantom", "name": "a/b"}]}, "'a/b' is not a name"),
        ({"folds": [5]}, "fold 5: the recipe's split has 5 folds"),
        ({"rows": [{"name": "alone", "recipe": "kd", "set": {"objectives.kl.temprature": 3}}]}, "row alone: "),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_by_its_key(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


def test_figures_that_plans_may_name_are_those_of_runs() -> None:
    from preceptor.evaluation.classification import classification_metrics
    from preceptor.evaluation.masks import MaskMeter

    meter = MaskMeter(("none", "lesion"))
    lesion = torch.zeros(2, 20, 20).long()
    lesion[:, 4, 4:7] = 1  # a small target, so that every metric is defined
    meter.update(lesion, lesion)
    results = {
        "classification": classification_metrics([0, 1], [[0.9, 0.1], [0.2, 0.8]], ("a", "b")),
        "segmentation": meter.result(),
    }
    for task, figures in results.items():
        assert set(metrics_of(task)) == {name for name, value in figures.items() if isinstance(value, float)}


def test_a_plan_from_a_file_finds_recipes_beside_it(tmp_path: Path) -> None:
    from preceptor.recipes.resolve import resolve
    from preceptor.recipes.resolve import to_yaml as recipe_yaml

    (tmp_path / "mine.yaml").write_text(recipe_yaml(resolve("student")))
    text = {**PLAN, "rows": [{"name": "alone", "recipe": "mine.yaml"}], "set": {}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(text))
    settled = resolve_plan(read_plan(str(tmp_path / "plan.yaml")), CommandLine(overrides={"epochs": 7}))
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
    settled = resolve_plan(whole, CommandLine(overrides={"epochs": 2, "seeds": [7, 8]}))
    assert settled.row("alone").set == {"batch_size": 8, "split.folds": 3, "epochs": 2}
    assert settled.row("KD").set["temperature"] == 3.0
    assert (settled.folds, settled.seeds, settled.set, settled.is_quick) == ([0, 1, 2], [7, 8], {}, False)
    assert settled.row("KD").networks == ["student"]
    assert resolve_plan(whole, CommandLine(reader="ham10000", root=Path("/h"))).paper == []
    quick = resolve_plan(whole, CommandLine(quick=True))
    assert [row.name for row in quick.rows] == ["alone", "KD"]
    assert quick.row("alone").set["batch_size"] == 16
    assert (quick.folds, quick.paper, quick.is_quick) == ([0], [], True)
    for each in (settled, quick):  # a settled plan is a plan, and settling it again changes nothing
        assert resolve_plan(validate(yaml.safe_load(to_yaml(each)), "again")) == each
    assert "quick: true" in to_yaml(quick)
    with pytest.raises(PreceptorError, match="no quick section"):
        resolve_plan(plan(), CommandLine(quick=True))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_number_of_folds_on_the_command_line_is_how_many_there_are(name: str) -> None:
    """Over the plan's number and that of its quick section; a list is some of those that there are (see below)."""
    from preceptor.recipes.resolve import resolve

    three = resolve_plan(read_plan(name), CommandLine(quick=True, overrides={"folds": 3, "seeds": 2}))
    assert (three.folds, three.seeds) == ([0, 1, 2], [0, 1])
    for row in three.rows:
        teacher = three.teacher if row.teacher else None
        source, settings = (teacher.recipe, teacher.set) if teacher else (row.recipe, row.set)
        assert resolve(str(source), settings).split.folds == 3, row.name


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_plans_expand(name: str) -> None:
    """At full size and quick, with one fold for the sake of time; all who need a teacher share one."""
    for quick in (False, True):
        settled = resolve_plan(read_plan(name), CommandLine(quick=quick, overrides={"folds": [1], "seeds": [4]}))
        assert (settled.folds, settled.seeds) == ([1], [4])
        matrix = expand(settled, "data", Path("nowhere"))
        assert len(matrix.cells) == len(settled.rows)
        parts = Counter(matrix.runs[key].recipe.name for key in matrix.shared)
        with_head = {"teacher": 1, "sskd_head": 1}
        shared = {
            "crckd": {},
            "ssdkd": with_head,
            "kdml": {"teacher": 1},
            "methods": {**with_head, "fsp_start": 1, "kd": 1},
        }
        assert parts == shared[name.split("_")[0]]
        splits = [planned.recipe.split for planned in matrix.runs.values()]
        assert all(split == splits[0] for split in splits)
        if quick:
            assert settled.is_quick
            assert splits[0].folds == 5, "which folds there are is not how many"
            assert settled.data.reader == "phantom"
            networks = [
                (name in planned.dependencies, config)
                for planned in matrix.runs.values()
                for name, config in planned.recipe.networks.items()
            ]
            assert {config.pretrained for shared, config in networks if not shared} == {"none"}
            knobs = Phantom(**settled.data.options)
            catalog = Catalog("phantom", Path("nowhere"), _phantom_rows(knobs), CLASSES)
            for fold in read_plan(name).quick.folds:  # type: ignore[union-attr]
                make_split(catalog, fold=fold, **splits[0].model_dump())  # enough of every class


@pytest.mark.parametrize("path", sorted(Path("benchmarks/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_plans_of_the_measurements_share_one_teacher_a_fold(path: Path) -> None:
    overrides = {f"networks.{name}.pretrained": "none" for name in ("teacher", "student")}  # the weights are not here
    settled = resolve_plan(read_plan(str(path)), CommandLine(overrides=overrides))
    matrix = expand(settled, "data", Path("nowhere"))
    folds = {cell.fold for cell in matrix.cells}
    assert [matrix.runs[key].recipe.name for key in matrix.shared].count("teacher") == len(folds)
    budgets = {
        planned.recipe.epochs for key, planned in matrix.runs.items() if matrix.runs[key].recipe.name != "sskd_head"
    }
    assert len(budgets) == 1


def test_the_readme_names_plans_that_exist() -> None:
    from test_docs import blocks

    named = [
        line.split()[2]
        for code in blocks("docs/guide-studies.md", "bash")
        for line in code.splitlines()
        if " study " in line
    ]
    assert {item for item in named if not item.endswith(".yaml")} <= set(shipped())
    assert len(named) > 3
    (example,) = [code for code in blocks("docs/guide-studies.md", "yaml") if "baseline" in code]
    assert [row.name for row in resolve_plan(validate(yaml.safe_load(example), "README.md")).rows] == [
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
    matrix = expand(resolve_plan(plan(**changes)), fingerprint, Path("nowhere"))
    return {f"{cell.row.name}/{cell.fold}/{cell.seed}": cell.run.identity for cell in matrix.cells}


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
    assert with_weights(one) != with_weights(other)


def test_shared_parts() -> None:
    """Heads stand on teachers; the plan's own teacher takes the place of all, and is a row."""
    rows = [*PLAN["rows"], {"name": "SSKD", "recipe": "sskd"}, {"name": "FitNet", "recipe": "fitnet"}]
    matrix = expand(resolve_plan(plan(rows=rows, seeds=[0, 1])), "data", Path("out"))
    assert Counter(matrix.runs[key].recipe.name for key in matrix.shared) == {"teacher": 2, "sskd_head": 2}
    order = list(matrix.runs)
    for key, planned in matrix.runs.items():
        assert all(order.index(part.identity) < order.index(key) for part in planned.dependencies.values())
    fixed = expand(resolve_plan(plan(rows=rows, seeds=[0, 1], teacher_seed=5)), "data", Path("out"))
    assert {fixed.runs[key].seed for key in fixed.shared} == {5}
    assert len(fixed.shared) == 2
    own = {"recipe": "teacher", "set": {"epochs": 9}}
    taught = resolve_plan(plan(rows=[*rows, {"name": "T", "teacher": True}], teacher=own))
    matrix = expand(taught, "data", Path("out"))
    teachers = [planned for planned in matrix.runs.values() if planned.recipe.name == "teacher"]
    assert [planned.recipe.epochs for planned in teachers] == [9]
    assert [cell.row.name for cell in matrix.cells if cell.run == teachers[0]] == ["T"]


@pytest.mark.parametrize(
    "row",
    [
        {"recipe": "kd", "set": {"networks.teacher.backbone": "test_efficientnet"}},
        {"recipe": "fitnet", "set": {"networks.teacher.trained_by.set.epochs": 9}},
        {"recipe": "sskd", "set": {"networks.teacher.dropout": 0.1}},
        {"recipe": "kd_off_v1", "set": {"teacher_backbone": "test_efficientnet"}},
    ],
    ids=lambda row: row["recipe"],
)
def test_a_row_may_not_say_in_vain_what_its_teacher_is(row: dict[str, Any]) -> None:
    """It would be another row's run under a name that says otherwise."""
    (key,) = row["set"]
    rows = [*PLAN["rows"], {"name": "small T", **row}]
    assert f"row small T: set.{key}: has no effect, the plan's teacher takes" in refusal(
        rows=rows, teacher={"recipe": "teacher"}
    )
    resolve_plan(plan(rows=rows))  # where it is not in vain


def test_what_all_rows_say_of_the_teacher_is_left_to_the_plans(tmp_path: Path) -> None:
    rows = [*PLAN["rows"], {"name": "SSKD", "recipe": "sskd", "set": {"head_epochs": 2}}]
    settled = resolve_plan(plan(rows=rows, teacher={"recipe": "teacher"}))
    assert settled.teacher is not None
    assert settled.teacher.set["networks.teacher.backbone"] == "test_resnet"
    assert not any(key.startswith("networks.teacher") for row in settled.rows for key in row.set)
    assert settled.row("SSKD").set["head_epochs"] == 2
    assert resolve_plan(validate(yaml.safe_load(to_yaml(settled)), "again")) == settled


def test_rows_that_are_one_run_are_known() -> None:
    rows = [*PLAN["rows"], {"name": "KD again", "recipe": "kd"}]
    assert expand(resolve_plan(plan(rows=rows)), "data", Path("out")).alike() == [["KD", "KD again"]]
