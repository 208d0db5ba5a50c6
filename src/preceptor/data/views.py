"""Views of a batch of images: all random choices first, in a :class:`Draw`, and then the pixels, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from preceptor.data import geometric, photometric
from preceptor.data.policy import Policy

# One column of uniform numbers for each thing that may be drawn.
_COLUMNS = (
    "h_flip", "v_flip", "transpose", "turned", "turns", "scaled", "scale", "sheared", "shear", "rotated", "rotate",
    "shifted", "shift_x", "shift_y", "coloured", "brightness", "contrast", "saturation", "hue", "blurred", "blur",
    "noisy", "noise", "holed",
)  # fmt: skip
# Drawn after them: the columns above are what they were before there were these.
_LATER_COLUMNS = ("scale_y", "dropped", "dropout")

#: The seven orientations of a square besides its own, as (h_flip, v_flip, transpose, counter-clockwise turns).
ORIENTATIONS: dict[str, tuple[bool, bool, bool, int]] = {
    "rot90": (False, False, False, 1),
    "rot180": (False, False, False, 2),
    "rot270": (False, False, False, 3),
    "h_flip": (True, False, False, 0),
    "v_flip": (False, True, False, 0),
    "transpose": (False, False, True, 0),
    "antitranspose": (False, False, True, 2),
}

_REFERENCE_SIDE = 224  # the side for which a policy gives its blur in pixels


@dataclass(frozen=True)
class Draw:
    """What makes B views: every random choice, as arrays on the host, independent of the size of the images.

    Attributes:
        matrices: (B, 2, 3), from a place in the view to the place in the image (see :mod:`geometric`).
        warped: (B,) bool, whether interpolation is needed; elsewhere the matrix is one of the eight orientations.
        colours: (B, 3, 3) maps of the colours.
        mean_weights: (B, 3), what the mean of each channel adds to every value.
        coloured: (B,) bool, whether the colours change at all.
        blur: (B,) standard deviations as fractions of the side; 0 for none.
        noise: (B,) standard deviations for values from 0 to 1; 0 for none.
        noise_seeds: (B,) int64.
        holes: (B, K, 2) centres (x, y) as fractions of the side.
        hole_sides: (B,) fractions of the side; 0 for none.
        dropout: (B,) shares of the pixels that become black; 0 for none.
    """

    matrices: np.ndarray
    warped: np.ndarray
    colours: np.ndarray
    mean_weights: np.ndarray
    coloured: np.ndarray
    blur: np.ndarray
    noise: np.ndarray
    noise_seeds: np.ndarray
    holes: np.ndarray
    hole_sides: np.ndarray
    dropout: np.ndarray

    def __len__(self) -> int:
        return len(self.warped)

    def select(self, indices: np.ndarray | Tensor) -> Draw:
        """The draws of some of the images, such as one process's share; their views are those of the whole batch."""
        rows = np.asarray(indices)
        return Draw(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw(policy: Policy, count: int, generator: torch.Generator) -> Draw:
    """Draws the views of ``count`` images.

    Every column is drawn whether or not the policy uses it, so that changing one field of a policy leaves all other
    choices as they were.

    Args:
        generator: on the CPU, and advanced; nothing else random is used.
    """
    columns = torch.rand(count, len(_COLUMNS), generator=generator, dtype=torch.float64).numpy().T
    seeds = torch.randint(2**62, (count,), generator=generator).numpy()
    later = torch.rand(count, len(_LATER_COLUMNS), generator=generator, dtype=torch.float64).numpy().T
    holes = torch.rand(count, policy.holes, 2, generator=generator, dtype=torch.float64).numpy()
    uniform = dict(zip((*_COLUMNS, *_LATER_COLUMNS), (*columns, *later), strict=True))
    matrices, warped = _draw_geometry(policy, uniform)
    colours, mean_weights, coloured = _draw_colours(policy, uniform)
    holed = uniform["holed"] < policy.holes_p if policy.holes else np.zeros(count, dtype=bool)
    return Draw(
        matrices=matrices,
        warped=warped,
        colours=colours,
        mean_weights=mean_weights,
        coloured=coloured,
        blur=np.where(uniform["blurred"] < policy.blur_p, uniform["blur"] * policy.blur / _REFERENCE_SIDE, 0.0),
        noise=np.where(uniform["noisy"] < policy.noise_p, uniform["noise"] * policy.noise, 0.0),
        noise_seeds=seeds,
        holes=holes,
        hole_sides=np.where(holed, policy.hole_size, 0.0),
        dropout=np.where(uniform["dropped"] < policy.dropout_p, uniform["dropout"] * policy.dropout, 0.0),
    )


def draw_views(
    policy: Policy, count: int, extra_transforms: Sequence[str], generator: torch.Generator, extra: Policy | None = None
) -> Draw:
    """Draw views of ``count`` images: ``count`` upright ones first, then as many under each of the transforms.

    Every view has a draw of its own and is turned afterwards, exactly: no pixel is interpolated for it.

    Args:
        extra_transforms: keys of :data:`ORIENTATIONS`.
        extra: the policy of the views under ``extra_transforms``, where it differs.
    """
    if extra is None or extra == policy or not extra_transforms:
        drawn = draw(policy, count * (1 + len(extra_transforms)), generator)
    else:
        drawn = _joined(draw(policy, count, generator), draw(extra, count * len(extra_transforms), generator))
    if not extra_transforms:
        return drawn
    chosen = [(False, False, False, 0), *(ORIENTATIONS[name] for name in extra_transforms)]
    h_flip, v_flip, transpose, turns = (np.repeat(np.array(values), count) for values in zip(*chosen, strict=True))
    back = geometric.orientations(h_flip, v_flip, transpose, turns).swapaxes(1, 2)
    turned = np.concatenate([drawn.matrices[:, :, :2] @ back, drawn.matrices[:, :, 2:]], axis=2)
    return replace(drawn, matrices=turned)


def reachable_orientations(
    policy: Policy, extra_transforms: Sequence[str] = (), extra: Policy | None = None
) -> list[int]:
    """Return which of the eight orientations views may have, numbered by :func:`geometric.orientation_codes`.

    Args:
        policy, extra_transforms, extra: as for :func:`draw_views`; the policies only mirror and turn.

    >>> reachable_orientations(Policy()), reachable_orientations(Policy(h_flip=0.5), extra_transforms=["v_flip"])
    ([0], [0, 1, 2, 3])
    """
    own, others = _orientations_of(policy), _orientations_of(extra or policy)
    chosen = [np.array([values]).T for values in zip(*(ORIENTATIONS[name] for name in extra_transforms), strict=True)]
    turned = [
        others @ geometric.orientations(*(column[row] for column in chosen)).swapaxes(1, 2)
        for row in range(len(extra_transforms))
    ]
    return np.unique(geometric.orientation_codes(np.concatenate([own, *turned]))).tolist()  # type: ignore[no-any-return]


def _orientations_of(policy: Policy) -> np.ndarray:
    """From view to image, (M, 2, 2), every orientation that a policy may draw."""
    moves = (policy.h_flip, policy.v_flip, policy.transpose)
    choices = [[False] * (p < 1) + [True] * (p > 0) for p in moves]
    turns = [0] * (policy.quarter_turns < 1) + [1, 2, 3] * (policy.quarter_turns > 0)
    columns = [np.array(column) for column in zip(*product(*choices, turns), strict=True)]
    return geometric.orientations(*columns).swapaxes(1, 2)


def _joined(first: Draw, second: Draw) -> Draw:
    """The draws of two policies as one batch; centres of holes that a view does not have lie outside of it."""
    most = max(first.holes.shape[1], second.holes.shape[1])
    first, second = (
        replace(drawn, holes=np.pad(drawn.holes, ((0, 0), (0, most - drawn.holes.shape[1]), (0, 0)), constant_values=9))
        for drawn in (first, second)
    )
    names = [column.name for column in fields(Draw)]
    return Draw(**{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names})


@torch.no_grad()
def render(images: Tensor, drawn: Draw, masks: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The views that were drawn, in float32 whatever autocast says.

    Args:
        images: (B, 3, S, S) uint8, on any device; not modified.
        drawn: B draws.
        masks: (B, S, S) uint8, moved as the images are (nearest neighbour, so that no new values arise).

    Returns:
        (B, 3, S, S) float32 from 0 to 1, and the masks (B, S, S) uint8 or None. Values that colour and noise push
        out of range are clamped once, at the end.

    Raises:
        ValueError: another type or number of images than B of uint8.
    """
    if images.dtype != torch.uint8 or len(images) != len(drawn):
        raise ValueError(f"expected {len(drawn)} uint8 images, got {len(images)} of {images.dtype}")
    with torch.autocast(images.device.type, enabled=False):
        views = geometric.transform(images, drawn.matrices, drawn.warped)
        if drawn.coloured.any():
            views = photometric.recolour(views, drawn.colours / 255, drawn.mean_weights / 255)
        else:
            views.div_(255)
        photometric.blur_(views, drawn.blur * images.shape[-1])
        photometric.add_noise_(views, drawn.noise, drawn.noise_seeds)
        photometric.drop_pixels_(views, drawn.dropout, drawn.noise_seeds)
        photometric.paint_holes_(views, drawn.holes, drawn.hole_sides)
        if masks is not None:
            masks = geometric.transform(masks.unsqueeze(1), drawn.matrices, drawn.warped, "nearest").squeeze(1).byte()
    return views.clamp_(0, 1), masks


def _draw_geometry(policy: Policy, uniform: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (B, 2, 3), and (B,) whether anything but the orientation changes."""
    turned = uniform["turned"] < policy.quarter_turns
    oriented = geometric.orientations(
        uniform["h_flip"] < policy.h_flip,
        uniform["v_flip"] < policy.v_flip,
        uniform["transpose"] < policy.transpose,
        np.where(turned, 1 + (3 * uniform["turns"]).astype(np.int64), 0),
    )
    low, high = policy.scale
    width, height = (
        np.where(uniform["scaled"] < policy.scale_p, low + (high - low) * uniform[name], 1.0)
        for name in ("scale", "scale_y" if policy.scale_each_axis else "scale")
    )
    shear = _around_zero(uniform["shear"], policy.shear, uniform["sheared"] < policy.shear_p)
    degrees = _around_zero(uniform["rotate"], policy.rotate, uniform["rotated"] < policy.rotate_p)
    shifted = uniform["shifted"] < policy.shift_p
    shifts = np.stack([_around_zero(uniform[name], policy.shift, shifted) for name in ("shift_x", "shift_y")], axis=1)
    warped = (width != 1) | (height != 1) | (shear != 0) | (degrees != 0) | (shifts != 0).any(axis=1)
    linear = geometric.linear_maps(degrees, width, shear, height)
    return geometric.view_to_image(oriented, linear, shifts), warped


def _draw_colours(policy: Policy, uniform: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps (B, 3, 3), weights of the channels' means (B, 3), and (B,) whether anything changes."""
    chosen = uniform["coloured"] < policy.colour_p
    brightness, contrast, saturation, hue = (
        _around_zero(uniform[name], getattr(policy, name), chosen)
        for name in ("brightness", "contrast", "saturation", "hue")
    )
    maps, mean_weights = photometric.colour_maps(1 + brightness, 1 + contrast, 1 + saturation, hue)
    return maps, mean_weights, (brightness != 0) | (contrast != 0) | (saturation != 0) | (hue != 0)


def _around_zero(uniform: np.ndarray, most: float, chosen: np.ndarray) -> np.ndarray:
    """[0, 1) to [-most, most) where chosen, else 0."""
    return np.where(chosen, (2 * uniform - 1) * most, 0.0)
