"""What each network sees of a batch: views drawn for the global batch, and rendered for this process's share of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from preceptor.data.batches import Batch, shard
from preceptor.data.views import draw_again, render
from preceptor.recipe import Recipe
from preceptor.utils.randomness import generator


@dataclass(frozen=True)
class Views:
    """Views of n images by network: images (V·n, 3, S, S) in [0, 1], all upright views first, and their masks
    (V·n, S, S) int64 where the task has masks."""

    images: dict[str, Tensor]
    masks: dict[str, Tensor]


def make_views(
    recipe: Recipe,
    networks: Iterable[str],
    batch: Batch,
    whole: int,
    rng_key: tuple[int, int, int],
    rank: int = 0,
    world: int = 1,
) -> Views:
    """Draws and renders the views of some networks; those that see the same share the tensors.

    Args:
        networks: which ones look.
        batch: this process's share of the global batch.
        whole: images of the global batch; its draws do not depend on the number of processes.
        rng_key: (seed, epoch, step).
    """
    origin = {name: recipe.views[name].same_as or name for name in networks}
    mine = shard(np.arange(whole), rank, world)
    images, masks = {}, {}
    for name in dict.fromkeys(origin.values()):
        extra = recipe.transforms(name)
        drawn = draw_again(recipe.views[name].resolved(), whole, extra, generator(*rng_key, f"views/{name}"))
        views = 1 + len(extra)
        if len(mine) < whole:
            drawn = drawn.select(np.concatenate([view * whole + mine for view in range(views)]))
        wanted = None if recipe.task == "classification" or batch.masks is None else _again(batch.masks, views)
        images[name], warped = render(_again(batch.images, views), drawn, wanted)
        if warped is not None:
            masks[name] = warped.long()
    return Views(
        {name: images[source] for name, source in origin.items()},
        {name: masks[source] for name, source in origin.items() if source in masks},
    )


def _again(images: Tensor, views: int) -> Tensor:
    return images if views == 1 else torch.cat([images] * views)
