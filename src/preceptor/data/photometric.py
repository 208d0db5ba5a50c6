"""Light and colour of a batch: one linear map of the colours per image, blur, noise and holes.

The functions that end in an underscore work in place, on (B, 3, S, S) float32 views, and return them. What differs
between the images is given as arrays on the host.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from preceptor.data.geometric import to_device

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601: "grey" as PIL and torchvision mean it
_YIQ = np.stack([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = np.linalg.inv(_YIQ)


def colour_maps(
    brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray, hue: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, then contrast, then saturation and hue, as one linear map of the colours of each image.

    With factors b, c, s, the mean grey m of an image x and the grey g(y) of a pixel y, the steps are y = b·x, then
    y = c·y + (1 - c)·b·m, then y = g(y) + s·R·(y - g(y)), where R turns the chroma plane of YIQ. The last one leaves
    grey alone, so that the three make M·x + (1 - c)·b·m, and m is a weighted sum of the channels' means.

    Args:
        brightness, contrast, saturation: (B,) factors, 1 for no change.
        hue: (B,) degrees.

    Returns:
        M, (B, 3, 3), and what each channel's mean adds to every value, (B, 3).
    """
    angle = np.deg2rad(hue)
    turned = np.zeros((len(hue), 3, 3))
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = saturation * np.cos(angle)
    turned[:, 2, 1] = saturation * np.sin(angle)
    turned[:, 1, 2] = -turned[:, 2, 1]
    maps = (brightness * contrast)[:, None, None] * (_RGB @ turned @ _YIQ)
    return maps, ((1 - contrast) * brightness)[:, None] * _LUMA


def recolour(images: Tensor, maps: np.ndarray, mean_weights: np.ndarray) -> Tensor:
    """The maps of :func:`colour_maps` applied; not clamped."""
    pixels = images.flatten(2)
    changed = torch.bmm(to_device(maps.astype(np.float32), images.device), pixels)
    lift = (pixels.mean(2) * to_device(mean_weights.astype(np.float32), images.device)).sum(1)
    return changed.add_(lift.view(-1, 1, 1)).view_as(images)


def blur_(images: Tensor, sigmas: np.ndarray) -> Tensor:
    """Gaussian blur where the standard deviation (B,), in pixels, is above 0; at its border the image is reflected.

    A Gaussian along one axis is a matrix; two products blur an image. At the sizes and for the few images of a
    training batch that is faster than a convolution with a kernel for each image.
    """
    rows = np.flatnonzero(sigmas > 0)
    if len(rows) == 0:
        return images
    where, side = to_device(rows, images.device), images.shape[-1]
    weights = to_device(_gaussians(sigmas[rows], 2 * side), images.device)
    y, x = torch.arange(side, device=images.device).view(-1, 1), torch.arange(side, device=images.device)
    # A pixel x and its mirror images beyond the two borders, -1 - x and 2·side - 1 - x, all weigh on the pixel y.
    matrices = weights[:, (y - x).abs()] + weights[:, y + x + 1] + weights[:, 2 * side - 1 - y - x]
    matrices = (matrices / matrices.sum(2, keepdim=True)).unsqueeze(1)
    return images.index_copy_(0, where, matrices @ images[where] @ matrices.mT)


def _gaussians(sigmas: np.ndarray, count: int) -> np.ndarray:
    """Values at the distances 0 … ``count`` - 1, (n, ``count``) float32; tails that float32 cannot add are 0."""
    values = np.exp(-0.5 * (np.arange(count) / sigmas[:, None]) ** 2)
    return np.where(values < 1e-9, 0, values).astype(np.float32)  # not denormal numbers: they are slow to multiply


def add_noise_(images: Tensor, deviations: np.ndarray, seeds: np.ndarray) -> Tensor:
    """Gaussian noise where the standard deviation (B,) is above 0.

    Each image has its own seed (B,), so that its noise is the same in whatever part of the batch it is rendered. The
    numbers are those of the device: CPU and CUDA draw different ones from one seed.
    """
    source = torch.Generator(images.device)
    for row in np.flatnonzero(deviations > 0):
        source.manual_seed(int(seeds[row]))
        noise = torch.randn(images.shape[1:], generator=source, device=images.device)
        images[row].add_(noise, alpha=float(deviations[row]))
    return images


def drop_pixels_(images: Tensor, shares: np.ndarray, seeds: np.ndarray) -> Tensor:
    """Set random pixels to black, all channels of each, where the share (B,) is above 0.

    As for :func:`add_noise_`, each image has its own seed (B,) and the numbers are those of the device.
    """
    source = torch.Generator(images.device)
    for row in np.flatnonzero(shares > 0):
        source.manual_seed(int(seeds[row]) ^ 1)
        kept = torch.rand(images.shape[2:], generator=source, device=images.device) >= float(shares[row])
        images[row].mul_(kept)
    return images


def paint_holes_(images: Tensor, centres: np.ndarray, sides: np.ndarray) -> Tensor:
    """Squares painted over with the mean colour of their image (Cutout, DeVries and Taylor 2017, several per view).

    Args:
        centres: (B, K, 2) centres (x, y) of the squares as fractions of the side.
        sides: (B,) side of the squares as a fraction of the image's; 0 where there are none.
    """
    rows = np.flatnonzero(sides > 0) if centres.shape[1] else np.empty(0, np.int64)
    if len(rows) == 0:
        return images
    where = to_device(rows, images.device)
    some, side = images[where], images.shape[-1]
    places = (np.arange(side) + 0.5) / side
    inside = np.abs(places - centres[rows][..., None]) <= (sides[rows] / 2)[:, None, None, None]  # (n, K, 2, S)
    hole = (inside[:, :, 1, :, None] & inside[:, :, 0, None, :]).any(axis=1, keepdims=True)
    painted = torch.where(to_device(hole, images.device), some.mean((2, 3), keepdim=True), some)
    return images.index_copy_(0, where, painted)
