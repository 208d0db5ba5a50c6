"""What the seven phantom diagnoses look like, as numbers; drawn for one lesion at a time.

The table paraphrases dermoscopy textbooks (network, globules, streaks, veil, arborising vessels, lacunae, milia-like
cysts, …); it is made to look plausible and to be hard in a realistic way, not to teach diagnosis.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

#: From the commonest to the rarest, as in HAM10000.
BY_FREQUENCY = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")


@dataclass(frozen=True)
class Traits:
    """One lesion. Lengths in half-widths of the image; densities and strengths from 0, about 1 where pronounced."""

    radius: float
    elongation: float
    irregularity: float  # of the border
    softness: float  # width of the border
    melanin: float
    patchiness: float  # several browns
    asymmetry: float  # one side darker
    blood: float
    network: float  # honeycomb of brown lines
    globules: float
    streaks: float  # radial lines at the border
    veil: float  # blue-white haze
    nests: float  # blue-grey ovoid blobs
    vessels: float  # arborising
    lacunae: float  # red-purple lakes
    follicles: float  # pale dots in a red network
    cysts: float  # small white dots
    scale: float  # rough white-yellow surface
    scar: float  # white centre


NAMES = tuple(field.name for field in fields(Traits))

# rows as in Traits: mean of each class, and the spread within every class
_ORDER = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
_TABLE = {
    #               akiec bcc   bkl   df    mel   nv    vasc  spread
    "radius":       (0.56, 0.50, 0.58, 0.45, 0.64, 0.52, 0.46, 0.12),
    "elongation":   (0.15, 0.12, 0.15, 0.08, 0.20, 0.12, 0.12, 0.08),
    "irregularity": (0.24, 0.20, 0.18, 0.10, 0.34, 0.11, 0.16, 0.07),
    "softness":     (0.17, 0.11, 0.06, 0.15, 0.08, 0.09, 0.05, 0.035),
    "melanin":      (0.22, 0.18, 0.62, 0.38, 1.00, 0.78, 0.12, 0.24),
    "patchiness":   (0.30, 0.25, 0.35, 0.22, 0.62, 0.30, 0.25, 0.14),
    "asymmetry":    (0.20, 0.20, 0.22, 0.12, 0.55, 0.18, 0.12, 0.15),
    "blood":        (0.52, 0.42, 0.12, 0.26, 0.16, 0.10, 0.95, 0.16),
    "network":      (0.02, 0.00, 0.12, 0.34, 0.42, 0.46, 0.00, 0.20),
    "globules":     (0.06, 0.06, 0.20, 0.05, 0.42, 0.28, 0.04, 0.22),
    "streaks":      (0.00, 0.00, 0.02, 0.03, 0.42, 0.06, 0.00, 0.16),
    "veil":         (0.00, 0.16, 0.08, 0.02, 0.42, 0.03, 0.12, 0.16),
    "nests":        (0.00, 0.55, 0.06, 0.00, 0.10, 0.00, 0.05, 0.20),
    "vessels":      (0.14, 0.70, 0.04, 0.12, 0.12, 0.02, 0.10, 0.20),
    "lacunae":      (0.00, 0.02, 0.02, 0.00, 0.00, 0.00, 0.85, 0.18),
    "follicles":    (0.62, 0.04, 0.10, 0.00, 0.03, 0.00, 0.00, 0.20),
    "cysts":        (0.06, 0.04, 0.62, 0.06, 0.05, 0.04, 0.00, 0.20),
    "scale":        (0.50, 0.16, 0.34, 0.14, 0.04, 0.02, 0.06, 0.20),
    "scar":         (0.04, 0.12, 0.06, 0.66, 0.20, 0.03, 0.00, 0.18),
}  # fmt: skip
_MEANS = np.array([_TABLE[name][:7] for name in NAMES])
_SPREAD = np.array([_TABLE[name][7] for name in NAMES])
_OPTIONAL = np.array([name in NAMES[8:] for name in NAMES])  # from the network on: present or not
_LEAST = {"radius": 0.24, "softness": 0.025, "irregularity": 0.03}
_MOST = {"radius": 0.9, "elongation": 0.45, "irregularity": 0.5}


def draw_traits(rng: np.random.Generator, name: str, *, similarity: float, variation: float) -> Traits:
    """The traits of one lesion of class ``name``.

    Args:
        rng: the lesion's own generator.
        name: one of :data:`BY_FREQUENCY`.
        similarity: 0 leaves the class means where they are, 1 moves all of them onto their common mean.
        variation: factor on the spread within a class.
    """
    own = _MEANS[:, _ORDER.index(name)]
    mean = own + similarity * (_MEANS.mean(axis=1) - own)
    rarity = np.clip(mean / _MEANS.max(axis=1), 0.15, 1) ** 0.5  # a feature that is rare in a class is rare, not faint
    values = mean + variation * _SPREAD * rarity * rng.standard_normal(len(NAMES))
    values = np.where(_OPTIONAL & (rng.random(len(NAMES)) > 0.25 + rarity), 0.0, values)
    drawn = dict(zip(NAMES, values.tolist(), strict=True))
    return Traits(**{key: min(max(value, _LEAST.get(key, 0.0)), _MOST.get(key, 2.0)) for key, value in drawn.items()})
