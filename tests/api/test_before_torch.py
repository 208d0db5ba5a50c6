"""What is mistyped is answered before torch is imported, which takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT_TORCH = """
import sys
from importlib.machinery import ModuleSpec

class Blocker:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in ("torch", "timm", "lightning_fabric") else None

    def create_module(self, spec):
        raise RuntimeError(f"{spec.name} is imported")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Blocker())
from preceptor.cli import main
main()
"""


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT_TORCH, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
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
        (["predict", "run", "photo.jpg"], "photo.jpg: no such file"),
        (["report", "run", "--out", "full/note.txt"], "not a file that this command wrote"),
        (["study", "crckd_tabel1"], "there is no plan called 'crckd_tabel1'"),
        (["data", "check", "phantom", "--policy", "crkd"], "Did you mean 'crckd'"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_answers_without_torch(words: list[str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    done = without_torch(*words)
    assert (done.returncode, "imported" in done.stderr) == (2, False), done.stderr
    assert answer in done.stderr
