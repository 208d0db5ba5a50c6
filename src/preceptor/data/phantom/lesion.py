"""A phantom lesion on skin, seen straight on and without artefacts.

Colours come from absorption (Beer-Lambert): reflected light = exp(-melanin * m - blood * h) in each channel, so that
more pigment gives darker and redder browns; haze, scar or scale in front of it is mixed in afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preceptor.data.phantom.textures import Cells, cloud, mosaic, tree
from preceptor.data.phantom.traits import Traits

#: Half-width of the canvas in half-widths of an image; what lies beyond 1 comes into sight when a view is shifted.
FIELD = 1.6
_BLOOD = np.array([0.14, 0.86, 0.70], np.float32)  # absorption in red, green, blue
_VENOUS = np.array([0.42, 0.14, 0.34], np.float32)
_HAZE = np.array([0.55, 0.56, 0.63], np.float32)
_NEST = np.array([0.40, 0.40, 0.47], np.float32)
_SCAR = np.array([0.91, 0.81, 0.79], np.float32)
_KERATIN = np.array([0.88, 0.80, 0.69], np.float32)


@dataclass(frozen=True)
class Canvas:
    """A drawn lesion: ``colour`` (S, S, 3) float32 in [0, 1] and ``inside`` (S, S), positive within the border."""

    colour: np.ndarray
    inside: np.ndarray


def draw_lesion(rng: np.random.Generator, traits: Traits, side: int) -> Canvas:
    """Draw a lesion on a canvas of ``side`` pixels that spans :data:`FIELD` half-widths of an image to each side."""
    line = np.linspace(-FIELD, FIELD, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    inside, angle = _border(rng, traits, x, y)
    skin = _skin(rng, side)
    # everything else happens near the lesion, often an eighth of the canvas
    reach = float(np.abs(np.stack([x, y]))[:, inside > -0.15].max(initial=0.2))
    low, high = np.searchsorted(line, [-reach, reach])
    near = (slice(low, high), slice(low, high))
    lesion = _Lesion(rng, traits, x[near], y[near], inside[near], angle[near])
    absorbed = skin.copy()
    absorbed[near] += lesion.absorption()
    colour = np.exp(-absorbed)
    colour[near] = lesion.in_front(colour[near])
    return Canvas(np.clip(colour, 0, 1), inside)


def _border(rng: np.random.Generator, traits: Traits, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel lies within the border (negative outside), and its angle about the middle."""
    stretch = 1 + traits.elongation
    angle = np.arctan2(y * stretch, x / stretch)
    radius = np.full_like(x, traits.radius)
    for k in range(2, 8):
        wave = np.cos(k * angle + rng.uniform(0, 2 * np.pi))
        radius += traits.radius * traits.irregularity * rng.normal(0, 0.8) / k * wave
    rough = traits.irregularity * (0.45 * cloud(rng, len(x), 7, 2) + 0.22 * cloud(rng, len(x), 24, 2))
    return radius + traits.radius * rough - np.hypot(x / stretch, y * stretch), angle


def _skin(rng: np.random.Generator, side: int) -> np.ndarray:
    """Light absorbed by the patient's skin, (S, S, 3): tone, flush, mottling and fine relief."""
    tone, flush = 0.05 + 0.3 * rng.beta(1.3, 4.0), rng.uniform(0.12, 0.46)
    relief = 0.05 * cloud(rng, side, 44, 2)
    mottled = rng.uniform(0.06, 0.22)
    melanin = tone * (1 + mottled * cloud(rng, side, 5) + relief)
    blood = flush * (1 + 0.8 * mottled * cloud(rng, side, 9) + relief)
    return melanin[..., None] * _melanin(rng) + blood[..., None] * _BLOOD


def _melanin(rng: np.random.Generator) -> np.ndarray:
    """Absorption of one person's pigment: from reddish (pheomelanin) to neutral brown (eumelanin)."""
    return np.array([rng.uniform(0.42, 0.80), 1.05, rng.uniform(1.25, 1.6)], np.float32)


