"""Python files that register something, in this process and in those started from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.recipes.registry import RECIPES
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of
from preceptor.utils.imports import VARIABLE, import_files, imported_files, imported_hashes
from preceptor.utils.registry import Registry

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


def test_a_file_that_was_edited_is_refused_until_python_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "edited.py"
    file.write_text("x = 1\n")
    import_files([file])
    executed = imported_hashes()
    assert executed == {str(file): sha256_of(file)}
    file.write_text("x = 2\n")
    with pytest.raises(PreceptorError, match=r"edited\.py: has changed since this Python imported it"):
        import_files([file])
    assert imported_hashes() == executed, "what was run, not what is on disk"
    file.write_text("x = 1\n")
    import_files([file])


def test_a_file_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper_of_a_file.py").write_text(RECIPE.format(name="recipe_of_a_helper"))
    file = tmp_path / "half.py"
    text = "import helper_of_a_file\n" + RECIPE.format(name="recipe_of_half")
    file.write_text(text + "import sys\nsys.exit(3)\n")
    with pytest.raises(PreceptorError, match=r"half\.py: SystemExit: 3 \(line 12\)"):
        import_files([file])
    assert imported_files() == []
    assert "recipe_of_half" not in RECIPES
    assert "recipe_of_a_helper" in RECIPES, "its module is loaded, and will not run again"
    file.write_text(text)
    import_files([file])
    assert RECIPES["recipe_of_half"](epochs=5).epochs == 5


def test_a_cell_that_is_run_again_replaces_its_entry_and_only_that() -> None:
    registry: Registry[int] = Registry("fruit", "preceptor.no_such_group", lambda: None)

    def cell(name: str, module: str = "__main__") -> type:
        return type(name, (), {"__module__": module, "__qualname__": name})

    registry.add("apple", 1, cell("Apple"))
    registry.add("apple", 2, cell("Apple"))
    assert registry["apple"] == 2
    registry.add("pear", 1, cell("Pear", "a_module"))
    for name, other in (("apple", cell("Other")), ("apple", None), ("pear", cell("Pear", "a_module"))):
        with pytest.raises(PreceptorError, match=f"two fruit entries are called '{name}'"):
            registry.add(name, 3, other)


CELL = """
from preceptor.evaluation.metrics import METRICS, register_metric

@register_metric("of_a_cell", label="of a cell", tasks=["classification"])
def of_a_cell(targets, probabilities):
    return {value}
"""


def test_a_metric_of_a_notebook_can_be_defined_again() -> None:
    code = f"for value in '12': exec({CELL!r}.replace('{{value}}', value))\nprint(METRICS['of_a_cell'](0, 0))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.stdout.strip() == "2.0", child.stderr
