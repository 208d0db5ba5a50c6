"""``preceptor data``: the readers, and what a data set holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preceptor.cli.options import READERS, Cache, Exclude, Imports, ReaderOptions

app = typer.Typer(help="Look at a data set before training on it.", no_args_is_help=True)


@app.command("list")
def list_readers(imports: Imports = None) -> None:
    """The data sets that can be read: what they show, task, size, groups, attributes, licence, layout."""
    from preceptor.cli.console import print_readers
    from preceptor.utils.imports import import_files

    import_files(imports or ())
    print_readers()


@app.command()
def check(
    data: Annotated[str, typer.Argument(metavar="READER", help=f"Reader: {READERS}.")],
    root: Annotated[Path | None, typer.Argument(help="The data set's folder (or table).")] = None,
    overrides: ReaderOptions = None,
    exclude: Exclude = None,
    preview: Annotated[Path | None, typer.Option("--preview", help="Write a contact sheet of views (PNG).")] = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="View policies to show; all unless given.")
    ] = None,
    image_size: Annotated[int, typer.Option("--image-size", min=1, help="Side of the previewed views, px.")] = 112,
    cache: Cache = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Search for near-duplicates, too.")] = False,
    groups: Annotated[
        Path | None, typer.Option("--groups", help="Write groups that keep near-duplicates together (CSV).")
    ] = None,
    imports: Imports = None,
) -> None:
    """Layout, counts per class, unreadable files, groups."""
    from preceptor.api.data_sets import check_data
    from preceptor.cli.console import print_data_report

    settings = overrides or []
    if root is not None and str(root).startswith("data.") and "=" in str(root) and not root.exists():
        settings, root = [str(root), *settings], None  # an option of a reader that needs no folder
    print_data_report(
        check_data(
            data,
            root,
            settings,
            exclude=exclude or (),
            preview=preview,
            policy=policy or (),
            image_size=image_size,
            cache=cache,
            duplicates=duplicates,
            groups=groups,
            imports=imports or (),
            progress=True,
        )
    )
    if preview is not None:
        print(f"preview: {preview}")
