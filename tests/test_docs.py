"""The examples of the documentation run as they stand, and what it names exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from preceptor.cli import app
from preceptor.data.readers import READERS
from preceptor.evaluation.metrics import METRICS
from preceptor.losses.registry import LOSSES
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall((ROOT / page).read_text()) if kind == language]


def test_extending() -> None:
    try:
        space: dict[str, object] = {}
        for code in blocks("docs/extending.md", "python"):
            exec(compile(code, "docs/extending.md", "exec"), space)
        assert "logit_mse" in LOSSES
        assert "mimic" in RECIPES
        screening = resolve("student", {"task": "screening"})
        assert screening.select.metric == "macro_auc"
        assert {"macro_auc", "balanced_accuracy", "mean_confidence"} <= set(TASKS["screening"].metrics)
    finally:
        LOSSES._entries.pop("logit_mse", None)
        RECIPES._entries.pop("mimic", None)
        METRICS._entries.pop("mean_confidence", None)
        TASKS._entries.pop("screening", None)


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]


RESULTS = [f"docs/results/{name}.md" for name in ("kd", "crckd", "ssd_kd", "kd_ml")]


STARTS = [f"docs/{page}.md" for page in ("start/ham10000", "how-to/dicom", "how-to/several-teachers")]
#: Pages that are generated when the site is built, which checks links to them.
GENERATED = ("reference/", "methods/", "notebooks/", "examples.md")


@pytest.mark.parametrize("page", ["README.md", *RESULTS, *STARTS])
def test_commands_name_recipes_and_keys_that_exist(page: str) -> None:
    """Every ``preceptor train RECIPE … key=value`` of a page resolves."""
    result = 0
    for code in blocks(page, "bash"):
        for line in code.replace("\\\n", " ").replace("$C", "").replace("$s", "0").splitlines():
            words = shlex.split(line.strip(), comments=True)
            if words[:2] == ["preceptor", "train"] and not words[2].endswith(".yaml"):  # a file that the reader makes
                resolve(words[2], [word for word in words[3:] if "=" in word and not word.startswith("-")])
                result += 1
    assert result


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    """Every ``preceptor COMMAND … --option`` of a page is one that there is."""
    wrong = []
    for code in blocks(page, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().replace("$", ""), comments=True)
            if words[:1] != ["preceptor"]:
                continue
            command, words = typer.main.get_command(app), words[1:]
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if hasattr(command, "commands") and words and not words[0].startswith("-"):
                wrong.append(line)
            given = [word.split("=")[0] for word in words if word.startswith("-")]
            wrong += [f"{line}: {option}" for option in given if option not in options | {"-h", "--help"}]
    assert not wrong


def test_a_reader() -> None:
    try:
        for code in blocks("docs/how-to/reader.md", "python"):
            exec(compile(code, "docs/how-to/reader.md", "exec"), {})
    finally:
        READERS._entries.pop("mine", None)


def test_recipes_of_the_how_to_pages_resolve(tmp_path: Path) -> None:
    """What a page shows in part is put into a whole recipe; what it shows whole stands as it is."""
    (tmp_path / "several.yaml").write_text(
        "name: several\n" + "\n".join(blocks("docs/how-to/several-teachers.md", "yaml")), encoding="utf-8"
    )
    recipe = resolve(str(tmp_path / "several.yaml"))
    assert recipe.objectives[1].sources == {"dense": 0.7, "mobile": 0.3}
    check_objectives(recipe)


def test_readme_names_recipes_that_exist() -> None:
    table = (ROOT / "README.md").read_text().split("| system | recipes |")[1].split("\n\n")[0]
    names = re.findall(r"`(\w+)`", table)
    assert len(names) > 10
    assert not [name for name in names if name not in RECIPES]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / page).read_text())
    links = [link for link in links if "://" not in link and not link.lstrip("./").startswith(GENERATED)]
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


def test_guide_names_every_reader() -> None:
    text = (ROOT / "docs/guide-data.md").read_text()
    assert not [name for name in READERS if f"`{name}`" not in text]
