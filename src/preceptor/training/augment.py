"""What each network sees of a batch: views drawn for the global batch, and rendered for this process's share of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from preceptor.data.batches import Batch, shard
from preceptor.data.geometric import orientation_codes
from preceptor.data.views import draw_views, render
from preceptor.recipe import Recipe
from preceptor.tasks import TASKS
from preceptor.utils.randomness import generator, seed_of


@dataclass(frozen=True)
class Views:
    """Views of n images, by network.

    Attributes:
        images: (V·n, 3, S, S) in [0, 1], all upright views first.
        masks: (V·n, S, S) int64, where the task has masks.
        mixed: λ of mixup, where a network's view has it.
        orientations: (V·n,) index of each view's orientation (of eight), where views are only mirrored or turned.
    """

    images: dict[str, Tensor]
    masks: dict[str, Tensor] = field(default_factory=dict)
    mixed: dict[str, float] = field(default_factory=dict)
    orientations: dict[str, np.ndarray] = field(default_factory=dict)


def make_views(
    recipe: Recipe,
    networks: Iterable[str],
    batch: Batch,
    whole: int,
    rng_key: tuple[int, int, int],
    rank: int = 0,
    world: int = 1,
) -> Views:
    """Draw and render the views of some networks; those that see the same share the tensors.

    Args:
        networks: their names.
        batch: this process's share of the global batch.
        whole: images of the global batch; its draws do not depend on the number of processes.
        rng_key: (seed, epoch, step).
    """
    origin = {name: recipe.views[name].same_as or name for name in networks}
    mine = shard(np.arange(whole), rank, world)
    images, masks, mixed, orientations = {}, {}, {}, {}
    for name in dict.fromkeys(origin.values()):
        extra = recipe.transforms(name)
        config = recipe.views[name]
        drawn = draw_views(config.resolved(), whole, extra, generator(*rng_key, f"views/{name}"), config.extra())
        views = 1 + len(extra)
        if len(mine) < whole:
            drawn = drawn.select(np.concatenate([view * whole + mine for view in range(views)]))
        if config.fixed:
            orientations[name] = orientation_codes(drawn.matrices[:, :, :2])
        wanted = None if batch.masks is None or not TASKS[recipe.task].needs_masks else _again(batch.masks, views)
        images[name], warped = render(_again(batch.images, views), drawn, wanted)
        if warped is not None:
            masks[name] = warped.long()
        alpha = recipe.views[name].mixup
        if alpha is not None:
            mixed[name] = mixing_share(alpha, rng_key, name)
            images[name] = mix(images[name], mixed[name], len(mine))
    return Views(
        {name: images[source] for name, source in origin.items()},
        {name: masks[source] for name, source in origin.items() if source in masks},
        {name: mixed[source] for name, source in origin.items() if source in mixed},
        {name: orientations[source] for name, source in origin.items() if source in orientations},
    )


def mixing_share(alpha: float, rng_key: tuple[int, int, int], view: str) -> float:
    """Draw λ = max(x, 1-x), x from Beta(α, α), for one batch of a view."""
    share = float(np.random.default_rng(seed_of(*rng_key, f"mixup/{view}")).beta(alpha, alpha))
    return max(share, 1 - share)


def mix(images: Tensor, share: float, count: int) -> Tensor:
    """Return λ·x + (1-λ)·x' with the next image of the batch, in each block of ``count`` views.

    >>> mix(torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1), 0.75, 3).flatten()
    tensor([1.2500, 2.2500, 2.5000])
    """
    blocks = images.unflatten(0, (-1, count))
    return torch.lerp(blocks.roll(-1, dims=1), blocks, share).flatten(0, 1)


def _again(images: Tensor, views: int) -> Tensor:
    return images if views == 1 else torch.cat([images] * views)
