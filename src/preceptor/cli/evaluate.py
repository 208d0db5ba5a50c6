"""Commands on finished runs: ``evaluate``, ``predict``, ``report``, ``explain`` and ``profile``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from preceptor.cli.options import Cache, Exclude, Imports, Root


def evaluate(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN… [data.KEY=VALUE…]", help="Finished runs, or an export; reader options.")
    ],
    part: Annotated[str, typer.Option(help="Which part of the runs' own data: test or validation.")] = "test",
    data: Annotated[str | None, typer.Option("--data", help="Another data set instead: a reader's name.")] = None,
    root: Root = None,
    classes: Annotated[
        Path | None, typer.Option(help="YAML file: class of the other data → class of the run, some of them, or null.")
    ] = None,
    skip_known: Annotated[
        bool, typer.Option("--skip-known", help="Leave out images that a run has learned from, instead of refusing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics, predictions and, on other data, a report.")
    ] = None,
    exclude: Exclude = None,
    cache: Cache = None,
    precision: Annotated[Literal["float", "int8"], typer.Option(help="Which model of an export.")] = "float",
    imports: Imports = None,
) -> None:
    """Measure finished runs' networks again, on their own data or on another data set."""
    import preceptor
    from preceptor.cli.console import print_evaluation

    options = [text for text in runs if text.startswith("data.") and "=" in text]
    result = preceptor.evaluate(
        [text for text in runs if text not in options],
        part=part,
        data=data,
        root=root,
        classes=classes,
        skip_known=skip_known,
        overrides=options,
        out=out,
        exclude=exclude or (),
        cache=cache,
        precision=precision,
        imports=imports or (),
        progress=True,
    )
    print_evaluation(result)


def predict(
    model: Annotated[Path, typer.Argument(help="A run's folder, one of its .safetensors files, or an export.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them (searched with sub-folders).")],
    network: Annotated[
        str | None, typer.Option(help="Which network of the run; its student, or its only one, unless given.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Classifier: the CSV to write, or standard output unless given. Segmenter: the folder of its masks."
        ),
    ] = None,
    precision: Annotated[Literal["float", "int8"], typer.Option(help="Which model of an export.")] = "float",
    imports: Imports = None,
) -> None:
    """Class probabilities for image files, or their masks where the network is a segmenter.

    A run's probabilities are as the network was trained. An export's are calibrated by the temperature in its
    export.json: the predicted class is the same. Of several labels per image, each has a threshold of its own instead
    of 0.5.
    """
    import preceptor
    from preceptor.cli.console import print_predictions

    print_predictions(
        preceptor.predict(
            model,
            images,
            network=network,
            out=out,
            precision=precision,
            imports=imports or (),
            progress=out is not None,
        )
    )


def report(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs, or one study.")],
    out: Annotated[
        Path | None, typer.Option(help="The page to write; report.html unless given. A study's lies in its folder.")
    ] = None,
    imports: Imports = None,
) -> None:
    """One self-contained page on one or several runs, or anew that of a study."""
    from preceptor.api.reporting import write_page

    written = write_page(runs, out=out, imports=imports or (), progress=True)
    print(f"report: {written.page}")
    for line in written.omissions:
        print(line, file=sys.stderr)
    if written.unread:
        sys.exit(1)


def explain(
    run: Annotated[Path, typer.Argument(help="The finished run of a distilled student.")],
    alone: Annotated[
        Path | None, typer.Option(help="The run of the student alone; looked for beside RUN unless given.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Which network of RUN is the student.")] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Images of each class, at most.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN unless given.")] = None,
    imports: Imports = None,
) -> None:
    """Where teacher, student alone and distilled student look (Grad-CAM), on images that distillation corrected."""
    import preceptor

    gallery = preceptor.explain(
        run, alone=alone, network=network, per_class=per_class, out=out, imports=imports or (), progress=True
    )
    print("\n".join(gallery.story))
    print(f"gallery: {(out or run) / 'explain'}.html and .png; a report on {run} shows it too")


def profile(
    models: Annotated[list[Path], typer.Argument(help="Finished runs, or .safetensors files.")],
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Images in a pass; 1 and 32.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes (fewer where they take long).")] = 100,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the table here.")] = None,
    imports: Imports = None,
) -> None:
    """Parameters, file size, FLOPs and latency of networks, on this machine."""
    import preceptor
    from preceptor.cli.console import print_profiles

    profiles = preceptor.profile(
        models, batch=batch or (1, 32), repeats=repeats, json=json, csv=csv, imports=imports or (), progress=True
    )
    print_profiles(profiles)
    for path in (json, csv):
        if path is not None:
            print(f"written: {path}")
