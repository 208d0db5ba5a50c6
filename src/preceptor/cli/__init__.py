"""The ``preceptor`` command. Heavy imports live inside the commands: ``--help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from preceptor.utils.errors import PreceptorError
from preceptor.version import __version__

app = typer.Typer(
    name="preceptor",
    help="Knowledge distillation for medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
recipes_app = typer.Typer(help="What can be run, from which paper; 'show NAME' prints its YAML.")
data_app = typer.Typer(help="Look at a data set before training on it.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")

_READERS = "aptos2019, folder, ham10000, histopathologic, isic2019, lgg, phantom, table, or one of a plug-in"
DataName = Annotated[str, typer.Option("--data", help=f"Reader: {_READERS}.")]
Root = Annotated[Path | None, typer.Option("--root", help="The data set's folder (or table).")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value …, as in epochs=30 or data.label=dx")]
Exclude = Annotated[Path | None, typer.Option("--exclude", help="File with ids to leave out, one a line.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Where decoded images are kept.")]
Devices = Annotated[int | None, typer.Option("--devices", min=1, help="Processes (one GPU each).")]


def main() -> None:
    """Runs the command; an error meant for the user is printed without a traceback and exits with 2."""
    try:
        app()
    except PreceptorError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; preceptor resume RUN goes on from the last finished epoch", file=sys.stderr)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@recipes_app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    """What can be run, from which paper."""
    if context.invoked_subcommand is not None:
        return
    from preceptor.recipes.registry import RECIPES

    for name in sorted(RECIPES):
        print(f"{name:16} {RECIPES[name].summary}\n{'':16} {RECIPES[name].paper}")


@recipes_app.command("show")
def show_recipe(name: str, overrides: Overrides = None) -> None:
    """Print a recipe's YAML, which can be edited and run."""
    from preceptor.recipes.show import commented_yaml

    if overrides:  # what the losses make of their settings; needs torch, so only where there is something to check
        from preceptor.recipes.resolve import resolve
        from preceptor.training.checks import check_objectives

        check_objectives(resolve(name, overrides))
    print(commented_yaml(name, overrides or []), end="")


@data_app.command("check")
def check_data(
    name: Annotated[str, typer.Argument(help=f"Reader: {_READERS}.")],
    root: Annotated[Path | None, typer.Argument(help="The data set's folder (or table).")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Reader options, data.key=value …")] = None,
    exclude: Exclude = None,
    preview: Annotated[Path | None, typer.Option("--preview", help="Write a contact sheet of views (PNG).")] = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="View policies to show; all unless given.")
    ] = None,
    image_size: Annotated[int, typer.Option("--image-size", help="Side of the previewed views, px.")] = 112,
    cache: Cache = None,
) -> None:
    """Layout, counts per class, unreadable files, groups."""
    from preceptor.cli.commands import check_data as run

    run(name, root, overrides or [], exclude, preview, policy or [], image_size, cache)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")],
    data: DataName,
    overrides: Overrides = None,
    root: Root = None,
    fold: Annotated[int, typer.Option(min=0, help="Which fold is the test part.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and views.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    task: Annotated[str | None, typer.Option(help="classification (of images) or segmentation (masks).")] = None,
    devices: Devices = None,
    exclude: Exclude = None,
    cache: Cache = None,
) -> None:
    """Train a recipe on a data set, evaluate it, write its report."""
    from preceptor.cli.commands import train as run

    overrides = [*(overrides or []), *([f"task={task}"] if task else [])]
    run(recipe, data, overrides, root, fold, seed, out, devices or 1, exclude, cache)


@app.command()
def resume(run: Path, devices: Devices = None, cache: Cache = None) -> None:
    """Go on with a run as if it had never stopped."""
    from preceptor.cli.commands import resume as go_on

    go_on(run, devices, cache)


@app.command()
def evaluate(
    run: Path,
    part: Annotated[str, typer.Option(help="Which part of the run's own data: test or validation.")] = "test",
    data: Annotated[str | None, typer.Option("--data", help="Other data instead: a reader's name.")] = None,
    root: Root = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Options of the other data's reader, data.key=value")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json and predictions.csv.")] = None,
    cache: Cache = None,
) -> None:
    """Measure a finished run's networks again, on its own data or on other data with the same classes."""
    from preceptor.cli.commands import evaluate as run_it

    run_it(run, part, data, root, overrides or [], out, cache)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run's folder, one of its .safetensors files, or an export.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    network: Annotated[str, typer.Option(help="Which network, where the run has several.")] = "student",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Classifier: the CSV to write, or standard output unless given. Segmenter: the folder of its masks."
        ),
    ] = None,
    precision: Annotated[Literal["float", "int8"], typer.Option(help="Which model of an export.")] = "float",
) -> None:
    """Class probabilities for image files, or their masks where the network is a segmenter."""
    from preceptor.cli.predict import predict as run_it

    run_it(model, images, network, out, precision)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    out: Annotated[Path, typer.Option(help="The folder to write, new or empty.")],
    network: Annotated[str, typer.Option(help="Which network or ensemble of the run.")] = "student",
    int8: Annotated[bool, typer.Option("--int8", help="Also write 8-bit models, unless they lose too much.")] = False,
    bound: Annotated[
        float, typer.Option(help="Points (of 100) of the headline figure that int8 may lose on the test part.")
    ] = 0.5,
    class_name: Annotated[
        list[str] | None, typer.Option("--class-name", help="CODE=full words, for a class of the data.")
    ] = None,
    cache: Cache = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older export in that folder.")] = False,
) -> None:
    """Write a network as ONNX files that take photos as they are and need no torch."""
    from preceptor.cli.export import export as run_it

    run_it(run, out, network, int8, bound, class_name or [], cache, overwrite)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """One self-contained page on one or several runs."""
    from preceptor.report.run_report import write_report

    print(f"report: {write_report(runs, out)}")


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="The finished run of a distilled student.")],
    alone: Annotated[
        Path | None, typer.Option(help="The run of the student alone; looked for beside RUN unless given.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Which network of RUN is the student.")] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Images of each class, at most.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN unless given.")] = None,
) -> None:
    """Where teacher, student alone and distilled student look (Grad-CAM), on images that distillation mended."""
    from preceptor.cli.commands import explain as run_it

    run_it(run, alone, network, per_class, out)


