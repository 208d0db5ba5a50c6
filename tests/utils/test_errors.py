from __future__ import annotations

from preceptor.utils.errors import PreceptorError, some_of


def test_a_long_list_is_counted() -> None:
    assert some_of("abcd", 2) == "a, b and 2 more"


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
