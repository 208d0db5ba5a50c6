"""What a view of an image may look like: probabilities and ranges, without any pixels or random numbers.

A policy is plain data, so that a recipe can hold one and its YAML can spell one out. :mod:`preceptor.data.views` draws
from it. Where an image has no natural "up", as in dermoscopy and histology, all eight orientations of a square are
as good as the original.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Relative = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0.1, le=10)]


class Policy(BaseModel):
    """How the views of an image are drawn; every field left out means "not at all".

    A magnitude ``m`` that is called a maximum is drawn uniformly from [-m, m]. Each view of each image draws anew.

    Geometry, in the order in which it is applied (all of it becomes one warp, with reflection at the border):

    Attributes:
        h_flip: probability of mirroring left and right.
        v_flip: probability of mirroring top and bottom.
        transpose: probability of swapping rows and columns.
        quarter_turns: probability of a turn by 90, 180 or 270 degrees, each equally likely; 0.75 therefore makes the
            four upright positions equally likely.
        scale: range of the magnification, uniform; above 1 enlarges.
        scale_each_axis: whether width and height are magnified by factors of their own.
        scale_p: probability of a magnification.
        shear: maximum horizontal shear in degrees.
        shear_p: probability of a shear.
        rotate: maximum rotation in degrees.
        rotate_p: probability of a rotation.
        shift: maximum shift along each axis, as a fraction of the side.
        shift_p: probability of a shift.
        brightness: maximum relative change of all values.
        contrast: maximum relative change of the distance from the mean grey of the view.
        saturation: maximum relative change of the distance of each pixel from its own grey.
        hue: maximum turn of the colours about the grey axis in degrees (a rotation of the chroma plane, hence linear).
        colour_p: probability that brightness, contrast, saturation and hue change (together).
        blur: largest standard deviation of a Gaussian blur, uniform from 0, in pixels of a 224-pixel side; it
            shrinks and grows with the side.
        blur_p: probability of a blur.
        noise: largest standard deviation of Gaussian noise, uniform from 0; the values of an image go from 0 to 1.
        noise_p: probability of noise.
        dropout: largest share of the pixels that are set to black, uniform from 0.
        dropout_p: probability of such pixels.
        holes: how many squares are painted over with the mean colour of the view.
        hole_size: side of such a square as a fraction of the image's side.
        holes_p: probability of holes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    h_flip: Probability = 0.0
    v_flip: Probability = 0.0
    transpose: Probability = 0.0
    quarter_turns: Probability = 0.0
    scale: tuple[Factor, Factor] = (1.0, 1.0)
    scale_each_axis: bool = False
    scale_p: Probability = 1.0
    shear: Annotated[float, Field(ge=0, le=60)] = 0.0
    shear_p: Probability = 1.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    rotate_p: Probability = 1.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    shift_p: Probability = 1.0
    brightness: Relative = 0.0
    contrast: Relative = 0.0
    saturation: Relative = 0.0
    hue: Annotated[float, Field(ge=0, le=180)] = 0.0
    colour_p: Probability = 1.0
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    blur_p: Probability = 1.0
    noise: Relative = 0.0
    noise_p: Probability = 1.0
    dropout: Relative = 0.0
    dropout_p: Probability = 1.0
    holes: Annotated[int, Field(ge=0, le=64)] = 0
    hole_size: Annotated[float, Field(gt=0, le=1)] = 0.1
    holes_p: Probability = 1.0

    @property
    def fixed(self) -> bool:
        """Whether a view is the image in one of its eight orientations, pixel for pixel.

        >>> Policy(h_flip=0.5, quarter_turns=0.75).fixed, POLICIES["dermoscopy"].fixed
        (True, False)
        """
        ranges = (self.shear, self.rotate, self.shift, self.blur, self.noise, self.dropout, self.holes)
        chances = (self.shear_p, self.rotate_p, self.shift_p, self.blur_p, self.noise_p, self.dropout_p, self.holes_p)
        coloured = (self.brightness or self.contrast or self.saturation or self.hue) and self.colour_p
        scaled = self.scale != (1.0, 1.0) and self.scale_p
        return not (scaled or coloured or any(size and chance for size, chance in zip(ranges, chances, strict=True)))

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"the range of magnification starts at {scale[0]} and ends below, at {scale[1]}")
        return scale


