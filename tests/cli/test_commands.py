"""The command as a user meets it, by its output and exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from preceptor.cli import main

TINY = ["image_size=32", "batch_size=32", "epochs=1", "backbone=test_efficientnet", "pretrained=none"]


def preceptor(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preceptor", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=240)


class Here:
    """The command in this process, which saves the imports: the exit code of ``main`` and what it prints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> str:
        """The output of a command that must succeed."""
        code, output, errors = self._run(*words)
        assert code == 0, errors
        return output

    def refused(self, *words: object) -> str:
        """The errors of a command that must end in one message."""
        code, _, errors = self._run(*words)
        assert code == 2
        return errors

    def _run(self, *words: object) -> tuple[object, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["preceptor", *map(str, words)])
        self._capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as left:  # anything else would have been a traceback
            code = left.code or 0
        return (code, *self._capsys.readouterr())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys)


def test_help_and_import_are_light() -> None:
    """Not a timed test (the machine may be busy): what makes them slow is importing torch and its kin."""
    heavy = ["torch", "timm", "pandas", "sklearn", "matplotlib", "lightning_fabric", "numpy"]
    code = f"import sys, preceptor, preceptor.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    began = time.perf_counter()
    assert "train" in preceptor("--help").stdout
    assert time.perf_counter() - began < 20


def test_train_evaluate_predict_report(phantom_root: Path, tmp_path: Path, here: Here) -> None:
    """One process trains, this one has nothing but its files."""
    run = tmp_path / "run"
    done = preceptor("train", "student", "--data", "phantom", "--root", phantom_root, "--out", run, "--seed", 3, *TINY)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stdout
    assert str(run / "report.html") in done.stdout

    measured = here("evaluate", run, "--out", tmp_path / "again")
    assert measured.splitlines()[1] == done.stdout.splitlines()[-2], "the same figures from the files alone"
    assert (tmp_path / "again" / "predictions.csv").is_file()

    images = sorted((phantom_root / "images").iterdir())[:3]
    table = tmp_path / "table.csv"
    here("predict", run / "student.safetensors", *images, "--out", table)
    predicted = pd.read_csv(table)
    assert list(predicted["file"]) == [str(image) for image in images]
    assert predicted.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(images[0].read_bytes()[:200])
    assert "broken.jpg" in here.refused("predict", run, images[0], broken, "--out", table)
    assert len(pd.read_csv(table)) == 1, "what could be read was predicted"

    page = tmp_path / "page.html"
    assert str(page) in here("report", run, "--out", page)
    assert "is given 2 times" in here.refused("report", run, run, "--out", page)
    assert "is finished already" in here("resume", run)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "student", "--data", "phantom"],
        ["tune", "student", "--data", "phantom", "optimiser.lr=log(1e-4,1e-2)"],
        ["study", "crckd_table1"],
        ["evaluate", "run", "--data", "phantom"],
        ["data", "check", "phantom", "."],
        ["init", "."],
    ],
    ids=lambda words: words[0],
)
def test_a_key_given_twice_is_refused(words: list[str], tmp_path: Path, here: Here) -> None:
    """Which of two values was meant is not known."""
    own = ["--out", str(tmp_path / "out")] if words[0] != "data" else []
    key = "data.images" if words[0] in ("evaluate", "data", "init") else "epochs"
    errors = here.refused(*words, *own, f"{key}=41", f"{key}=42")
    assert f"error: {key}: is given 2 times" in errors
    assert "expected: each key once" in errors
    assert not (tmp_path / "out").exists()


def test_recipes(here: Here) -> None:
    listed = here("recipes")
    assert "mean_teacher" in listed
    assert "Xing" in listed
    shown = here("recipes", "show", "kd", "temperature=4")
    assert "temperature: 4.0" in shown
    assert shown.startswith("#")


