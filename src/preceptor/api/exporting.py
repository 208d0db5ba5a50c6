"""``export``: a network of a finished run as a folder of ONNX files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.inputs import PathLike, announce, optional_path, shows_progress
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_unwritable
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    from preceptor.deploy.manifest import Manifest


def export(
    run: PathLike,
    *,
    out: PathLike,
    network: str = "student",
    int8: bool = False,
    bound: float = 0.5,
    page: bool = False,
    web_runtime: PathLike | None = None,
    class_names: Iterable[str] | Mapping[str, str] = (),
    cache: PathLike | None = None,
    overwrite: bool = False,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Manifest:
    """Export a trained network or ensemble: ``model.onnx``, ``network.onnx`` and ``export.json``.

    Args:
        run: a finished run's folder.
        out: the folder to write, new or empty.
        network: which network or ensemble of the run.
        int8: whether to write 8-bit models too, unless they lose more than ``bound``.
        bound: points (of 100) of the headline metric that int8 may lose on the test part.
        page: whether to write ``index.html`` too, which runs the network in a browser without a server.
        web_runtime: folder of the npm package onnxruntime-web, for the page; ``$PRECEPTOR_WEB_RUNTIME`` or the cache
            folder unless given.
        class_names: class code → full words (or ``CODE=full words`` texts), where the data set's own are not known.
        cache: where decoded images are kept.
        overwrite: whether ``out`` may hold an older export, which is replaced.
        imports: Python files that register what the run needs.
        progress: whether to show progress; in a terminal or notebook unless given.

    Returns:
        The contents of ``export.json``.

    Raises:
        PreceptorError: an unfinished run, no such network, a folder that holds something else, or a package that is
            missing.
    """
    import_files(imports)
    shown, source, folder = shows_progress(progress), Path(run).expanduser(), Path(out).expanduser()
    names = dict(class_names) if isinstance(class_names, Mapping) else list(map(_checked_class_name, class_names))
    refuse_unwritable(folder.resolve() if folder.is_symlink() else folder)
    require_training()
    announce(f"exporting {network} of {source}", shown)
    from preceptor.deploy.export.write import write_export

    return write_export(
        source,
        out=folder,
        network=network,
        int8=int8,
        largest_loss=bound / 100,
        page=page,
        web_runtime=optional_path(web_runtime),
        class_names=names,
        cache=optional_path(cache),
        overwrite=overwrite,
        progress=lambda text: announce(f"{text} …", shown),
    )


def _checked_class_name(text: str) -> str:
    """The text, if it has an equals sign with something on both sides; only the run knows which of several is meant."""
    if "=" not in text[1:-1]:
        raise PreceptorError(f"--class-name {text}", expected="CODE=full words, as in mel=melanoma")
    return text
