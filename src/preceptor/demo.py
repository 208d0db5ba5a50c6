"""``preceptor demo``: the main job on the embedded data, from drawing the images to the report."""

from __future__ import annotations

import time
from pathlib import Path

from preceptor.api.completion import continue_run
from preceptor.api.exporting import export
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.data.split import parts_of
from preceptor.deploy.page.assemble import write_page
from preceptor.deploy.page.web_runtime import read_web_runtime
from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve
from preceptor.report.run_report import write_report
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError

IMAGES, SIDE, EPOCHS = 1200, 48, 14
# Plain residual networks: they learn from 840 images in minutes, which mobile ones do not without pretrained weights.
TEACHER, STUDENT = "resnet10t", "test_resnet"
_BUDGET = {"image_size": SIDE, "batch_size": 32, "epochs": EPOCHS}


def run_demo(out: Path, seed: int = 0) -> None:
    """Draw the data, train a teacher, then one student alone and one under the teacher, compare and export them.

    Both students have one backbone, start from the same weights, and see the same batches and the same views for
    the same number of epochs. A demo that was stopped is taken up where it was. The distilled student ends as a web
    page, where ONNX Runtime Web is on this machine.
    """
    began = time.perf_counter()
    data = _draw(out / "data", seed)
    teacher = _run(resolve("teacher", {"backbone": TEACHER, "pretrained": "none", **_BUDGET, "seed": seed}), data, out)
    alone = _run(resolve("student", {"backbone": STUDENT, **_BUDGET, "seed": seed}), data, out)
    learned = {"networks.teacher.run": str(teacher.path), "networks.student.backbone": STUDENT}
    distilled = _run(resolve("kd", {**learned, **_BUDGET, "seed": seed}), data, out)
    page = write_report([teacher.path, alone.path, distilled.path], out / "report.html")
    print(_outcome(teacher, alone, distilled, time.perf_counter() - began))
    print(f"Look at {page}")
    print(_web_page(distilled, out / "exported"))


def _draw(folder: Path, seed: int) -> Data:
    knobs = Phantom(images=IMAGES, size=SIDE, seed=seed)
    if not folder.exists():
        with Display("drawing", quiet=False) as display, display.counting("drawing images", IMAGES) as move:
            write_phantom(folder, knobs, progress=move)
    return Data("phantom", folder, {"images": IMAGES, "size": SIDE, "seed": seed})


def _run(recipe: Recipe, data: Data, out: Path) -> Run:
    run = Run(out / recipe.name)
    if not (run.path / "environment.json").is_file():
        prepare(recipe, data, run.path)
    elif run.recipe != recipe and run.recipe.seed != recipe.seed:
        raise PreceptorError(f"--out {out}: holds a demo with seed {run.recipe.seed}", remedy="choose another --out")
    return continue_run(run, cache=out / "cache", quiet=False)


def _outcome(teacher: Run, alone: Run, distilled: Run, seconds: float) -> str:
    taught, single, together = (
        run.metrics.networks[name].test
        for run, name in ((teacher, "teacher"), (alone, "student"), (distilled, "student"))
    )
    lines = [
        "",
        f"{'on the test part':30} {'accuracy':>9} {'balanced':>9} {'macro AUC':>10}",
        *(
            f"{label:30} {metrics['accuracy']:9.3f} {metrics['balanced_accuracy']:9.3f} {metrics['macro_auc']:10.3f}"
            for label, metrics in (
                (f"teacher {TEACHER}", taught),
                (f"student alone ({STUDENT})", single),
                ("student distilled", together),
            )
        ),
        "",
        _verdict(together["balanced_accuracy"] - single["balanced_accuracy"], together["cases"]),
        f"It took {seconds / 60:.1f} minutes.",
    ]
    return "\n".join(lines)


def _web_page(run: Run, folder: Path) -> str:
    """Export the student as a web page with an example of each class; returns where it is, or what it lacks."""
    try:
        read_web_runtime()
        manifest = export(run.path, out=folder, overwrite=True, progress=True)
    except PreceptorError as error:
        return f"The student was not made a web page: {error}\nthen: preceptor export {run.path} --out {folder} --page"
    catalog = run.catalog()
    tested = catalog.table[parts_of(run.split, catalog.table["id"]) == "test"]
    first = tested.drop_duplicates("label").set_index("label")["image"]
    examples = {item.name: catalog.root / first[item.code] for item in manifest.classes if item.code in first}
    return f"Try {write_page(folder, manifest, examples=examples)} in a browser: it needs no server"


def _verdict(difference: float, cases: int) -> str:
    word = "gained" if difference > 0 else "lost" if difference < 0 else "changed"
    return (
        f"Distillation {word} {abs(difference):.3f} balanced accuracy "
        f"(one seed, {cases} synthetic test images: the report gives the interval)."
    )
