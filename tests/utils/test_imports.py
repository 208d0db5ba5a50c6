"""Python files that register something, in this process and in those started from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.recipes.registry import RECIPES
from preceptor.utils.errors import PreceptorError
from preceptor.utils.imports import VARIABLE, import_files, imported_files

RECIPE = '''
from preceptor.recipe import Recipe
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import student

@register_recipe("A paper", name="{name}")
def from_file(epochs: int = 3) -> Recipe:
    """A recipe from a file."""
    return student().model_copy(update={{"epochs": epochs}})
'''


def test_what_a_file_registers_is_known_here_and_in_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "mine.py"
    file.write_text(RECIPE.format(name="recipe_of_a_file"))
    import_files([file, file])
    assert RECIPES["recipe_of_a_file"](epochs=5).epochs == 5
    assert imported_files() == [str(file)]
    code = "from preceptor.recipes.registry import RECIPES; print(RECIPES['recipe_of_a_file'].paper)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert child.stdout.strip() == "A paper"


def test_a_file_that_fails_is_one_error_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "wrong.py"
    file.write_text("x = 1\ny = z\n")
    with pytest.raises(PreceptorError, match=r"wrong\.py: NameError: .*'z'.*line 2"):
        import_files([file])
    with pytest.raises(PreceptorError, match="no such file"):
        import_files([tmp_path / "nowhere.py"])
