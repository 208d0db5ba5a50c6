"""``preceptor recipes``: the list, and ``show``."""

from __future__ import annotations

from typing import Annotated

import typer

from preceptor.cli.options import Imports, Overrides

app = typer.Typer(help="What can be run, from which paper; 'show NAME' prints its YAML.")


@app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context, imports: Imports = None) -> None:
    """What can be run, from which paper."""
    from preceptor.recipes.registry import RECIPES
    from preceptor.utils.imports import import_files

    import_files(imports or ())
    if context.invoked_subcommand is not None:
        return
    for name in sorted(RECIPES):
        print(f"{name:16} {RECIPES[name].summary}\n{'':16} {RECIPES[name].paper}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")],
    overrides: Overrides = None,
    imports: Imports = None,
) -> None:
    """Print a recipe's YAML, which can be edited and run."""
    from preceptor.recipes.resolve import resolve
    from preceptor.recipes.show import commented_yaml
    from preceptor.utils.imports import import_files

    import_files(imports or ())
    text = commented_yaml(name, overrides or [])
    if overrides:  # what the losses make of their settings; needs torch, so only where there is something to check
        from preceptor.training.checks import check_objectives

        check_objectives(resolve(name, overrides))
    print(text, end="")
