"""Geometry of a batch: everything that moves pixels, composed into one matrix per image and at most one warp.

Matrices act on normalised coordinates (x to the right, y down, the image from -1 to 1 along both), as those of
:func:`torch.nn.functional.affine_grid`. They are float64 arrays on the host, so that which images need which work is
known without waiting for the device.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

# Powers of a counter-clockwise quarter turn; y points down.
_TURNS = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]], dtype=np.float64)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A small array on ``device``; the host does not wait for what the device has still to do."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)


def orientations(h_flip: np.ndarray, v_flip: np.ndarray, transpose: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Mirror left and right, mirror top and bottom, swap rows and columns, then turn, each where asked for.

    Args:
        h_flip, v_flip, transpose: (B,) bool.
        turns: (B,) counter-clockwise quarter turns.

    Returns:
        (B, 2, 2) signed permutations that carry places of the image to places of the view.
    """
    matrices = np.zeros((len(turns), 2, 2))
    matrices[:, 0, 0] = np.where(h_flip, -1, 1)
    matrices[:, 1, 1] = np.where(v_flip, -1, 1)
    matrices[transpose] = matrices[transpose, ::-1]
    oriented: np.ndarray = _TURNS[turns % 4] @ matrices
    return oriented


def linear_maps(
    degrees: np.ndarray, scale: np.ndarray, shear_degrees: np.ndarray, height_scale: np.ndarray | None = None
) -> np.ndarray:
    """Magnify, then shear horizontally, then rotate counter-clockwise: (B,) arrays to (B, 2, 2).

    Args:
        height_scale: the magnification of the height, where that of the width, ``scale``, is another.
    """
    height = scale if height_scale is None else height_scale
    angle, slope = np.deg2rad(degrees), np.tan(np.deg2rad(shear_degrees))
    cos, sin = np.cos(angle), np.sin(angle)
    sheared = np.stack([scale, height * slope, np.zeros_like(scale), height], axis=1).reshape(-1, 2, 2)
    rotated: np.ndarray = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2) @ sheared
    return rotated


def view_to_image(oriented: np.ndarray, linear: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The matrices of :func:`transform` for images that are oriented, then mapped linearly, then shifted.

    Args:
        oriented: (B, 2, 2) from :func:`orientations`.
        linear: (B, 2, 2) from :func:`linear_maps`.
        shifts: (B, 2) to the right and down, as fractions of the side.

    Returns:
        (B, 2, 3): for a place in the view, the place in the image that its value comes from.
    """
    back = oriented.swapaxes(1, 2) @ np.linalg.inv(linear)  # an orientation's inverse is its transpose, exactly
    return np.concatenate([back, -back @ (2 * shifts)[:, :, None]], axis=2)


def transform(
    images: Tensor, matrices: np.ndarray, warped: np.ndarray, mode: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Every image by its matrix: by interpolation where it must, by reordering pixels where it can.

    Args:
        images: (B, K, S, S) uint8.
        matrices: (B, 2, 3).
        warped: (B,) bool; False promises an orientation without any shift, which is then exact.
        mode: ``nearest`` for masks.

    Returns:
        (B, K, S, S) float32 from 0 to 255, never sharing memory with ``images``.

    Raises:
        ValueError: the images are not square.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"views need square images, not {tuple(images.shape[-2:])}")
    if warped.all():
        return warp(images, matrices, mode)
    views = reorient(images, matrices[:, :, :2], ~warped).float()
    rows = np.flatnonzero(warped)
    if len(rows):
        where = to_device(rows, images.device)
        views.index_copy_(0, where, warp(images[where], matrices[rows], mode))
    return views


def warp(images: Tensor, matrices: np.ndarray, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """One interpolation an image, (B, K, S, S) of any type to float32; at its border the image is reflected."""
    count, side = len(images), images.shape[-1]
    places = (2 * torch.arange(side, device=images.device, dtype=torch.float32) + 1) / side - 1
    maps = to_device(matrices.astype(np.float32), images.device)
    grid = torch.empty(count, side, side, 2, device=images.device)
    for axis in (0, 1):  # affine_grid spelt out: a sum of a row and a column, four times as fast on a CPU
        of_x = (maps[:, axis, 0:1] * places).unsqueeze(1)
        of_y = (maps[:, axis, 1:2] * places + maps[:, axis, 2:3]).unsqueeze(2)
        torch.add(of_x, of_y, out=grid[..., axis])
    return grid_sample(images.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)


def orientation_codes(matrices: np.ndarray) -> np.ndarray:
    """Number the eight orientations of a square, 0 being the image as it is.

    Args:
        matrices: (B, 2, 2) signed permutations, from view to image.

    Returns:
        (B,) integers from 0 to 7.
    """
    flip_x, flip_y = (matrices.sum(axis=2) < 0).T
    swap = matrices[:, 0, 0] == 0
    codes: np.ndarray = flip_x + 2 * flip_y + 4 * swap
    return codes


def reorient(images: Tensor, matrices: np.ndarray, chosen: np.ndarray) -> Tensor:
    """The chosen images mirrored, turned or transposed without arithmetic; the others as they are.

    Args:
        images: (B, K, S, S) of any type.
        matrices: (B, 2, 2) signed permutations, from view to image.
        chosen: (B,) bool.

    Returns:
        A tensor like ``images``; ``images`` itself where nothing moves.
    """
    code = np.where(chosen, orientation_codes(matrices), 0)
    if not code.any():
        return images
    moved = images.clone()
    for which in np.unique(code[code > 0]):
        rows = to_device(np.flatnonzero(code == which), images.device)
        some = images[rows].flip([dim for bit, dim in ((1, 3), (2, 2)) if which & bit])
        moved.index_copy_(0, rows, some.mT if which & 4 else some)
    return moved
