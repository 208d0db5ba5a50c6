"""One page for each group of methods: equation, drawing of the terms, recipe, and what it was verified against."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from drawing import draw

from preceptor.losses.registry import LOSSES
from preceptor.recipes.resolve import resolve
from preceptor.recipes.show import commented_yaml

_TABLE = Path(__file__).parents[2] / "docs" / "methods.md"
_SECTIONS = re.compile(r"^(?:Args|Raises|Returns|Buffers|Attributes)\b.*:|^>>>", re.MULTILINE)
_NAMES = re.compile(r"`(\w+)`")


def pages() -> dict[str, str]:
    """File → Markdown."""
    groups: dict[str, list[list[str]]] = {}
    for row in _rows():
        if row[0].startswith("**"):
            groups[row[0].strip("*")] = []
        else:
            groups[next(reversed(groups))].append(row)
    return {f"methods/{_file(title)}.md": _page(title, rows) for title, rows in groups.items()}


def _rows() -> list[list[str]]:
    table = _TABLE.read_text(encoding="utf-8").split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| method")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _file(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower().replace("'s own", "")).strip("-")


def _page(title: str, rows: list[list[str]]) -> str:
    title = title.replace("'s own", "")
    parts = [f"# {title}", "Generated from the code: recipes as they are shipped, equations as the losses state them."]
    described: set[str] = set()
    for name, paper, equation, losses, files, recipes, tasks, verified in rows:
        parts += [f"## {name}", f"{paper}{'' if equation == '–' else ', ' + equation}. Tasks: {tasks}."]
        parts += [f"**Verified against:** {verified}. Code: {files}."]
        for loss in _NAMES.findall(losses):
            if loss not in described:
                parts += [f"### The loss `{loss}` {{#loss-{loss}}}", equation_of(loss)]
                described.add(loss)
        names = _NAMES.findall(recipes)
        for recipe in names:
            parts += [f"### The recipe `{recipe}` {{#recipe-{recipe}}}", draw(resolve(recipe))]
            parts += [f"```yaml\n{commented_yaml(recipe, []).strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def equation_of(loss: str) -> str:
    """What the docstring of a loss says before its arguments."""
    text = inspect.cleandoc(LOSSES[loss].module.__doc__ or "")
    return _SECTIONS.split(text)[0].strip()
