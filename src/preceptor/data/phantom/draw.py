"""Synthetic dermoscopy: a data set that fits into the package, with known truth and adjustable difficulty.

Seven classes with a long tail, several photographs of one lesion (so that a split by images leaks as it does on real
data) and exact lesion masks. The pictures resemble dermatoscopic ones; nothing learned from them is of clinical use.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from preceptor.data.phantom.lesion import FIELD, draw_lesion
from preceptor.data.phantom.photograph import photograph
from preceptor.data.phantom.traits import BY_FREQUENCY, draw_traits
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import seed_of

#: Raised with every change to what is drawn, so that an older copy is not taken for a newer one.
FORMAT = 1
CLASSES = tuple(sorted(BY_FREQUENCY))
KNOBS_FILE, TABLE_FILE = "phantom.json", "metadata.csv"
_DENSITY = 1.25  # canvas pixels to one of the image: views zoom in by up to 1.4
_MOST_VIEWS = 6  # of one lesion, as in HAM10000


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Phantom:
    """The knobs. A value outside its range raises pydantic's ``ValidationError``.

    Attributes:
        images: number of images.
        size: their side in pixels.
        imbalance: how many times more images the commonest class has than the rarest (HAM10000: 58).
        views: mean number of images of one lesion (HAM10000: 1.34); at most six of one.
        variation: spread of the traits within a class; 1 is about real, 0 makes all lesions of a class alike.
        similarity: 0 keeps the classes apart, 1 gives all of them the same mean traits.
        noise: standard deviation of the sensor's noise, share of full scale.
        hair: share of images with hair across.
        label_noise: share of lesions that carry the label of another class.
        seed: decides on all draws.
    """

    images: Annotated[int, Field(ge=7, le=1_000_000)] = 1500
    size: Annotated[int, Field(ge=16, le=1024)] = 96
    imbalance: Annotated[float, Field(ge=1, le=1000)] = 15.0
    views: Annotated[float, Field(ge=1, le=4)] = 1.4
    variation: Annotated[float, Field(ge=0, le=3)] = 1.0
    similarity: Annotated[float, Field(ge=0, le=1)] = 0.3
    noise: Annotated[float, Field(ge=0, le=0.5)] = 0.015
    hair: Annotated[float, Field(ge=0, le=1)] = 0.35
    label_noise: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0

    def key(self) -> str:
        """A short hash of the knobs and of :data:`FORMAT`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2)  # type: ignore[call-overload]

    def counts(self) -> dict[str, int]:
        """Images of each class: a geometric tail, rounded so that the sum is exact.

        Raises:
            PreceptorError: too few images for the rarest class to have any.
        """
        shares = self.imbalance ** (-np.arange(7) / 6)
        exact = self.images * shares / shares.sum()
        whole = np.floor(exact).astype(int)
        whole[np.argsort(whole - exact, kind="stable")[: self.images - whole.sum()]] += 1
        if whole.min() < 1:
            raise PreceptorError(
                f"phantom: {self.images} images at an imbalance of {self.imbalance:g} leave none to {BY_FREQUENCY[-1]}",
                expected="at least one image of each class",
                remedy="more images (data.images) or a smaller data.imbalance",
            )
        return dict(zip(BY_FREQUENCY, whole.tolist(), strict=True))