@app.command()
def profile(
    models: Annotated[list[Path], typer.Argument(help="Finished runs, or .safetensors files.")],
    batches: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Images in a pass; 1 and 32.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes (fewer where they take long).")] = 100,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the table here.")] = None,
) -> None:
    """Parameters, file size, FLOPs and latency of networks, on this machine."""
    from preceptor.cli.commands import profile as run_it

    run_it(models, batches or [1, 32], repeats, json, csv)


@app.command()
def study(
    plan: Annotated[str, typer.Argument(help="A shipped plan's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value for all rows; also folds=[0,1], seeds=3, threads=2, baseline=… of the plan"),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Another reader than the plan's.")] = None,
    root: Root = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; studies/PLAN unless given.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Cells at once; as many as the machine bears.")] = None,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; Ray is started here unless given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The plan's small form: a trial, not evidence.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is to do; do nothing.")] = False,
    exclude: Exclude = None,
    cache: Cache = None,
) -> None:
    """Methods × folds × seeds in one table. The same command again goes on where it was stopped."""
    from preceptor.cli.study import study as run_it

    run_it(plan, data, overrides or [], root, out, workers, engine, address, quick, dry_run, exclude, cache)


@app.command()
def tune(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")],
    data: DataName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to search, in quotes: 'objectives.kl.weight=log(0.01,10)', 'key=uniform(a,b)', 'key=int(a,b)', "
            "'key=choice(a,b,c)'; and key=value as for train"
        ),
    ] = None,
    root: Root = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in all, those of earlier calls counted.")] = 20,
    fold: Annotated[int, typer.Option(min=0, help="Whose test part stays out of sight.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the search and of every trial.")] = None,
    out: Annotated[Path | None, typer.Option(help="The search's folder.")] = None,
    devices: Devices = None,
    exclude: Exclude = None,
    cache: Cache = None,
) -> None:
    """Search for weights on the validation part; the test part is not read. The same command again goes on."""
    from preceptor.cli.tune import tune as run_it

    run_it(recipe, data, overrides or [], root, trials, fold, seed, out, devices or 1, exclude, cache)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo's data and runs.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the data and of the training.")] = 0,
) -> None:
    """Synthetic dermoscopy: teacher, student alone, student distilled, report. A few minutes on two cores."""
    from preceptor.demo import run_demo

    run_demo(out, seed)


if __name__ == "__main__":
    main()
