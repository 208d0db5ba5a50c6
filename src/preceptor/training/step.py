"""What one step gives to the model, and what it gets back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from preceptor.training.augment import Views


class StepInputs(NamedTuple):
    """One process's share of a batch, as the networks see it.

    Attributes:
        views: the images, masks, mixing shares and orientations of each network.
        labels: (n,) classes, or (n, L) labels.
        rows: (n,) rows of the training part.
        rng_key: (seed, epoch, step), for random draws.
        sizes: images of each process in this step.
        host_rows: ``rows`` on the host, for a teacher cache.
    """

    views: Views
    labels: Tensor
    rows: Tensor
    rng_key: tuple[int, int, int]
    sizes: list[int]
    host_rows: np.ndarray | None = None


class StepOutputs(NamedTuple):
    """What a step computed. A tuple, in which ``DistributedDataParallel`` finds the tensors.

    Attributes:
        losses: unweighted losses of the objectives that count in this epoch, by name.
        projections: (n, d) without gradients, by network: what memory banks store after the step.
        critic_losses: the losses of critics, by the name of their objective.
    """

    losses: dict[str, Tensor]
    projections: dict[str, Tensor]
    critic_losses: dict[str, Tensor]
