from __future__ import annotations

import pytest
import torch
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.synergic import Synergic
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


@pytest.mark.parametrize("learner", ["first", "second"])
def test_synergic_equals_the_formula(learner: str) -> None:
    draw = generator(1)
    embeddings = {
        "first": torch.randn(7, 3, generator=draw, dtype=torch.float64),
        "second": torch.randn(7, 4, generator=draw, dtype=torch.float64),
    }
    labels = torch.tensor([0, 0, 1, 2, 1, 0, 3])
    loss = Synergic(3, 4, hidden=5).double()
    partners = loss.partners(labels, generator(2)).tolist()
    into, out = loss.network[0], loss.network[2]

    def literal(x: Tensor) -> Tensor:
        sides = {**embeddings, learner: x}
        total = x.new_zeros(())
        for i, j in enumerate(partners):
            hidden = (into.weight @ torch.cat([sides["first"][i], sides["second"][j]]) + into.bias).clamp(min=0)
            p = 1 / (1 + (-(out.weight @ hidden + out.bias)).exp())[0]
            total = total - (p.log() if labels[i] == labels[j] else (1 - p).log())
        return total / len(labels)

    def value(x: Tensor) -> Tensor:
        return loss(**{**embeddings, learner: x}, labels=labels, generator=generator(2))

    assert_same(value, literal, embeddings[learner])


def test_half_of_the_pairs_are_of_one_class_where_classes_allow() -> None:
    labels = torch.tensor([0, 1, 2, 3]).repeat(8)
    loss, draw = Synergic(2, 2), generator(3)
    alike = torch.stack([labels[loss.partners(labels, draw)] == labels for _ in range(60)])
    assert 0.45 < alike.float().mean() < 0.55
    assert (Synergic(2, 2, same=1.0).partners(labels, draw) % 4 == labels).all()
    assert (Synergic(2, 2, same=0.0).partners(labels, draw) % 4 != labels).all()


def test_an_image_meets_another_one_unless_it_is_alone() -> None:
    loss, draw = Synergic(2, 2, same=1.0), generator(4)
    labels = torch.arange(5)  # no two of one class: any other image serves
    for _ in range(20):
        assert (loss.partners(labels, draw) != torch.arange(5)).all()
    assert loss.partners(labels[:1], draw).tolist() == [0]


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(PreceptorError, match=r"same: 1\.5"):
        Synergic(2, 2, same=1.5)
    with pytest.raises(PreceptorError, match="hidden: 0"):
        Synergic(2, 2, hidden=0)
