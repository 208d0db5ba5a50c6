"""Ranges of a search: what may be written, and what is said of what may not."""

from __future__ import annotations

import pytest

from preceptor.recipes.overrides import parse_override
from preceptor.tune.space import Dimension, combinations, split_space
from preceptor.utils.errors import PreceptorError


def test_ranges_are_told_from_settings() -> None:
    space, rest = split_space(["a.b=log(1e-3, 10)", "c=int(1,5)", "d=choice(x,2,0.5,true)", "e=5", "data.f=g"])
    assert space == [
        Dimension("a.b", "log", (0.001, 10.0)),
        Dimension("c", "int", (1, 5)),
        Dimension("d", "choice", ("x", 2, 0.5, True)),
    ]
    assert rest == ["e=5", "data.f=g"]
    assert space[0].holds(1)
    assert not space[0].holds(11)
    assert not space[1].holds(2.5)
    assert space[2].holds(True)
    assert not space[2].holds(1)


def test_choices_are_read_as_overrides_are() -> None:
    """YAML alone takes 1e-3 for a word, and 2020-01-02 for a day."""
    space, _ = split_space(["optimiser.lr=choice(1e-3,1e-4,0.01)", "a=choice(2020-01-02,null,no)"])
    assert space[0].values == (0.001, 0.0001, 0.01)
    assert space[0].holds(0.0001)
    assert space[1].values == (parse_override("a=2020-01-02")[1], None, parse_override("a=no")[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=lgo(1,2)", r"there is no lgo\. Did you mean 'log'"),
        ("a=log(0,1)", "has no logarithm"),
        ("a=uniform(2,1)", "2.0 is not below 1.0"),
        ("a=uniform(1)", "has 1 numbers"),
        ("a=uniform(1,b)", "'b' is no number"),
        ("a=uniform(1,.inf)", "inf is no number"),
        ("a=int(1,2.5)", "2.5 is no whole number"),
        ("a=choice(1)", "leaves nothing to choose"),
        ("a=choice(1,2,1)", "1 equals another choice"),
        ("a=choice(1,true)", "True equals another choice"),
        ("a=choice([1],2)", "is no single value"),
        ("a=log(1,[)", "cannot be read"),
    ],
)
def test_wrong_ranges_are_explained(text: str, message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        split_space([text])


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(PreceptorError, match="a: is given 2 times"):
        split_space(["a=log(1,2)", "a=5"])


def test_combinations_are_those_of_choices_and_whole_numbers() -> None:
    space, _ = split_space(["a=choice(x,y)", "b=int(1,3)"])
    assert combinations(space) == [{"a": a, "b": b} for a in ("x", "y") for b in (1, 2, 3)]
    assert combinations([*space, *split_space(["c=log(1,2)"])[0]]) is None
    assert combinations(split_space(["a=int(1,1000000)"])[0]) is None