@pytest.mark.usefixtures("no_reports")
def test_shown_yaml_runs(phantom_root: Path, tmp_path: Path, here: Here) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(here("recipes", "show", "student", *TINY))
    here("train", recipe, "--data", "phantom", "--root", phantom_root, "--out", tmp_path / "run")


def test_an_option_of_a_reader_is_not_taken_for_its_folder(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write a data set into a folder of that name."""
    monkeypatch.chdir(tmp_path)
    for options in (["data.images=many"], ["data.images=41", "data.colour=red"]):
        assert f"{options[-1].partition('=')[0]}" in here.refused("data", "check", "phantom", *options)
    assert not list(tmp_path.iterdir())


def test_data_check_and_preview(phantom_root: Path, tmp_path: Path, here: Here) -> None:
    sheet = tmp_path / "sheet.png"
    output = here("data", "check", "phantom", phantom_root, "--preview", sheet, "--image-size", 48)
    assert "akiec" in output
    assert sheet.stat().st_size > 10_000


def test_help_of_predict_says_what_segmenters_write(here: Here) -> None:
    text = " ".join(here("predict", "--help").split())
    assert "or their masks where the network is a segmenter" in text
    assert "Segmenter: the folder of its masks" in text


def test_help_says_whose_probabilities_are_calibrated(here: Here) -> None:
    assert "An export's are calibrated" in " ".join(here("predict", "--help").split())
    assert "the classes are the same" in " ".join(here("export", "--help").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "studnt", "--data", "phantom"], "Did you mean 'student'"),
        (["train", "student", "--data", "phantm"], "Did you mean 'phantom'"),
        (["train", "student", "--data", "phantom", "epoch=3"], "Did you mean 'epochs'"),
        (["train", "student", "--data", "phantom", "epochs=ten"], "'epochs' is 'ten'"),
        (["train", "student", "--data", "phantom", "epochs"], "expected: key=value"),
        (["train", "student", "--data", "phantom", "objectives.cross_entropy.class_weight=none"], "'class_weights'"),
        (["train", "student", "--data", "phantom", "data.image=5"], "Did you mean 'images'"),
        (["train", "student", "--data", "phantom", "backbone=mobilnetv2_100", "pretrained=none"], "mobilenetv2_100"),
        (["train", "nowhere.yaml", "--data", "phantom"], "nowhere.yaml"),
        (["train", "student", "--data", "ham10000"], "--root"),
        (["train", "student", "--data", "ham10000", "--root", "nowhere"], "nowhere"),
        (["train", "student", "--data", "phantom", "--exclude", "ids.txt"], "ids.txt"),
        (["train", "kd", "--data", "phantom", "networks.teacher.run=nowhere"], "networks.teacher.run"),
        (["train", "student", "--data", "phantom", "pretrained=weights.safetensors"], "weights.safetensors"),
        (["train", "teacher", "--data", "phantom"], "pretrained=weights.safetensors"),
        (["resume", "nowhere"], "there is no such run"),
        (["evaluate", "nowhere"], "nowhere"),
        (["predict", "nowhere", "image.jpg"], "image.jpg"),
        (["report", "nowhere"], "nowhere"),
        (["explain", "nowhere"], "nowhere: there is no such run"),
        (["profile", "nowhere"], "no such run or file"),
        (["recipes", "show", "kdd"], "Did you mean 'kd'"),
        (["data", "check", "folder", "nowhere"], "nowhere"),
        (["data", "check", "phantom", "--policy", "crkd"], "Did you mean 'crckd'"),
    ],
    ids=lambda value: "-".join(map(str, value))[:60] if isinstance(value, list) else "",
)
def test_wrong_words(
    words: list[str],
    message: str,
    phantom_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: Here,
) -> None:
    if "phantom" in words and words[0] == "train":
        words = [*words, "--root", str(phantom_root), "--out", str(tmp_path / "run")]
    elif "phantom" in words:
        words = [*words, str(phantom_root)]
    monkeypatch.chdir(tmp_path)
    assert message in here.refused(*words)
    assert not (tmp_path / "run" / "checkpoints").exists()
