from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, pooled, probabilities
from torch import Tensor, nn

from preceptor.losses.sdd import ScaleDecoupled
from preceptor.utils.errors import PreceptorError

CLASSES = 4


def regions(feature_map: Tensor, classifier: nn.Linear, whole: str) -> Tensor:
    """(B, 21, C): the region's mean through the classifier, the whole image first."""
    fine = pooled(feature_map, 4, 4)
    everything = feature_map if whole == "exact" else fine
    vectors = [everything.sum((2, 3)) / (everything.shape[2] * everything.shape[3])]
    vectors += [fine[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].sum((2, 3)) / 4 for y in range(2) for x in range(2)]
    vectors += [fine[:, :, y, x] for y in range(4) for x in range(4)]
    return torch.stack([vector @ classifier.weight.T + classifier.bias for vector in vectors], 1)


def literal(
    student: Tensor, teacher: Tensor, classifiers: list[nn.Linear], labels: list[int], divergence: str, whole: str
) -> Tensor:
    ours, theirs = regions(student, classifiers[0], whole), regions(teacher, classifiers[1], whole)
    terms = []
    for image, label in enumerate(labels):
        overall = int(theirs[image, 0].argmax()) == label
        for region in range(21):
            p_s, p_t = (probabilities(z[image, region][None], 4.0)[0] for z in (ours, theirs))
            if divergence == "kl":
                term = (p_t * (p_t / p_s).log()).sum()
            else:
                others = [index for index in range(CLASSES) if index != label]
                o_s, o_t = p_s[others].sum(), p_t[others].sum()
                target = p_t[label] * (p_t[label] / p_s[label]).log() + o_t * (o_t / o_s).log()
                term = 1.5 * target + 3 * (p_t[others] / o_t * (p_t[others] / o_t * o_s / p_s[others]).log()).sum()
            terms.append(term * (1 if (int(theirs[image, region].argmax()) == label) == overall else 2))
    return 16 * torch.stack(terms).mean()


def build(seed: int) -> tuple[Tensor, Tensor, list[nn.Linear]]:
    torch.manual_seed(seed)
    classifiers = [nn.Linear(3, CLASSES).double(), nn.Linear(5, CLASSES).double()]
    return 2 * drawn(seed, 3, 3, 5, 5), 3 * drawn(seed + 1, 3, 5, 7, 7), classifiers


@pytest.mark.parametrize("divergence", ["kl", "dkd"])
@pytest.mark.parametrize("whole", ["exact", "official"])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_equals_the_formula(divergence: Any, whole: Any, seed: int) -> None:
    student, teacher, classifiers = build(seed)
    loss, labels = ScaleDecoupled(divergence, 4.0, 1.5, 3.0, whole), [seed % CLASSES, 0, CLASSES - 1]
    assert_same(
        lambda x: loss(x, teacher, *classifiers, torch.tensor(labels)),
        lambda x: literal(x, teacher, classifiers, labels, divergence, whole),
        student,
    )


def test_the_whole_image_is_the_networks_own_logit() -> None:
    student, _, classifiers = build(1)
    own = classifiers[0](student.mean((2, 3)))
    exact, official = (regions(student, classifiers[0], whole)[:, 0] for whole in ("exact", "official"))
    torch.testing.assert_close(exact, own)
    assert not torch.allclose(official, own)  # windows of 5×5 maps overlap


def test_gradient_reaches_the_students_classifier_alone() -> None:
    student, teacher, classifiers = build(2)
    ScaleDecoupled()(student, teacher, *classifiers, torch.tensor([0, 1, 2])).backward()
    assert classifiers[0].weight.grad is not None
    assert classifiers[1].weight.grad is None


def test_settings_are_checked() -> None:
    with pytest.raises(PreceptorError, match="kl, dkd"):
        ScaleDecoupled("ckd")  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="exact, official"):
        ScaleDecoupled(whole="none")  # type: ignore[arg-type]
