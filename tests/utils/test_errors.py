from __future__ import annotations

import pickle

import pytest

from preceptor.utils.errors import (
    PreceptorError,
    PreceptorWarning,
    UnknownKeyError,
    command_line_messages,
    prefix_errors,
    some_of,
)


def test_a_long_list_is_counted() -> None:
    assert some_of("abcd", 2) == "a, b and 2 more"


def test_an_unknown_key_stays_one_when_its_place_is_put_before_it_and_across_processes() -> None:
    error = UnknownKeyError("unknown key 'optimiser.lrr'.", key="optimiser.lrr", known=["lr", "name"], remedy="mend it")
    with (
        pytest.raises(UnknownKeyError, match=r"^row a: unknown key 'optimiser\.lrr'\.") as caught,
        prefix_errors("row a"),
    ):
        raise error
    for other in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert (other.key, other.known, other.remedy) == ("optimiser.lrr", ("lr", "name"), "mend it")
        assert other.suggestion == " Did you mean 'lr'?"


def test_an_endless_name_is_cut() -> None:
    listed = some_of(["x" * 20_000, "b"])
    assert len(listed) < 300
    assert listed.endswith("…, b")


def test_an_endless_value_does_not_make_an_endless_message() -> None:
    error = PreceptorError(f"recipe.yaml: 'name' is {'x' * 100_000}, line 3", expected="a name")
    assert len(str(error)) < 3000
    assert str(error).startswith("recipe.yaml: 'name' is x")
    assert str(error).endswith("x, line 3\n  expected: a name")


def test_a_list_of_many_files_keeps_every_line() -> None:
    files = [f"{number}: {'folder/' * 40}image.png cannot be read" for number in range(10)]
    error = PreceptorError("\n".join(["10 of 10 images cannot be used:", *files]), remedy="mend them")
    assert str(error).splitlines()[1:-1] == files


def test_messages_name_arguments_in_python_and_options_on_the_command_line() -> None:
    error = PreceptorError(
        "--skip-known, --import x.py: see preceptor evaluate RUN --data READER",
        expected="a -- b, 2--3 and var(--ink)",
        remedy="choose another --out",
    )
    in_python = str(error).splitlines()
    assert in_python[0] == "'skip_known', 'imports' x.py: see preceptor evaluate RUN --data READER"
    assert in_python[2] == "  to do:    choose another 'out'"
    with command_line_messages():
        on_command_line = str(error).splitlines()
        assert str(PreceptorWarning("left out: --skip-known")) == "left out: --skip-known"
    assert on_command_line[0] == error.what
    assert on_command_line[2] == "  to do:    choose another --out"
    assert str(PreceptorWarning("left out: --skip-known")) == "left out: 'skip_known'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