POLICIES: dict[str, Policy] = {
    # The image as it is: evaluation, and networks that are to see what the cache holds.
    "plain": Policy(),
    # Ours, for dermoscopy and whatever else has no natural "up": all orientations, mild affine and colour changes
    # as between two dermatoscopes. Hue stays, since the colour of a lesion is a sign.
    "dermoscopy": Policy(
        h_flip=0.5,
        quarter_turns=0.75,
        scale=(0.9, 1.25),
        scale_p=0.5,
        rotate=45,
        rotate_p=0.5,
        shift=0.05,
        shift_p=0.5,
        brightness=0.15,
        contrast=0.15,
        saturation=0.15,
        blur=1.5,
        blur_p=0.1,
        noise=0.04,
        noise_p=0.1,
    ),
    # Ours, for slices of MR volumes: left and right may be mirrored, top and bottom may not; a little motion and gain.
    # Channels are sequences, not colours, so neither hue nor saturation changes.
    "mri": Policy(
        h_flip=0.5,
        scale=(0.9, 1.1),
        scale_p=0.5,
        rotate=15,
        rotate_p=0.5,
        shift=0.05,
        shift_p=0.5,
        brightness=0.1,
        contrast=0.1,
    ),
    # Xing et al. 2021 (CRCKD), the text: "random flip and affine" for both networks, without figures. Both flips are
    # our reading; the size of the affine is the released code's.
    "crckd": Policy(h_flip=0.5, v_flip=0.5, rotate=10, shift=0.02),
    # The released code of the same: its student and its teacher differ, whose input turns by 0, 90, 180 or 270 degrees,
    # each equally likely.
    "crckd_official_student": Policy(h_flip=0.5, rotate=10, shift=0.02),
    "crckd_official_teacher": Policy(h_flip=0.5, v_flip=0.5, quarter_turns=0.75, rotate=10, shift=0.02),
    # Wang et al. 2023 (SSD-KD), as the released code has it. The code changes either brightness (by up to 15 of 255) or
    # hue and saturation (by up to 10 of 256), here they change together. How often it blurs, and the largest share of
    # pixels that it drops, are ours.
    "ssd_kd": Policy(
        h_flip=0.5,
        v_flip=0.2,
        scale=(1.0, 2.0),
        scale_each_axis=True,
        scale_p=0.25,
        rotate=120,
        rotate_p=0.25,
        brightness=0.06,
        saturation=0.04,
        hue=14,
        colour_p=0.25,
        blur=1.5,
        blur_p=0.25,
        dropout=0.05,
        dropout_p=0.1,
    ),
    # The text of the same: flips, brightness, contrast, saturation, scaling and random noise. All sizes are ours, since
    # the text gives none.
    "ssd_kd_text": Policy(
        h_flip=0.5,
        v_flip=0.5,
        scale=(1.0, 2.0),
        scale_p=0.25,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        colour_p=0.5,
        noise=0.05,
        noise_p=0.25,
    ),
    # Beyer et al. 2022: crops of 5 to 100 % of the area, hence magnified up to √20 times, and mirrored. Ours draws the
    # magnification uniformly, and places crops anywhere near the middle.
    "patient": Policy(h_flip=0.5, scale=(1.0, 4.47), shift=0.25),
    # Yan et al. 2019: a crop of 224 of 256 pixels from the middle 0.8 of the short side, quarter turns and flips.
    "attention": Policy(h_flip=0.5, v_flip=0.5, quarter_turns=0.75, scale=(1.25, 1.43), shift=0.09),
    # Ours, the strong view of multi-level logit distillation (Jin et al. 2023), whose RandAugment it stands for.
    "strong": Policy(
        h_flip=0.5,
        quarter_turns=0.75,
        scale=(0.8, 1.5),
        shear=15,
        rotate=45,
        shift=0.1,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=10,
        noise=0.06,
        noise_p=0.5,
        holes=1,
        hole_size=0.25,
        holes_p=0.5,
    ),
    # Niyaz et al. 2024 (KD with mutual learning): flips, rotation, transpose, shift, scale, intensity. The sizes are
    # ours, since the text gives none.
    "kdml": Policy(
        h_flip=0.5,
        v_flip=0.5,
        transpose=0.5,
        scale=(0.9, 1.1),
        scale_p=0.5,
        rotate=45,
        rotate_p=0.5,
        shift=0.0625,
        shift_p=0.5,
        brightness=0.2,
        contrast=0.2,
        colour_p=0.5,
    ),
}
