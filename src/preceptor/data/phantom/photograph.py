"""A photograph of a phantom lesion: pose, light, focus, hair, gel, ruler, sensor."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from preceptor.data.phantom.lesion import FIELD, Canvas

_FINE = 2  # pictures are composed at twice their resolution and averaged down


def photograph(
    rng: np.random.Generator, canvas: Canvas, size: int, *, hair: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """One view of a lesion.

    Args:
        rng: the view's own generator.
        canvas: the lesion.
        size: side of the image in pixels.
        hair: probability that hair lies across it.
        noise: standard deviation of the sensor's noise as a share of full scale.

    Returns:
        The image (size, size, 3) uint8 and the lesion's mask (size, size) uint8 of 0 and 255.
    """
    side = size * _FINE
    posing, hairs, gel, scale, focus, light, sensor = rng.spawn(7)  # so that one knob does not move what others draw
    pose = _pose(posing, side, len(canvas.inside))
    colour = Image.fromarray((canvas.colour * 255 + 0.5).astype(np.uint8))
    picture = colour.transform((side, side), Image.Transform.AFFINE, pose, Image.Resampling.BILINEAR)
    if hairs.random() < hair:
        picture = _hair(hairs, picture)
    if gel.random() < 0.18:
        picture = _bubbles(gel, picture)
    if scale.random() < 0.12:
        picture = _ruler(scale, picture)
    picture = picture.filter(ImageFilter.GaussianBlur(_FINE * size / 96 * focus.gamma(2.0, 0.16))).reduce(_FINE)
    pixels = np.asarray(picture, np.float32) / 255 * _light(light, size)
    pixels += noise * sensor.standard_normal(pixels.shape, dtype=np.float32)
    border = Image.fromarray(canvas.inside)
    mask = border.transform((side, side), Image.Transform.AFFINE, pose, Image.Resampling.NEAREST).reduce(_FINE)
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), (np.asarray(mask) > 0).astype(np.uint8) * 255


def _pose(rng: np.random.Generator, side: int, canvas_side: int) -> tuple[float, ...]:
    """The affine map from a pixel of the picture to one of the canvas: turn, mirror, zoom and shift."""
    turn, zoom = rng.uniform(0, 2 * np.pi), float(np.exp(rng.normal(0, 0.13)))
    scale = (canvas_side / FIELD) / side / np.clip(zoom, 0.8, 1.4)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    shift = rng.normal(0, 0.08, 2).clip(-0.2, 0.2) * canvas_side / FIELD / 2
    origin = canvas_side / 2 + shift - matrix @ np.array([side / 2, side / 2])
    (a, b), (d, e) = matrix.tolist()
    return a, b, float(origin[0]), d, e, float(origin[1])


def _light(rng: np.random.Generator, size: int) -> np.ndarray:
    """Exposure, white balance, a lamp to one side and the dark corners of a dermatoscope, (size, size, 3)."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    turn = rng.uniform(0, 2 * np.pi)
    field = 1 + rng.uniform(0, 0.10) * (x * np.cos(turn) + y * np.sin(turn))
    field *= 1 - rng.uniform(0.02, 0.20) * np.square(np.hypot(x, y)) / 2
    if rng.random() < 0.14:  # the rim of the tube is in the picture
        field *= 1 / (1 + np.exp((np.hypot(x, y) - rng.uniform(1.06, 1.3)) / 0.035))
    balance = np.exp(rng.normal(0, [0.05, 0.03, 0.09]))
    return (rng.uniform(0.92, 1.16) * field[..., None] * balance).astype(np.float32)


def _hair(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    side = picture.width
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    lie, width = rng.uniform(0, np.pi), side / 96 * rng.uniform(0.4, 0.9)
    for _ in range(int(rng.integers(2, 14))):
        turn = lie + rng.normal(0, 0.35)
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        middle, reach = rng.uniform(0, side, 2), side * rng.uniform(0.3, 1.0)
        t = np.linspace(-1, 1, 24)[:, None]
        points = middle + t * reach * along + np.square(t) * rng.normal(0, 0.18) * reach * across
        draw.line([tuple(point) for point in points], fill=int(rng.integers(110, 220)), width=max(1, round(width)))
    shade = rng.uniform(0.5, 1.4)
    colour = tuple(int(255 * part * shade) for part in (0.26, 0.19, 0.16))
    layer = layer.filter(ImageFilter.GaussianBlur(0.6))
    return Image.composite(Image.new("RGB", picture.size, colour), picture, layer)


def _bubbles(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Air in the contact gel: a pale disc with a bright rim and a highlight."""
    side = picture.width
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(1, 7))):
        (x, y), r = rng.uniform(0, side, 2), side * rng.gamma(2.0, 0.014)
        draw.ellipse(
            (x - r, y - r, x + r, y + r), fill=22, outline=int(rng.integers(70, 140)), width=max(1, side // 96)
        )
        draw.ellipse((x - r / 2, y - r / 2, x - r / 6, y - r / 6), fill=190)
    layer = layer.filter(ImageFilter.GaussianBlur(0.8))
    return Image.composite(Image.new("RGB", picture.size, (250, 246, 240)), picture, layer)


def _ruler(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """The millimetre scale on the glass, along one border."""
    side = picture.width
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    step, depth = side * rng.uniform(0.035, 0.06), side * rng.uniform(0.0, 0.05)
    for i, x in enumerate(np.arange(rng.uniform(0, step), side, step)):
        length = side * (0.07 if i % 5 == 0 else 0.04)
        draw.line((x, depth, x, depth + length), fill=200, width=max(1, side // 120))
    turned = layer.rotate(90 * int(rng.integers(4)))
    return Image.composite(Image.new("RGB", picture.size, (38, 34, 36)), picture, turned)
