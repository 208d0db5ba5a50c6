"""``evaluate``: the networks of finished runs measured again, on their own data or on another data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from preceptor.api.inputs import (
    ExcludeLike,
    OverridesLike,
    PathLike,
    announce,
    excluded_ids,
    optional_path,
    path_list,
    reader_options,
    shows_progress,
)
from preceptor.api.measurement import (
    ClassesLike,
    EvaluationResult,
    of_export,
    of_other_data,
    of_own_parts,
    read_class_map,
    refuse_foreign_folder,
)
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.imports import import_files

__all__ = ["EvaluationResult", "evaluate"]


def evaluate(
    runs: PathLike | Sequence[PathLike],
    overrides: OverridesLike | None = (),
    *,
    part: str = "test",
    data: str | None = None,
    root: PathLike | None = None,
    classes: ClassesLike | None = None,
    skip_known: bool = False,
    out: PathLike | None = None,
    exclude: ExcludeLike | None = (),
    cache: PathLike | None = None,
    precision: Literal["float", "int8"] = "float",
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> EvaluationResult:
    """Measure the networks of finished runs from their files, on a part of their data or on another data set.

    On another data set with ``out`` a report is written too: teacher, student alone and distilled student on the same
    images, each difference paired, beside what they do on their own test part.

    An exported network is measured on ONNX Runtime, on the data that are named. It knows none of its own: the whole
    data set that its network was trained on is refused unless ``exclude`` names the images that it learned from.

    A run that was finished without relations, layers or overlays of its test part gets them.

    Args:
        runs: one or more runs' folders, or a folder that ``preceptor export`` wrote.
        overrides: options of the other data's reader, ``data.key=value``.
        part: ``test`` or ``validation``, of the runs' own data.
        data: a reader's name: all images of other data instead.
        root: the other data's folder; without ``data``, where the run's own data lie now, if they were moved.
        classes: class of the other data → the run's class, a list of its classes, or None to leave images out; or a
            YAML file with that. Classes of one name need not be in it.
        skip_known: leave out images that a run has learned from or was selected by, instead of refusing them.
        out: a folder for ``metrics.json`` and ``predictions.csv``, one for each run where there are several.
        exclude: ids of the other data to leave out, or a file with one per line.
        cache: where decoded images are kept.
        precision: which model of an export.
        imports: Python files that register what the runs need.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: a run is unfinished, the data are gone, of other classes or known to a run or export, or ``out``
            cannot be written.
    """
    import_files(imports)
    shown, folder = shows_progress(progress), optional_path(out)
    paths = path_list(runs)
    if not paths:
        raise PreceptorError("no run was given", expected="the folder of a finished run, or several")
    if data is None and part not in ("test", "validation"):
        raise PreceptorError(f"--part {part}: no such part", expected="test or validation")
    if data is not None and part != "test":
        raise PreceptorError(f"--part {part}: belongs to the runs' own data", remedy="leave out --part, or --data")
    if data is None and (overrides or exclude or classes or skip_known):
        raise PreceptorError(
            "--classes, --skip-known, --exclude and data.key=value belong to other data",
            remedy="name its reader with --data",
        )
    if folder is not None:
        refuse_foreign_folder(folder, paths)
    options = reader_options(overrides, data) if data is not None else {}
    ids = excluded_ids(exclude)
    announce(f"evaluating {', '.join(map(str, paths))}", shown)
    from preceptor.deploy.manifest import is_export

    if exports := [path for path in paths if is_export(path)]:
        if len(paths) > 1 or classes or skip_known:
            raise PreceptorError(f"{exports[0]}: is an export, which is measured alone and without --classes")
        return of_export(paths[0], data, optional_path(root), options, ids, folder, optional_path(cache), precision)
    if precision != "float":
        raise PreceptorError(
            f"--precision {precision}: {paths[0]} is not an export", expected="a folder that preceptor export wrote"
        )
    for path in paths:
        if not path.is_dir():
            raise PreceptorError(f"{path}: there is no such run or export", expected="a run's folder, or an export's")
    require_training()
    cached = optional_path(cache)
    if data is None:
        return of_own_parts(paths, part, optional_path(root), folder, cached)
    from preceptor.runs.data import Data
    from preceptor.runs.external import OtherData

    other = OtherData(data, Data(data, optional_path(root), options, ids), read_class_map(classes))
    return of_other_data(paths, other, skip_known, folder, cached)
