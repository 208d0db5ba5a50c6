"""What is refused before hours of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preceptor.study.matrix import expand
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study, run_cells
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from small_images import save_image
from small_study import PLAN, plan


def test_rows_of_different_teachers_are_refused() -> None:
    """A row's own budget is handed on to the teacher that it trains first."""

    def expanded(settings: dict[str, Any], **changes: Any) -> None:
        rows = [*PLAN["rows"], {"name": "longer", "recipe": "kd", "set": settings}]
        expand(resolve_plan(plan(rows=rows, **changes)), "data", Path("nowhere"))

    with pytest.raises(PreceptorError, match="row longer: learns from another teacher than row KD, because epochs"):
        expanded({"epochs": 9})
    expanded({"epochs": 9}, teacher={"recipe": "teacher"})
    expanded({"epochs": 9, "networks.teacher.trained_by.set.epochs": 1})
    expanded({"networks.teacher.backbone": "test_efficientnet"})  # on purpose


def test_a_row_without_any_weight_is_refused() -> None:
    none = {"objectives.kl.weight": 0, "objectives.cross_entropy.weight": 0}
    rows = [*PLAN["rows"], {"name": "nothing", "recipe": "kd", "set": none}]
    with pytest.raises(PreceptorError, match=r"nothing: .*all weights are 0 in every epoch"):
        expand(resolve_plan(plan(rows=rows)), "data", Path("nowhere"))


def test_classes_too_small_for_the_folds_are_refused(phantom_root: Path, tmp_path: Path) -> None:
    many = resolve_plan(plan(set={**PLAN["set"], "split.folds": 40}), CommandLine(root=phantom_root))
    with pytest.raises(PreceptorError, match=r"fold 0: phantom: classes with fewer .* than the 40 folds"):
        open_study(many, tmp_path / "study")


class _Stops:
    """An engine that takes no work."""

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise PreceptorError("no work is taken")


def test_notes_on_the_data_are_given_before_any_run(tmp_path: Path) -> None:
    for name in ("mel", "NA"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            mask = np.zeros((40, 40), np.uint8)
            mask[number : number + 15, 5 : 20 + len(name)] = 255
            save_image(tmp_path / "data" / name / f"{number}.png", mask)
    data = {"reader": "folder", "root": str(tmp_path / "data")}
    study = open_study(resolve_plan(plan(data=data)), tmp_path / "study")
    with pytest.warns(PreceptorWarning) as caught, pytest.raises(PreceptorError, match="no work is taken"):
        run_cells(study, _Stops, 1)  # type: ignore[arg-type]
    missing, masks = (str(each.message) for each in caught)
    assert "missing value" in missing
    assert masks.startswith("24 of 24 images look like masks")


def test_weights_that_cannot_be_had_are_refused_before_anything_is_written(phantom_root: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost.safetensors"
    lost.write_bytes(b"")  # known by its content, and no weights
    rows = [{"name": "alone", "recipe": "student", "set": {"networks.student.pretrained": str(lost)}}]
    study = open_study(resolve_plan(plan(rows=rows), CommandLine(root=phantom_root)), tmp_path / "study")
    with pytest.raises(PreceptorError, match=r"lost\.safetensors"):
        run_cells(study, lambda: pytest.fail("an engine was started"), 1)
    assert not (tmp_path / "study/study.yaml").exists()
