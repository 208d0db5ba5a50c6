"""The command as a user meets it: in a process of its own, by its output and exit code."""

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


def refused_here(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The same as :func:`refused` in this process, which saves the imports: what ``main`` says, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["preceptor", *words])
    with pytest.raises(SystemExit) as left:  # anything else would have been a traceback
        main()
    assert left.value.code == 2
    return capsys.readouterr().err


def refused(*words: object, **environment: str) -> str:
    """Runs a command that must end in one message; returns it."""
    done = preceptor(*words, **environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.stderr


def test_help_and_import_are_light() -> None:
    """Not a timed test (the machine may be busy): what makes them slow is importing torch and its kin."""
    heavy = ["torch", "timm", "pandas", "sklearn", "matplotlib", "lightning_fabric", "numpy"]
    code = f"import sys, preceptor, preceptor.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    began = time.perf_counter()
    assert "train" in preceptor("--help").stdout
    assert time.perf_counter() - began < 20


def test_train_evaluate_predict_report(phantom_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = preceptor("train", "student", "--data", "phantom", "--root", phantom_root, "--out", run, "--seed", 3, *TINY)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stdout
    assert str(run / "report.html") in done.stdout

    measured = preceptor("evaluate", run, "--out", tmp_path / "again")
    assert measured.stdout.splitlines()[1] == done.stdout.splitlines()[-2], "the same figures from the files alone"
    assert (tmp_path / "again" / "predictions.csv").is_file()

    images = sorted((phantom_root / "images").iterdir())[:3]
    table = tmp_path / "table.csv"
    assert preceptor("predict", run / "student.safetensors", *images, "--out", table).returncode == 0
    predicted = pd.read_csv(table)
    assert list(predicted["file"]) == [str(image) for image in images]
    assert predicted.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(images[0].read_bytes()[:200])
    message = refused("predict", run, images[0], broken, "--out", table)
    assert "broken.jpg" in message
    assert len(pd.read_csv(table)) == 1, "what could be read was predicted"

    page = tmp_path / "both.html"
    assert preceptor("report", run, run, "--out", page).returncode in (0, 2)
    assert "is finished already" in preceptor("resume", run).stdout


def test_recipes() -> None:
    listed = preceptor("recipes").stdout
    assert "mean_teacher" in listed
    assert "Xing" in listed
    shown = preceptor("recipes", "show", "kd", "temperature=4").stdout
    assert "temperature: 4.0" in shown
    assert shown.startswith("#")


def test_shown_yaml_runs(phantom_root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(preceptor("recipes", "show", "student", *TINY).stdout)
    done = preceptor("train", recipe, "--data", "phantom", "--root", phantom_root, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr


def test_data_check_and_preview(phantom_root: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = preceptor("data", "check", "phantom", phantom_root, "--preview", sheet, "--image-size", 48)
    assert done.returncode == 0, done.stderr
    assert "akiec" in done.stdout
    assert sheet.stat().st_size > 10_000


def test_help_of_predict_says_what_segmenters_write() -> None:
    text = " ".join(preceptor("predict", "--help").stdout.split())
    assert "or their masks where the network is a segmenter" in text
    assert "Segmenter: the folder of its masks" in text


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
        (["resume", "nowhere"], "no such run"),
        (["evaluate", "nowhere"], "nowhere"),
        (["predict", "nowhere", "image.jpg"], "image.jpg"),
        (["report", "nowhere"], "nowhere"),
        (["explain", "nowhere"], "nowhere is not a directory"),
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
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "phantom" in words and words[0] == "train":
        words = [*words, "--root", str(phantom_root), "--out", str(tmp_path / "run")]
    elif "phantom" in words:
        words = [*words, str(phantom_root)]
    monkeypatch.chdir(tmp_path)
    assert message in refused_here(words, monkeypatch, capsys)
    assert not (tmp_path / "run" / "checkpoints").exists()
