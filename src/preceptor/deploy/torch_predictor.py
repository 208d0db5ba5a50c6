"""A finished network in PyTorch that takes photos as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from preceptor.data.images import resize
from preceptor.networks.classifier import Classifier
from preceptor.networks.kinds import Network
from preceptor.networks.segmenter import Segmenter


class TorchPredictor:
    """Predicts with a network where it lies, on images prepared as its training images were.

    Each of several labels is predicted from a probability of 0.5 on. A mask is drawn at the network's size: the logits
    are enlarged smoothly and the largest counts.

    Args:
        network: is put into evaluation mode.
    """

    def __init__(self, network: Network) -> None:
        self.network = network.eval()
        self.classes = network.architecture.classes
        self.draws_masks = isinstance(network, Segmenter)
        several = isinstance(network, Classifier) and network.architecture.several_labels
        self.thresholds = (0.5,) * len(self.classes) if several else None

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of all parameters and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @torch.no_grad()
    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
        """Of each image (H, W, 3) the probabilities (C,) in float64, or the mask (H, W) of class indices."""
        if not images:
            return []
        side, device = self.network.architecture.image_size, next(self.network.parameters()).device
        squares = np.stack([resize(image, side).transpose(2, 0, 1) for image in images])
        logits = self.network(torch.from_numpy(squares).to(device).float().div_(255)).logits
        if not self.draws_masks:
            scores = logits.double().softmax(1) if self.thresholds is None else logits.double().sigmoid()
            return list(scores.cpu().numpy())
        return [_mask(maps, image.shape[:2]) for maps, image in zip(logits.float(), images, strict=True)]


def _mask(logits: torch.Tensor, size: tuple[int, ...]) -> NDArray[np.uint8]:
    enlarged = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)
    return enlarged.argmax(1)[0].cpu().numpy().astype(np.uint8)
