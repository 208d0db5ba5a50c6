"""Whether the images that a run reads are still those that it started with."""

from __future__ import annotations

import warnings
from importlib.metadata import version

from preceptor.data.cache import Pixels
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, PreceptorWarning


def check_images(run: Run, pixels: Pixels) -> None:
    """Compare decoded images with those that a run started with, which the sizes of files cannot tell apart.

    Args:
        pixels: of the run's catalog, at the size of its recipe.

    Raises:
        PreceptorError: they are others. Where another version of Pillow decoded them, which may round otherwise, this
            is a :class:`PreceptorWarning`.
    """
    environment = run.environment
    if environment.data.pixels in ("", pixels.digest):  # empty: of a run from before it was taken
        return
    what = f"{environment.data.root or environment.data.name}: images or masks changed since {run.path} was started"
    pillow, before = version("pillow"), environment.versions.get("pillow")
    if before not in (None, pillow):
        warnings.warn(f"{what}, or Pillow {pillow} decodes them otherwise than {before} did", PreceptorWarning, 2)
        return
    raise PreceptorError(
        f"{what}, although no file changed its size",
        expected="the same pictures under the same names",
        remedy="restore the data, or start a new run",
    )
