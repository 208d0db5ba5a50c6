"""The network or ensemble of a finished run that is exported, and the images that it is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.images import read_image
from preceptor.data.split import parts_of
from preceptor.deploy.manifest import Target
from preceptor.networks.kinds import Network
from preceptor.runs.directory import Run
from preceptor.runs.load_networks import finished_networks
from preceptor.runs.schema import NetworkResult
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError, some_of

#: Of networks that can be exported: the graph ends in their softmax, sigmoid or mask.
TASK_NAMES = ("classification", "ordinal", "multi_label", "segmentation")
_RANDOM_SIZES = ((61, 83), (96, 128), (150, 100), (224, 224))  # (height, width) of images made up for want of others


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        run: the finished run.
        name: of the network or ensemble in the run's recipe.
        networks: the network, or the members of the ensemble, in evaluation mode, without projection heads.
        target: what they predict of an image.
        classes: class codes in the order of the logits; of masks the background first.
        image_size: side of the square images that the networks take, in pixels.
    """

    run: Run
    name: str
    networks: dict[str, Network]
    target: Target
    classes: tuple[str, ...]
    image_size: int

    @property
    def masks(self) -> bool:
        """Whether the networks are U-Nets."""
        return self.target == "mask"

    @property
    def result(self) -> NetworkResult:
        """What ``metrics.json`` holds about it."""
        return self.run.metrics.networks[self.name]

    @property
    def headline(self) -> str:
        """The figure that heads its report."""
        return TASKS[self.run.recipe.task].headline

    def predictions(self, part: str) -> pd.DataFrame:
        """Its rows of ``predictions.csv`` for a part; none where the run has no such part."""
        table = self.run.predictions
        return table[(table["network"] == self.name) & (table["part"] == part)].reset_index(drop=True)


@dataclass(frozen=True)
class PartPixels:
    """The images of one part at the network's size.

    Attributes:
        images: (N, 3, S, S) uint8.
        targets: (N,) class indices, (N, L) labels, or (N, S, S) masks.
        ids, groups: of each image.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.generic]
    ids: list[str]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.images)


def load_subject(path: Path, name: str) -> Subject:
    """Load a network or ensemble of a finished run.

    Raises:
        PreceptorError: no finished run, no network of this name in it, or a member whose file is gone.
    """
    run = Run(path)
    if run.recipe.task not in TASK_NAMES:
        raise PreceptorError(
            f"{path}: networks of the task {run.recipe.task} cannot be exported",
            expected=f"a run of one of the tasks {', '.join(TASK_NAMES)}",
        )
    networks, lost = finished_networks(run)
    ensembles = run.recipe.ensembles
    if name == "student" and name not in networks and len(networks) == 1:
        name = next(iter(networks))
    members = list(ensembles.get(name, [name]))
    missing = [member for member in members if member not in networks]
    if missing and missing[0] in lost:
        raise PreceptorError(lost[missing[0]], remedy="put the run that trained it back where it was")
    if missing:
        raise PreceptorError(
            f"{path}: has no network called {missing[0]}",
            expected=f"one of {', '.join([*networks, *ensembles])}",
            remedy="name the one that is to be exported with --network",
        )
    bare = {member: networks[member].for_inference() for member in members}
    sizes = {network.architecture.image_size for network in bare.values()}
    if len(sizes) > 1:
        raise PreceptorError(f"--network {name}: its members take images of {some_of(sorted(sizes))} px")
    return Subject(run, name, bare, TASKS[run.recipe.task].target, tuple(run.metrics.classes), sizes.pop())


def part_pixels(subject: Subject, part: str, cache: Path | None = None) -> PartPixels:
    """Read a part of the run's data, decoded once into the pixel cache.

    Raises:
        PreceptorError: the data are gone or changed, or the run has no such part.
    """
    catalog = subject.run.catalog()
    rows = _rows(subject, catalog, part)
    pixels = open_pixels(catalog, subject.image_size, masks=subject.masks, directory=cache)
    targets = pixels.masks[rows] if pixels.masks is not None else TASKS[subject.run.recipe.task].targets(catalog)[rows]
    ids = catalog.table["id"].iloc[rows]
    groups = ids.map(subject.run.split.set_index("id")["group"])  # in which identical files are of one group
    return PartPixels(pixels.images[rows], targets, ids.tolist(), groups.tolist())


def photos(subject: Subject, count: int) -> tuple[list[NDArray[np.uint8]], str]:
    """Up to ``count`` whole images (H, W, 3) of the run's data, spread over the test part, and what they are.

    Where the data cannot be read, random images of several sizes take their place, and the description says so.
    """
    try:
        catalog = subject.run.catalog()
        rows = _rows(subject, catalog, "test")
        chosen = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
        return [read_image(catalog.path(int(row))) for row in chosen], f"{len(chosen)} images of the test part"
    except PreceptorError as error:
        draw = np.random.default_rng(0)
        images = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in _RANDOM_SIZES]
        return images, f"{len(images)} random images, since the run's data cannot be read ({error.what})"


def _rows(subject: Subject, catalog: Catalog, part: str) -> NDArray[np.int64]:
    rows = np.flatnonzero(parts_of(subject.run.split, catalog.table["id"]) == part)
    if not len(rows):
        raise PreceptorError(f"{subject.run.path}: has no {part} part")
    return rows
