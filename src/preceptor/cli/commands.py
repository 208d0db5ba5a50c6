"""What the commands do, once their heavy imports may be paid for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rich
from rich.console import Console

from preceptor.api import carry_on
from preceptor.api import train as train_run
from preceptor.data.batches import Loader
from preceptor.data.cache import open_pixels
from preceptor.data.check import check
from preceptor.data.policy import POLICIES
from preceptor.data.preview import contact_sheet
from preceptor.data.split import parts_of
from preceptor.deploy import profile as cost
from preceptor.evaluation.evaluate import best_device
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.predictions import write_predictions
from preceptor.evaluation.relations import RELATIONS
from preceptor.networks.kinds import Network
from preceptor.recipes.resolve import parse_override
from preceptor.report.explain import explain as explain_run
from preceptor.report.gallery import NAME
from preceptor.runs.artifacts import keep_pictures
from preceptor.runs.create import Data
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import evaluate_part
from preceptor.runs.load_networks import add_relations, finished_networks, networks_at
from preceptor.tasks import TASKS
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.files import write_text


@contextmanager
def goes_on() -> Iterator[None]:
    """For a command that goes on where it was stopped: what Ctrl-C leaves to be said; exits with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished epochs", file=sys.stderr)
        sys.exit(130)


def train(
    recipe: str, data: str, overrides: list[str], root: Path | None, fold: int, seed: int | None, out: Path | None,
    devices: int, exclude: Path | None, cache: Path | None,
) -> None:  # fmt: skip
    settings, options = split_overrides(overrides)
    if seed is not None:
        settings["seed"] = seed
    run = train_run(
        recipe, data=data, root=root, options=options, exclude=read_ids(exclude), fold=fold, out=out, devices=devices,
        cache=cache, quiet=False, overrides=settings,
    )  # fmt: skip
    print_result(run)


def resume(path: Path, devices: int | None, cache: Path | None) -> None:
    run = Run(path)
    if run.finished:
        print(f"{path} is finished already")
    print_result(carry_on(run, devices=devices, cache=cache, quiet=False))


def check_data(
    name: str, root: Path | None, overrides: list[str], exclude: Path | None, preview: Path | None,
    policies: list[str], image_size: int, cache: Path | None,
) -> None:  # fmt: skip
    """Prints what is in a data set, and writes a contact sheet where one is asked for."""
    unknown = [one for one in policies if one not in POLICIES]
    if unknown:
        raise PreceptorError(
            f"--policy {unknown[0]}: no such policy.{did_you_mean(unknown[0], POLICIES)}",
            expected="one of " + ", ".join(POLICIES),
        )
    catalog = Data(name, root, only_options(overrides), read_ids(exclude)).catalog()
    with Display("checking", quiet=False) as display, display.counting("reading images", len(catalog)) as move:
        found = check(catalog, progress=lambda done, total: move(done))
    rich.print(found)
    if not found.ok:
        raise PreceptorError(
            f"{len(found.unreadable)} of {len(catalog)} images of {name} cannot be used; they are named above",
            remedy="repair them, or write their ids into a file and leave them out with --exclude FILE",
        )
    if preview is not None:
        pixels = open_pixels(catalog, image_size, masks=catalog.has_masks, directory=cache)
        chosen = {one: POLICIES[one] for one in policies or POLICIES if one != "plain"}
        contact_sheet(pixels, catalog, chosen, preview)
        print(f"preview: {preview}")


def evaluate(
    path: Path, part: str, data: str | None, root: Path | None, overrides: list[str], out: Path | None,
    cache: Path | None,
) -> None:  # fmt: skip
    """Measures the networks of a finished run, from their files, on a part of its data or on other data.

    A run that was finished without relations, layers or overlays gets those of its test part.
    """
    run = Run(path)
    found_networks, lost = finished_networks(run)
    networks = {name: network.to(best_device()) for name, network in found_networks.items()}
    say_lost(lost)
    if data is not None:
        catalog = Data(data, root, only_options(overrides)).catalog()
        part, rows = data, np.arange(len(catalog))
    else:
        if part not in ("test", "validation"):
            raise PreceptorError(f"--part {part}", expected="test or validation")
        catalog = run.catalog()
        rows = np.flatnonzero(parts_of(run.split, catalog.table["id"]) == part)
        if not len(rows):
            raise PreceptorError(f"{path}: has no {part} part", expected="test, under protocol: paper")
    recipe = run.recipe
    classes = TASKS[recipe.task].classes(catalog)
    refuse_other_classes(networks, classes, catalog.name)
    side = next(iter(networks.values())).architecture.image_size
    pixels = open_pixels(catalog, side, masks=TASKS[recipe.task].needs_masks, directory=cache)
    loader = Loader(pixels, catalog.labels, rows, best_device())
    ids = catalog.table["id"].iloc[rows].tolist()
    found = evaluate_part(recipe, networks, loader, ids, classes, part)
    for name, metrics in found.metrics.items():
        print(line_of(recipe.task, name, part, metrics))
    relations = found.relations
    for name, said in relations.plain().items() if relations else ():
        print(relations_line(name, part, said))
    if relations and data is None and part == "test" and add_relations(run, relations, ids):
        print(f"relations: added to {path}; preceptor report shows them")
    if data is None and part == "test":
        for name in keep_pictures(path, recipe, networks, loader, ids, found, missing=True):
            print(f"{name}: added to {path}; preceptor report shows it")
    if out is not None:
        related = relations.plain() if relations else {}
        figures = {
            name: metrics | ({"relations": related[name]} if name in related else {})
            for name, metrics in found.metrics.items()
        }
        write_text(out / "metrics.json", json.dumps(figures, indent=2) + "\n")
        write_predictions(found.predictions, out / "predictions.csv")
        if relations:
            relations.write_matrices(ids, out / RELATIONS)
        print(f"written: {out}")