def load_knobs(directory: Path) -> Phantom:
    """The knobs of a phantom on disk.

    Raises:
        PreceptorError: no phantom there, or one written by another version of the generator.
    """
    path = directory / KNOBS_FILE
    try:
        stored = json.loads(path.read_text())
        version = stored.pop("format")
        if version == FORMAT:
            return Phantom(**stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PreceptorError(
            f"{directory} is not a phantom data set ({KNOBS_FILE} is missing or damaged)",
            expected="a folder written by the phantom reader, or one that does not exist yet",
            remedy="give another --root",
        ) from None
    raise PreceptorError(
        f"{directory} was written by another version of the phantom generator (format {version})",
        expected=f"format {FORMAT}",
        remedy="remove the folder, and it is written anew; or give another --root",
    )


def write_phantom(
    directory: Path, knobs: Phantom, progress: Callable[[int], object] | None = None, workers: int | None = None
) -> None:
    """Draw a phantom data set into ``directory``: images/*.jpg, masks/*.png, metadata.csv and phantom.json.

    It appears at once when it is complete: a killed run leaves nothing that could be taken for a data set, and of two
    runs that draw it at the same time one wins and both are served.

    Args:
        directory: must not exist yet (an empty folder may).
        knobs: what to draw.
        progress: called with the number of images drawn since the last call.
        workers: threads; the number of cores when None.

    Raises:
        PreceptorError: the directory holds something else, or cannot be written.
    """
    lesions = _plan(knobs)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        building = Path(mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise PreceptorError(f"{directory.parent} cannot be written: {error.strerror}", remedy="give --root") from error
    try:
        (building / "images").mkdir()
        (building / "masks").mkdir()
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            written = pool.map(partial(_write_lesion, building, knobs), lesions)
            for lesion, _ in zip(lesions, written, strict=True):
                if progress:
                    progress(len(lesion.images))
        _table(lesions).to_csv(building / TABLE_FILE, index=False)
        (building / KNOBS_FILE).write_text(knobs.to_json())
        building.chmod(0o755)
        _put_in_place(building, directory, knobs)
    except OSError as error:
        raise PreceptorError(
            f"{directory} cannot be written: {error.strerror}", remedy="make room or give --root"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(building: Path, directory: Path, knobs: Phantom) -> None:
    try:
        building.rename(directory)
    except OSError:  # not empty: somebody was faster, or it is another folder
        if load_knobs(directory) != knobs:
            raise PreceptorError(
                f"{directory} holds a phantom with other knobs", remedy="give another --root, or remove the folder"
            ) from None


@dataclass(frozen=True)
class _Lesion:
    number: int
    kind: str  # what it looks like
    label: str  # what the table calls it
    images: tuple[str, ...]  # ids


def _plan(knobs: Phantom) -> list[_Lesion]:
    """All lesions with their labels and image ids; the ids are shuffled, so that they tell nothing of the class."""
    rng = np.random.default_rng(seed_of(knobs.seed, "phantom", "plan"))
    sizes = [(kind, size) for kind, count in knobs.counts().items() for size in _sizes(rng, count, knobs.views)]
    ids = iter([f"phantom_{number:07d}" for number in rng.permutation(knobs.images)])
    numbers = rng.permutation(len(sizes))
    lesions = []
    for number, (kind, size) in zip(numbers.tolist(), sizes, strict=True):
        mislabelled = rng.random() < knobs.label_noise
        label = str(rng.choice([name for name in CLASSES if name != kind])) if mislabelled else kind
        lesions.append(_Lesion(number, kind, label, tuple(next(ids) for _ in range(size))))
    return lesions


def _sizes(rng: np.random.Generator, images: int, views: float) -> list[int]:
    """Numbers of views of the lesions of one class, which add up to ``images``."""
    sizes = []
    while images:
        size = min(int(rng.geometric(1 / views)), _MOST_VIEWS, images)
        sizes.append(size)
        images -= size
    return sizes


def _write_lesion(directory: Path, knobs: Phantom, lesion: _Lesion) -> None:
    rng = np.random.default_rng(seed_of(knobs.seed, "phantom", "lesion", lesion.number))
    traits = draw_traits(rng, lesion.kind, similarity=knobs.similarity, variation=knobs.variation)
    canvas = draw_lesion(rng, traits, round(knobs.size * _DENSITY * FIELD))
    for image_id in lesion.images:
        rng = np.random.default_rng(seed_of(knobs.seed, "phantom", "view", image_id))
        pixels, mask = photograph(rng, canvas, knobs.size, hair=knobs.hair, noise=knobs.noise)
        Image.fromarray(pixels).save(directory / "images" / f"{image_id}.jpg", quality=90, subsampling=0)
        Image.fromarray(mask).save(directory / "masks" / f"{image_id}.png")


def _table(lesions: list[_Lesion]) -> pd.DataFrame:
    rows = [(f"lesion_{lesion.number:07d}", image_id, lesion.label) for lesion in lesions for image_id in lesion.images]
    return pd.DataFrame(rows, columns=["lesion_id", "image_id", "dx"]).sort_values("image_id", ignore_index=True)


def differing(first: Phantom, second: Phantom) -> list[str]:
    """The names of the knobs that differ."""
    names = [field.name for field in fields(first)]  # type: ignore[arg-type]
    return [name for name in names if getattr(first, name) != getattr(second, name)]
