"""The generated pages of the documentation name everything that there is; ``make docs`` builds them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import preceptor
from preceptor.losses.registry import LOSSES
from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve

ROOT = Path(__file__).parents[1]
OURS = [name for name in RECIPES if RECIPES[name].function.__module__.startswith("preceptor.")]


@pytest.fixture(scope="module", autouse=True)
def _generators() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / ".ci" / "site"))
    yield
    sys.path.remove(str(ROOT / ".ci" / "site"))


def test_method_pages_show_every_loss_and_recipe() -> None:
    from method_pages import pages

    text = "".join(pages().values())
    losses = [name for name in LOSSES if LOSSES[name].module.__module__.startswith("preceptor.losses.")]
    assert not [name for name in losses if f"{{#loss-{name}}}" not in text]
    assert not [name for name in OURS if f"{{#recipe-{name}}}" not in text]


def test_the_reference_names_commands_functions_and_keys() -> None:
    from reference import pages

    text = pages()
    assert not [name for name in preceptor._FUNCTIONS if f".{name}\n" not in text["reference/api.md"] + "\n"]
    assert "## preceptor data check" in text["reference/cli.md"]
    assert not [key for key in Recipe.model_fields if f"| `{key}` |" not in text["reference/recipe.md"]]
    assert "| `split_hash` | text | required |" in text["reference/run-directory.md"]
    assert "## `ham10000`" in text["reference/readers.md"]


@pytest.mark.parametrize("name", OURS)
def test_a_drawing_has_a_box_for_each_network_and_every_term(name: str) -> None:
    from drawing import draw

    recipe = resolve(name)
    drawing = ElementTree.fromstring(draw(recipe))
    words = " ".join(drawing.itertext())
    assert len(drawing.findall("rect")) == len(recipe.networks)
    assert not [term.loss for term in recipe.objectives if term.loss not in words]


def test_every_page_is_in_the_navigation() -> None:
    from examples_page import pages

    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    listed = str(config["nav"])
    files = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert not [name for name in [*files, *pages()] if name not in listed]
