"""``report``, ``explain`` and ``profile``: pages and figures on finished runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.inputs import PathLike, announce, optional_path, path_list, shows_progress, whole_number
from preceptor.api.studies import WrittenReport
from preceptor.runs.occupied import kind_of
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_foreign, refuse_unwritable, write_output
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    from preceptor.deploy.profile import Profile
    from preceptor.networks.kinds import Network
    from preceptor.report.gallery import Gallery


_PAGE = "report.html"


def report(
    runs: PathLike | Iterable[PathLike],
    *,
    out: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Path:
    """Write one self-contained page on one or several finished runs, or anew that of a study; returns its path.

    Warns of finished cells of a study that are not in it, since their runs' files are damaged.

    Args:
        runs: run folders, in the order of the tables; or the folder of one study, whose ``report.html``, ``report.md``,
            ``table.csv`` and ``table.tex`` are written there.
        out: the page to write; ``report.html`` unless given. A study has none but its own.
        imports: Python files that register what the runs need.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: a folder that is not a finished run, runs of different tasks or classes, an ``out`` that is no
            report or cannot be written.
    """
    written = write_page(runs, out=out, imports=imports, progress=progress)
    for line in written.omissions:
        warnings.warn(line, PreceptorWarning, stacklevel=2)
    assert written.page is not None
    return written.page


def write_page(
    runs: PathLike | Iterable[PathLike], *, out: PathLike | None, imports: Iterable[PathLike], progress: bool | None
) -> WrittenReport:
    """Write the page of :func:`report`; return it with what is not in it."""
    import_files(imports)
    folders = path_list(runs)
    if studies := [folder for folder in folders if kind_of(folder) == "study"]:
        return _report_study(studies[0], len(folders), out, progress)
    page = Path(out or _PAGE).expanduser()
    refuse_foreign(page, ["· run report · Preceptor</title>".encode(), "· Preceptor report</title>".encode()])
    require_training()
    announce(f"writing {page}", shows_progress(progress))
    from preceptor.report.run_report import write_report

    return WrittenReport(write_report(folders, page))


def _report_study(folder: Path, folders: int, out: PathLike | None, progress: bool | None) -> WrittenReport:
    if folders > 1:
        raise PreceptorError(f"{folder}: holds a study", expected="runs alone, or one study alone, on one page")
    if out is not None and Path(out).expanduser().resolve() != (folder / _PAGE).resolve():
        raise PreceptorError(
            f"--out {out}: {folder} holds a study, whose report lies in its folder", remedy="give no --out"
        )
    require_training()
    announce(f"writing {folder / _PAGE}", shows_progress(progress))
    from preceptor.report.study_report import write_report_of
    from preceptor.report.study_results import read_study

    results = read_study(folder)
    return WrittenReport(write_report_of(results), unread=results.unread)


def explain(
    run: PathLike,
    *,
    alone: PathLike | None = None,
    network: str | None = None,
    per_class: int = 2,
    out: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Gallery:
    """Grad-CAM of teacher, student alone and distilled student, on images that distillation corrected.

    Args:
        run: the finished run of a distilled student.
        alone: the run of the student alone, on the same split; looked for beside ``run`` unless given.
        network: which network of ``run`` is the student; ``student``, or the only one trained, unless given.
        per_class: images of each class, at most.
        out: the folder to write to; ``run`` unless given, whose reports then show the gallery.
        imports: Python files that register what the runs need.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: a run is unfinished, was split otherwise, lacks such a network, or its data are gone.
    """
    import_files(imports)
    place, per_class = Path(run).expanduser(), whole_number("per-class", per_class, 1)
    folder = optional_path(out) or place
    if folder.is_dir() or out is not None:
        _refuse_foreign_gallery(folder)
    require_training()
    announce(f"explaining {place}", shows_progress(progress))
    from preceptor.report.explain import explain as explain_run

    return explain_run(place, optional_path(alone), network=network, per_class=per_class, out=folder)


def _refuse_foreign_gallery(folder: Path) -> None:
    """Raise if the folder holds files with the names of a gallery that are none."""
    refuse_unwritable(folder)
    if folder.is_file():
        raise PreceptorError(f"--out {folder}: is a file", expected="a folder")
    page = folder / "explain.html"
    for name in ("explain.html", "explain.json", "explain.png"):
        own = page.is_file() and name != page.name  # the three are written together
        if (folder / name).exists() and not own:
            refuse_foreign(folder / name, ["· Preceptor</title>".encode()])


def profile(
    models: PathLike | Iterable[PathLike],
    *,
    batch: int | Sequence[int] = (1, 32),
    repeats: int = 100,
    json: PathLike | None = None,
    csv: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> list[Profile]:
    """Parameters, file size, FLOPs and latency of networks on this machine; each file is measured once.

    Args:
        models: finished runs, or ``.safetensors`` files.
        batch: batch sizes to time, or one.
        repeats: timed passes (fewer where they take long).
        json: also write the figures here.
        csv: also write the table here.
        imports: Python files that register what the runs need.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: no finished run or network file, or a file that cannot be written.
    """
    import_files(imports)
    shown = shows_progress(progress)
    paths = path_list(models)
    given = list(batch) if isinstance(batch, Iterable) else [batch]
    sizes = list(dict.fromkeys(whole_number("batch", size, 1) for size in given))
    repeats = whole_number("repeats", repeats, 1)
    require_training()
    announce(f"profiling {', '.join(map(str, paths))}", shown)
    from preceptor.deploy import profile as costs
    from preceptor.training.progress import Display

    table, figures = optional_path(csv), optional_path(json)
    if table is not None:
        refuse_foreign(table, [b"name,backbone,image_size"], "--csv")
    if figures is not None:
        refuse_foreign(figures, [b'"latency_ms"'], "--json")
    networks, files = _distinct_networks(paths)
    with Display("profiling", quiet=not shown) as display, display.counting("timing", len(sizes)) as move:
        profiles = costs.profile(networks, files, batches=sizes, repeats=repeats, progress=move)
    if table is not None:
        write_output(table, costs.as_csv(profiles), "--csv")
    if figures is not None:
        write_output(figures, costs.as_json(profiles), "--json")
    return profiles


def _distinct_networks(models: Iterable[Path]) -> tuple[dict[str, Network], dict[str, Path]]:
    """Networks and their files by the name to show; a file that occurs twice counts twice only at another size."""
    from preceptor.evaluation.evaluate import best_device
    from preceptor.runs.load_networks import networks_at

    networks: dict[str, Network] = {}
    files: dict[str, Path] = {}
    for model in models:
        for short, (network, file) in networks_at(model).items():
            side = network.architecture.image_size
            same_file = [name for name, other in files.items() if other.resolve() == file.resolve()]
            if all(networks[name].architecture.image_size != side for name in same_file):
                name = f"{short} at {side} px" if same_file else str(file) if short in networks else short
                networks[name], files[name] = network.to(best_device()), file
    return networks, files
