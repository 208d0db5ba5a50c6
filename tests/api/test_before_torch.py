"""What is mistyped is answered before torch is imported, which takes seconds; and reports are written without it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fake_run import ALONE, TAUGHT, write_fake_run
from fake_study import FakeStudy, write_fake_study
from in_turn import Outcome, run_in_turn
from preceptor.evaluation.array_files import ERRORS
from without_torch import WITHOUT_TORCH

CASES: list[tuple[list[str], str]] = [
    (["train", "studnt", "--data", "phantom"], "Did you mean 'student'"),
    (["train", "student", "--data", "phantm"], "Did you mean 'phantom'"),
    (["train", "student", "--data", "phantom", "epoch=3"], "Did you mean 'epochs'"),
    (["train", "student", "--data", "phantom", "epochs=ten"], "'epochs' is 'ten'"),
    (["train", "student", "--data", "phantom", "data.image=5"], "Did you mean 'images'"),
    (["train", "student", "--data", "phantom", "name=../../x"], "is not a name"),
    (["train", "student", "--data", "folder", "--root", "nowhere"], "nowhere does not exist"),
    (["train", "student", "--data", "folder"], "give --root"),
    (["train", "student", "--data", "folder", "--root", "empty"], "empty"),
    (["train", "student", "--data", "phantom", "--out", "full"], "holds 'note.txt'"),
    (["train", "student", "--data", "phantom", "--out", "full/note.txt/run"], "note.txt is a file"),
    (["train", "student", "--data", "phantom", "--exclude", "ids.txt"], "ids.txt: no such file"),
    (["train", "student", "--data", "phantom", "--import", "loss.py"], "loss.py: no such file"),
    (["init", "nowhere"], "nowhere does not exist"),
    (["init", "empty"], "holds no images"),
    (["predict", "run", "photo.jpg"], "photo.jpg: no such file"),
    (["report", "run", "--out", "full/note.txt"], "not a file that this command wrote"),
    (["study", "crckd_tabel1"], "there is no plan called 'crckd_tabel1'"),
    (["data", "check", "phantom", "--policy", "crkd"], "Did you mean 'crckd'"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """How each command ends in a process that cannot import torch."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "full").mkdir()
    (folder / "empty").mkdir()
    (folder / "full" / "note.txt").write_text("mine")
    return run_in_turn(WITHOUT_TORCH, [words for words, _ in CASES], folder)


@pytest.mark.parametrize(
    ("number", "answer"),
    [pytest.param(number, answer, id=" ".join(words)[:50]) for number, (words, answer) in enumerate(CASES)],
)
def test_answers_without_torch(outcomes: list[Outcome], number: int, answer: str) -> None:
    code, _, errors = outcomes[number]
    assert code == 2, (code, errors)
    assert answer in errors


def test_reports_are_written_without_torch(tmp_path: Path) -> None:
    """Those with heat maps of surest errors too, which lie in the run's folder."""
    write_fake_study(tmp_path / "study", FakeStudy(rows=("Student alone", "KD")))
    write_fake_study(tmp_path / "masks", FakeStudy(masks=True))
    write_fake_run(tmp_path / "alone", replace(ALONE, relations=True))
    write_fake_run(tmp_path / "kd", replace(TAUGHT, relations=True))
    table = pd.read_csv(tmp_path / "kd" / "predictions.csv").query("part == 'test' and network == 'student'")
    wrong = table[table["predicted"] != table["target"]]["id"].tolist()
    picture = io.BytesIO()
    Image.new("RGB", (96, 96)).save(picture, "JPEG")
    np.savez(
        tmp_path / "kd" / ERRORS,
        ids=np.array(wrong, dtype=str),
        networks=np.array(["student"] * len(wrong)),
        images=np.array([picture.getvalue()] * len(wrong)),
        maps=np.full((len(wrong), 16, 16), 200, dtype=np.uint8),
    )
    commands = [["report", "study"], ["report", "masks"], ["report", "alone", "kd"]]
    for command, (code, _, errors) in zip(commands, run_in_turn(WITHOUT_TORCH, commands, tmp_path), strict=True):
        assert code == 0, (command, errors)
    assert (tmp_path / "study" / "report.html").is_file()
    assert (tmp_path / "masks" / "report.html").is_file()
    assert 'alt="Grad-CAM for' in (tmp_path / "report.html").read_text(encoding="utf-8")