class _Lesion:
    """The window around one lesion: coordinates in image half-widths, and the layers drawn there."""

    def __init__(
        self,
        rng: np.random.Generator,
        traits: Traits,
        x: np.ndarray,
        y: np.ndarray,
        inside: np.ndarray,
        angle: np.ndarray,
    ) -> None:
        self.rng, self.traits, self.inside, self.angle = rng, traits, inside, angle
        self.side, self.width = len(x), float(x[0, -1] - x[0, 0])
        self.x = x + 0.02 * self.cloud(0.25)  # bent, so that no lattice shows
        self.y = y + 0.02 * self.cloud(0.25)
        self.depth = np.clip(inside / traits.radius, 0, 1)
        steepness = np.clip(-inside / (0.3 * traits.softness), -30, 30)
        holes = np.clip(1.6 - 2.2 * traits.irregularity * np.clip(self.cloud(0.3), 0, 3), 0.15, 1)
        self.cover = holes / (1 + np.exp(steepness))

    def cloud(self, wavelength: float, octaves: int = 3) -> np.ndarray:
        return cloud(self.rng, self.side, self.width / wavelength, octaves)

    def mosaic(self, low: float, high: float, jitter: float = 0.85) -> Cells:
        return mosaic(self.rng, self.x, self.y, self.rng.uniform(low, high), jitter)

    def within(self, margin: float) -> np.ndarray:
        """0 at the border and outside, 1 from ``margin`` on."""
        return np.clip(self.inside / margin, 0, 1)

    def absorption(self) -> np.ndarray:
        """Light absorbed beyond that of the skin, (s, s, 3)."""
        melanin, blood = self.cover * self.pigment(), self.cover * self.blood()
        return melanin[..., None] * _melanin(self.rng) + blood[..., None] * _BLOOD

    def pigment(self) -> np.ndarray:
        """Melanin: patches, one darker side, network, globules and streaks."""
        traits, rng = self.traits, self.rng
        turn = rng.uniform(0, 2 * np.pi)
        slope = (self.x * np.cos(turn) + self.y * np.sin(turn)) / traits.radius
        base = 1 + 0.75 * traits.patchiness * self.cloud(0.45) + 0.7 * traits.asymmetry * slope
        pigment = traits.melanin * np.clip(base, 0.12, 2.4) * (0.8 + 0.3 * self.depth)
        if traits.network > 0.05:
            meshes = self.mosaic(0.085, 0.125).lines(0.22)
            strength = np.clip(0.8 + 0.5 * self.cloud(0.5), 0, 1.5) * np.clip(1.25 - self.depth, 0.3, 1)
            pigment += traits.network * strength * (1.25 * meshes - 0.5) * max(traits.melanin, 0.35)
        if traits.globules > 0.05:
            dots = self.mosaic(0.07, 0.11).discs(0.42, min(0.85, traits.globules))
            pigment += 0.55 * dots * np.clip(0.5 + 0.6 * self.cloud(0.5), 0, 1.4)
        if traits.streaks > 0.08:
            count = int(rng.integers(22, 34))
            rays = np.clip(np.cos(count * (self.angle + 0.05 * self.cloud(0.5))), 0, 1) ** 2
            band = np.exp(-np.square((self.inside - 0.03) / 0.08)) * np.clip(self.cloud(0.8) + traits.streaks, 0, 1)
            pigment += 1.2 * traits.streaks * rays * band
        return np.clip(pigment, 0, 3)

    def blood(self) -> np.ndarray:
        """Blood: flush, red network around follicles, lakes, branching vessels."""
        traits = self.traits
        blood = traits.blood * np.clip(1 + 0.35 * self.cloud(0.4), 0.2, 2)
        if traits.follicles > 0.1:
            pores = self.mosaic(0.11, 0.16, jitter=0.6)
            blood += traits.follicles * (0.4 * pores.lines(0.3) - 0.4 * pores.discs(0.36, 0.9))
        if traits.vessels > 0.15:
            reach = min(0.45, 0.62 * traits.radius / self.width * 2)
            blood += 0.8 * tree(self.rng, self.side, 1 + round(4 * traits.vessels), reach)
        return np.clip(blood, 0, 2.6)

    def in_front(self, colour: np.ndarray) -> np.ndarray:
        """Mix in what lies or scatters light above the pigment: lakes, veil, nests, scar, scale, cysts."""
        traits = self.traits
        if traits.lacunae > 0.15:
            lakes = self.mosaic(0.17, 0.3)
            shade = np.clip(lakes.edge / 0.4, 0, 1) * (0.25 + 0.75 * lakes.tag)
            colour = _mix(colour, _VENOUS, min(0.9, traits.lacunae) * shade * self.within(0.06))
        if traits.veil > 0.08:
            patch = np.clip(0.7 * self.cloud(0.6, 2) + 1.7 * traits.veil - 0.55, 0, 1)
            colour = _mix(colour, _HAZE, 0.62 * patch * self.within(0.12) * self.cover)
        if traits.nests > 0.12:
            blobs = self.mosaic(0.16, 0.24).discs(0.55, 0.75 * traits.nests)
            colour = _mix(colour, _NEST, 0.62 * blobs * self.within(0.08))
        if traits.scar > 0.08:
            middle = np.clip(1.1 - np.hypot(self.x, self.y) / (0.66 * traits.radius) + 0.25 * self.cloud(0.4), 0, 1)
            colour = _mix(colour, _SCAR, min(0.8, traits.scar) * middle * self.cover)
        if traits.scale > 0.1:
            flakes = np.clip(0.45 * self.cloud(0.35, 2) + 0.5 * self.cloud(0.06, 2) - 0.75 + traits.scale, 0, 1)
            colour = _mix(colour, _KERATIN, 0.65 * flakes * self.within(0.1) * self.cover)
        if traits.cysts > 0.1:
            pearls = self.mosaic(0.1, 0.15).discs(0.3, 0.5 * traits.cysts)
            colour = _mix(colour, _KERATIN, 0.6 * pearls * self.within(0.06))
        return colour


def _mix(colour: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colour + share[..., None] * (other - colour)