def refuse_other_classes(networks: Mapping[str, Network], classes: tuple[str, ...], data: str) -> None:
    for name, network in networks.items():
        if network.architecture.classes != classes:
            raise PreceptorError(
                f"{name} tells apart {', '.join(network.architecture.classes)}; {data} has {', '.join(classes)}",
                expected="data with the network's classes, in the same order",
            )


def explain(path: Path, alone: Path | None, network: str | None, per_class: int, out: Path | None) -> None:
    found = explain_run(path, alone, network=network, per_class=per_class, out=out)
    print("\n".join(found.story))
    print(f"gallery: {(out or path) / NAME}.html and .png; a report on {path} shows it too")


def profile(models: list[Path], batches: list[int], repeats: int, as_json: Path | None, as_csv: Path | None) -> None:
    """Prints the cost table of networks in runs and files; each is measured once, however often it is met."""
    networks: dict[str, Network] = {}
    files: dict[str, Path] = {}
    for model in models:
        for short, (network, file) in networks_at(model).items():
            side = network.architecture.image_size
            met = [one for one, at in files.items() if at.resolve() == file.resolve()]
            if all(networks[one].architecture.image_size != side for one in met):
                name = f"{short} at {side} px" if met else str(file) if short in networks else short
                networks[name], files[name] = network.to(best_device()), file
    with Display("profiling", quiet=False) as display, display.counting("timing", len(batches)) as move:
        found = cost.profile(networks, files, batches=list(dict.fromkeys(batches)), repeats=repeats, progress=move)
    wide_console().print(cost.as_table(found))
    for path, text in (
        (as_json, json.dumps([one.plain() for one in found], indent=2, ensure_ascii=False) + "\n"),
        (as_csv, cost.as_csv(found)),
    ):
        if path is not None:
            save(path, text)
            print(f"written: {path}")


def save(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise PreceptorError(f"{path} cannot be written: {error.strerror}", remedy="name another file") from None


def print_result(run: Run) -> None:
    for name, result in run.metrics.networks.items():
        print(line_of(run.recipe.task, name, "test", result.test))
    print(f"report: {run.report}")


def wide_console() -> Console:
    """The terminal; wide enough for any table where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def say_lost(lost: Mapping[str, str]) -> None:
    for name, wrong in lost.items():
        print(f"{name} is left out: {wrong}", file=sys.stderr)


def relations_line(network: str, part: str, relations: Mapping[str, Any]) -> str:
    """R_d of a network, or why there is none."""
    means = [f"{key} {relations[key]:.3f}" for key in ("intra", "inter") if relations[key] is not None]
    said = "no R_d" if relations["r_d"] is None else f"R_d {relations['r_d']:.3f}"
    return f"{network}: {part} {said} ({', '.join([*means, str(relations['images']) + ' images'])})"


def line_of(task_name: str, network: str, part: str, metrics: Mapping[str, Any]) -> str:
    """The main metrics of a network on one part."""
    task = TASKS[task_name]
    known = [key for key in task.summary if metrics[key] is not None]
    figures = ", ".join(f"{key.replace('_', ' ')} {metrics[key]:.{METRICS[key].digits}f}" for key in known)
    return f"{network}: {part} {figures} ({metrics[task.cases]} images)"


def only_options(overrides: list[str]) -> dict[str, object]:
    settings, options = split_overrides(overrides)
    if settings:
        raise PreceptorError(f"{next(iter(settings))!r} means nothing here", expected="reader options, data.key=value")
    return options


def split_overrides(overrides: list[str]) -> tuple[dict[str, object], dict[str, object]]:
    """Overrides of the recipe, and options of the reader (``data.key=value``)."""
    pairs = dict(map(parse_override, overrides))
    options = {key.removeprefix("data."): value for key, value in pairs.items() if key.startswith("data.")}
    return {key: value for key, value in pairs.items() if not key.startswith("data.")}, options


def read_ids(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    if not path.is_file():
        raise PreceptorError(f"--exclude {path}: no such file", expected="a text file with one id a line")
    return tuple(line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#"))
