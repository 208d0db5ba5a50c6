"""From host to device without waiting."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def put(array: np.ndarray, device: torch.device) -> Tensor:
    """A small array on ``device``; the host does not wait for what the device has still to do."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
