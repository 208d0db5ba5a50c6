"""Mixup: images and losses of labels are mixed with one share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from preceptor.data.batches import Batch
from preceptor.training.augment import make_views, mixing_share
from small_model import BATCH, CLASSES, model, one_step, recipe, views

CE = {"loss": "cross_entropy", "of": "student"}
KL = {"loss": "kl", "from": "teacher", "to": "student"}
MIXED = {"student": {"policy": "plain", "mixup": 1.0}, "teacher": {"same_as": "student"}}


def test_each_image_is_mixed_with_the_next_of_the_batch() -> None:
    whole = recipe([CE, KL], views=MIXED)
    pixels = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    drawn = make_views(
        whole, ["student", "teacher"], Batch(pixels, torch.zeros(3).long(), torch.arange(3)), 3, (0, 1, 2)
    )
    share = drawn.mixed["student"]
    plain = pixels.float() / 255
    expected = share * plain + (1 - share) * plain[[1, 2, 0]]
    torch.testing.assert_close(drawn.images["student"], expected)
    assert drawn.images["teacher"] is drawn.images["student"]
    assert drawn.mixed["teacher"] == share


def test_shares_are_the_larger_half_of_the_beta_distribution_and_repeat_themselves() -> None:
    shares = [mixing_share(1.0, (0, 0, step), "student") for step in range(2000)]
    assert min(shares) >= 0.5
    assert np.mean(shares) == pytest.approx(0.75, abs=0.01)  # of the uniform distribution
    assert shares[7] == mixing_share(1.0, (0, 0, 7), "student")


def test_labels_are_mixed_and_targets_without_labels_are_not() -> None:
    built = model([CE, KL], views=MIXED)
    received = dict.fromkeys(built.networks, views(built)["student"])
    mixed = one_step(built, received, mixed={"student": 0.7, "teacher": 0.7}).losses
    plain = one_step(built, received).losses
    logits = built.networks["student"](received["student"]).logits
    targets = 0.7 * functional.one_hot(BATCH, len(CLASSES)) + 0.3 * functional.one_hot(
        BATCH[[1, 2, 3, 0]], len(CLASSES)
    )
    torch.testing.assert_close(mixed["cross_entropy"], functional.cross_entropy(logits, targets.float()))
    assert torch.equal(mixed["kl"], plain["kl"])


def test_views_that_are_mixed_otherwise_are_not_compared() -> None:
    apart = {"student": {"policy": "plain", "mixup": 1.0}, "teacher": "plain"}
    with pytest.raises(Exception, match=r"objectives\.kl: teacher and student see differently mixed images"):
        model([CE, KL], views=apart)


def test_banks_know_single_images() -> None:
    networks = {"student": {"backbone": "test_resnet", "projection": 8}, "teacher": {"mean_of": "student"}}
    ccd = {"loss": "ccd", "from": "teacher", "to": "student", "positives": 1, "negatives": 1}
    with pytest.raises(Exception, match=r"objectives\.ccd: .* which mixup has mixed"):
        model([CE, ccd], networks, views=MIXED)
