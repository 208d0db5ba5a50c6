"""Views: exact where nothing is interpolated, equal to the step-by-step form elsewhere, the same in any shard."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchvision.transforms import functional as reference

from preceptor.data import geometric, photometric
from preceptor.data.policy import POLICIES, Policy
from preceptor.data.views import Draw, draw, render
from preceptor.utils.randomness import generator

SIDE = 24
ALL = Policy(  # everything at once
    h_flip=0.5, v_flip=0.5, transpose=0.5, quarter_turns=0.5, scale=(0.8, 1.5), scale_p=0.6, shear=10, shear_p=0.6,
    rotate=60, rotate_p=0.6, shift=0.1, shift_p=0.6, brightness=0.3, contrast=0.3, saturation=0.3, hue=20,
    colour_p=0.8, blur=20, blur_p=0.5, noise=0.1, noise_p=0.5, holes=3, hole_size=0.2, holes_p=0.5,
    scale_each_axis=True, dropout=0.3, dropout_p=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (16, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator("test images"))


def views_of(images: Tensor, policy: Policy, seed: int = 0) -> Tensor:
    return render(images, draw(policy, len(images), generator(seed)))[0]


def figures(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


# Geometry


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), lambda x: x),
        (Policy(h_flip=1), lambda x: x.flip(3)),
        (Policy(v_flip=1), lambda x: x.flip(2)),
        (Policy(transpose=1), lambda x: x.mT),
        (Policy(h_flip=1, v_flip=1), lambda x: torch.rot90(x, 2, (2, 3))),
        (Policy(h_flip=1, transpose=1), lambda x: x.flip(3).mT),
    ],
)
def test_mirror_images_and_transpositions_are_exact(images: Tensor, policy: Policy, expected) -> None:
    assert torch.equal(views_of(images, policy), expected(images).float() / 255)


def test_quarter_turns_are_exact_and_all_three_occur(images: Tensor) -> None:
    views = views_of(images, Policy(quarter_turns=1)) * 255
    turned = torch.stack([torch.rot90(images, turns, (2, 3)) for turns in (1, 2, 3)]).float()
    matches = ((views - turned).abs() < 1e-3).all(dim=(2, 3, 4))
    assert torch.equal(matches.sum(0), torch.ones(len(images), dtype=torch.long))
    assert matches.any(1).all()


def test_the_eight_orientations_are_equally_likely_under_flip_and_turns() -> None:
    matrices = draw(Policy(h_flip=0.5, quarter_turns=0.75), 8000, generator("orientations")).matrices
    result, counts = np.unique(matrices.round().reshape(len(matrices), -1), axis=0, return_counts=True)
    assert len(result) == 8
    assert np.abs(counts - 1000).max() < 120  # four standard deviations


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_warp_agrees_with_the_exact_reordering(images: Tensor, turns: int, swap: bool, mirror: bool) -> None:
    count = len(images)
    flags = [np.full(count, flag) for flag in (mirror, not mirror, swap)]
    oriented = geometric.orientations(flags[0], flags[1], flags[2], np.full(count, turns))
    matrices = geometric.view_to_image(oriented, np.tile(np.eye(2), (count, 1, 1)), np.zeros((count, 2)))
    steps = images.flip(3) if mirror else images.flip(2)
    steps = torch.rot90(steps.mT if swap else steps, turns, (2, 3)).float()
    assert torch.equal(geometric.transform(images, matrices, np.zeros(count, bool)), steps)
    torch.testing.assert_close(geometric.warp(images, matrices) / 255, steps / 255, rtol=0, atol=1e-5)


def test_a_turn_by_ninety_degrees_is_a_quarter_turn(images: Tensor) -> None:
    linear = geometric.linear_maps(figures(90), figures(1), figures(0))
    matrices = geometric.view_to_image(np.eye(2)[None], linear, np.zeros((1, 2)))
    turned = torch.rot90(images[:1], 1, (2, 3)).float()  # counter-clockwise
    torch.testing.assert_close(geometric.warp(images[:1], matrices), turned, rtol=0, atol=5e-3)


def test_a_shift_goes_right_and_down_and_reflects_what_it_uncovers(images: Tensor) -> None:
    shift = 3 / SIDE
    matrices = geometric.view_to_image(np.eye(2)[None], np.eye(2)[None], figures(shift, 2 * shift)[None])
    moved = geometric.warp(images[:1], matrices)
    image = images[:1].float()
    torch.testing.assert_close(moved[..., 6:, 3:], image[..., :-6, :-3], rtol=0, atol=5e-3)
    torch.testing.assert_close(moved[..., 6:, :3], image[..., :-6, :3].flip(3), rtol=0, atol=5e-3)


def test_magnification_enlarges_about_the_middle() -> None:
    side = 33
    image = torch.zeros(1, 1, side, side)
    image[..., 12:21, 12:21] = 255  # 9 pixels about the middle
    matrices = geometric.view_to_image(
        np.eye(2)[None], geometric.linear_maps(figures(0), figures(2), figures(0)), np.zeros((1, 2))
    )
    bright = geometric.warp(image, matrices)[0, 0] > 128
    assert bright.any(0).sum() == bright.any(1).sum() == 17  # 18 wide; the outermost are half
    assert bright[16 - 8 : 16 + 9, 16 - 8 : 16 + 9].all()


def test_one_matrix_does_what_its_steps_do() -> None:
    """A point of the image carried step by step is found again at the place that the matrix looks up."""
    point, degrees, scale, slant, shift = np.array([0.3, -0.2]), 25.0, 1.3, 8.0, np.array([0.05, -0.1])
    angle = math.radians(degrees)
    x, y = -point[0], point[1]  # mirrored left and right
    x, y = y, x  # rows and columns swapped
    x, y = y, -x  # a quarter turn, counter-clockwise on a page whose y points down
    x, y = scale * x, scale * y
    x = x + math.tan(math.radians(slant)) * y
    x, y = math.cos(angle) * x + math.sin(angle) * y, -math.sin(angle) * x + math.cos(angle) * y
    x, y = x + 2 * shift[0], y + 2 * shift[1]
    yes, no = np.array([True]), np.array([False])
    oriented = geometric.orientations(yes, no, yes, np.array([1]))
    linear = geometric.linear_maps(figures(degrees), figures(scale), figures(slant))
    matrix = geometric.view_to_image(oriented, linear, shift[None])[0]
    np.testing.assert_allclose(matrix @ [x, y, 1], point, atol=1e-12)


def test_the_warp_is_bilinear_with_reflection() -> None:
    side, random = 7, np.random.default_rng(1)
    image = random.integers(0, 256, (side, side)).astype(np.uint8)
    matrix = np.array([[0.9, 0.4, 0.3], [-0.35, 1.1, -0.2]])
    warped = geometric.warp(torch.from_numpy(image)[None, None], matrix[None])[0, 0]

    def at(row: int, column: int) -> float:
        def mirrored(index: int) -> int:
            index %= 2 * side
            return index if index < side else 2 * side - 1 - index

        return float(image[mirrored(row), mirrored(column)])

    for i in range(side):
        for j in range(side):
            x, y = matrix @ [(2 * j + 1) / side - 1, (2 * i + 1) / side - 1, 1]
            column, row = ((x + 1) * side - 1) / 2, ((y + 1) * side - 1) / 2
            left, top = math.floor(column), math.floor(row)
            right, down = column - left, row - top
            value = (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1))
            value += down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1))
            assert warped[i, j].item() == pytest.approx(value, abs=1e-3)


def test_masks_go_where_their_images_go() -> None:
    yy, xx = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    mask = ((xx - 26) ** 2 / 300 + (yy - 36) ** 2 / 120 < 1).byte().repeat(32, 1, 1)
    images = (mask * 255).unsqueeze(1).repeat(1, 3, 1, 1)
    geometry = ALL.model_copy(update={"colour_p": 0, "blur_p": 0, "noise_p": 0, "holes_p": 0, "dropout_p": 0})
    views, masks = render(images, draw(geometry, 32, generator("masks")), mask)
    assert masks is not None
    assert masks.dtype == torch.uint8
    assert set(masks.unique().tolist()) == {0, 1}
    disagree = (views[:, 0] > 0.5) != masks.bool()
    assert disagree.float().mean() < 0.005  # rounding along the border
    assert (masks != mask).float().mean() > 0.05  # it did move


# Colour


def stepwise(image: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """The four changes one after the other, (H, W, 3) float64."""
    luma = np.array([0.299, 0.587, 0.114])
    yiq = np.array([luma, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    image = image * brightness
    image = contrast * image + (1 - contrast) * (image @ luma).mean()
    grey = (image @ luma)[..., None]
    image = grey + saturation * (image - grey)
    y, i, q = np.moveaxis(image @ yiq.T, -1, 0)
    angle = math.radians(hue)
    turned = np.stack(
        [y, i * math.cos(angle) - q * math.sin(angle), i * math.sin(angle) + q * math.cos(angle)], axis=-1
    )
    return turned @ np.linalg.inv(yiq).T


@pytest.mark.parametrize(
    "change", [(1.3, 1, 1, 0), (1, 0.6, 1, 0), (1, 1, 1.8, 0), (1, 1, 1, 40), (0.8, 1.4, 0.5, -25)]
)
def test_the_fused_colour_map_equals_the_steps(images: Tensor, change: tuple[float, ...]) -> None:
    maps, weights = photometric.colour_maps(*(figures(*[item] * len(images)) for item in change))
    fused = photometric.recolour(images.float() / 255, maps, weights)
    for image, view in zip(images.double() / 255, fused, strict=True):
        np.testing.assert_allclose(
            view.permute(1, 2, 0).numpy(), stepwise(image.permute(1, 2, 0).numpy(), *change), atol=2e-6
        )


@pytest.mark.parametrize(
    ("adjust", "place"), [("adjust_brightness", 0), ("adjust_contrast", 1), ("adjust_saturation", 2)]
)
def test_brightness_contrast_and_saturation_mean_what_they_mean_in_torchvision(adjust: str, place: int) -> None:
    muted = 0.3 + 0.3 * torch.rand(1, 3, SIDE, SIDE, generator=generator("muted"))  # far from any clamping
    factors = [figures(1), figures(1), figures(1), figures(0)]
    factors[place] = figures(1.25)
    view = photometric.recolour(muted, *photometric.colour_maps(*factors))
    torch.testing.assert_close(view, getattr(reference, adjust)(muted, 1.25), rtol=0, atol=2e-4)


def test_blur_is_a_gaussian_and_touches_only_the_chosen(images: Tensor) -> None:
    before = images.float() / 255
    sigmas = np.zeros(len(images))
    sigmas[[1, 4]] = 0.7, 2.5
    after = photometric.blur_(before.clone(), sigmas)
    for row, sigma in enumerate(sigmas):
        expected = before[row].double().numpy()
        if sigma:
            expected = gaussian_filter(expected, (0, sigma, sigma), mode="reflect", truncate=9)
        np.testing.assert_allclose(after[row].numpy(), expected, atol=1e-6)


def test_blur_scales_with_the_side(images: Tensor) -> None:
    drawn = draw(Policy(blur=8), len(images), generator(0))
    assert 0 < drawn.blur.max() <= 8 / 224
    expected = photometric.blur_(images.float() / 255, drawn.blur * SIDE)
    assert torch.equal(render(images, drawn)[0], expected)


def test_noise_has_its_deviation_and_no_two_images_share_it() -> None:
    plain = torch.full((3, 3, 64, 64), 0.5)
    noise = photometric.add_noise_(plain.clone(), figures(0.1, 0.1, 0), np.array([1, 2, 3])) - plain
    assert noise[0].std().item() == pytest.approx(0.1, rel=0.03)
    assert abs(noise[0].mean().item()) < 0.004
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[2], torch.zeros_like(noise[2]))


def test_holes_are_squares_in_the_mean_colour() -> None:
    image = torch.rand(2, 3, 20, 20, generator=generator("holes"))
    centres = np.array([[[0.25, 0.5], [1.0, 0.0]]] * 2)  # (x, y); the second one reaches over the corner
    painted = photometric.paint_holes_(image.clone(), centres, figures(0.2, 0))
    expected = image.clone()
    mean = image[0].mean((1, 2)).view(3, 1, 1)
    expected[0, :, 8:12, 3:7] = mean
    expected[0, :, 0:2, 18:20] = mean
    torch.testing.assert_close(painted, expected)


# The whole


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_gives_views_in_range_without_touching_its_input(images: Tensor, name: str) -> None:
    before = images.clone()
    views = views_of(images, POLICIES[name])
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(views, images.float() / 255) == (name == "plain")


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5, 6, 7], [15, 3, 8], [9]])
def test_a_shard_sees_what_the_whole_batch_sees(images: Tensor, rows: list[int]) -> None:
    drawn = draw(ALL, len(images), generator("shard"))
    whole, _ = render(images, drawn)
    part, _ = render(images[rows], drawn.select(torch.tensor(rows)))
    torch.testing.assert_close(part, whole[rows], rtol=0, atol=2e-6)


def test_the_same_address_gives_the_same_views_and_another_one_others(images: Tensor) -> None:
    first, again, other = (views_of(images, ALL, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_changed_field_leaves_the_other_choices_alone() -> None:
    changed = ALL.model_copy(update={"h_flip": 0.0, "brightness": 0.0, "holes": 7})
    first, second = draw(ALL, 50, generator(3)), draw(changed, 50, generator(3))
    for name in ("blur", "noise", "noise_seeds", "hole_sides"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert np.abs(np.linalg.det(first.matrices[:, :, :2])) == pytest.approx(
        np.abs(np.linalg.det(second.matrices[:, :, :2]))
    )


def test_magnitudes_stay_within_the_policy_and_fill_it() -> None:
    policy = Policy(scale=(0.5, 2), scale_p=0.5, shift=0.1, noise=0.2, noise_p=0.25)
    drawn: Draw = draw(policy, 4000, generator("ranges"))
    scale = 1 / drawn.matrices[:, 0, 0]
    shift = -drawn.matrices[:, :, 2] * scale[:, None] / 2
    assert 0.5 <= scale.min() < 0.52
    assert 1.98 < scale.max() <= 2
    assert (scale == 1).mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(shift).max() == pytest.approx(0.1, abs=0.001)
    assert (drawn.noise > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert 0.19 < drawn.noise.max() < 0.2


def test_autocast_and_grad_mode_change_nothing(images: Tensor) -> None:
    expected = views_of(images, ALL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = views_of(images, ALL)
    assert torch.equal(views, expected)
    assert not views.requires_grad


def test_wrong_input_is_refused(images: Tensor) -> None:
    drawn = draw(ALL, len(images), generator(0))
    with pytest.raises(ValueError, match="uint8"):
        render(images.float(), drawn)
    with pytest.raises(ValueError, match="16 uint8 images, got 3"):
        render(images[:3], drawn)
    with pytest.raises(ValueError, match="square"):
        render(images[..., :20], drawn)


# Policies


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_policy_survives_its_plain_form(policy: Policy) -> None:
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy


@pytest.mark.parametrize(
    "wrong",
    [{"hflip": 0.5}, {"h_flip": 1.5}, {"h_flip": float("nan")}, {"scale": [1.2, 0.8]}, {"scale": [0, 1]},
     {"scale": 1.2}, {"rotate": -5}, {"shift": 2}, {"holes": 1.5}, {"blur": "much"}],
)  # fmt: skip
def test_a_policy_says_which_field_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Policy.model_validate(wrong)


def test_policies_are_imported_without_torch() -> None:
    code = "import sys, preceptor.data.policy; sys.exit(bool({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_width_and_height_are_magnified_apart() -> None:
    """SSD-KD's code draws a factor for each axis; without the option both share the first one's draw."""
    apart, together = (
        np.linalg.inv(draw(Policy(scale=(1, 2), scale_each_axis=each), 500, generator(0)).matrices[:, :, :2])
        for each in (True, False)
    )
    assert apart[:, 0, 0] == pytest.approx(together[:, 0, 0])
    assert together[:, 1, 1] == pytest.approx(together[:, 0, 0])
    assert abs(np.corrcoef(apart[:, 0, 0], apart[:, 1, 1])[0, 1]) < 0.2
    assert apart[:, 1, 1].min() >= 1
    assert apart[:, 1, 1].max() <= 2
    assert np.abs(apart[:, [0, 1], [1, 0]]).max() == 0


def test_the_drawn_share_of_pixels_becomes_black(images: Tensor) -> None:
    drawn = draw(Policy(dropout=0.5, dropout_p=0.5), len(images), generator(3))
    assert 0 < (drawn.dropout > 0).sum() < len(images)
    views, _ = render(images.clamp(min=1), drawn)
    black = (views == 0).all(dim=1)
    assert torch.equal(black, (views == 0).any(dim=1)), "all channels of a pixel"
    spread = 3 * np.sqrt(0.25) / SIDE
    assert np.abs(black.float().mean((1, 2)).numpy() - drawn.dropout).max() < spread
    again, _ = render(images.clamp(min=1)[4:], drawn.select(np.arange(4, len(images))))
    assert torch.equal(again, views[4:])
