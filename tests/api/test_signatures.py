"""The command line and Python say the same: every command is a function with its arguments."""

from __future__ import annotations

import inspect

import pytest

import preceptor
from preceptor.api.data_sets import check_data
from preceptor.cli import data, doctor, evaluate, export, init, serve, study, train, tune

OF_PYTHON = {"progress", "say"}  # how progress is shown, which a terminal decides on
COMMANDS = {
    "init": init.init,
    "doctor": doctor.doctor,
    "serve": serve.serve,
    "train": train.train,
    "resume": train.resume,
    "evaluate": evaluate.evaluate,
    "predict": evaluate.predict,
    "report": evaluate.report,
    "explain": evaluate.explain,
    "profile": evaluate.profile,
    "export": export.export,
    "study": study.study,
    "tune": tune.tune,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_arguments_of_its_function(name: str) -> None:
    function = set(inspect.signature(getattr(preceptor, name)).parameters)
    among_runs = {"overrides"} if name == "evaluate" else set()  # data.key=value stand among the runs
    assert set(inspect.signature(COMMANDS[name]).parameters) == function - OF_PYTHON - among_runs


def test_data_check_has_the_arguments_of_its_function() -> None:
    assert set(inspect.signature(data.check).parameters) == set(inspect.signature(check_data).parameters) - OF_PYTHON


def test_defaults_agree() -> None:
    """But for None on the command line, where a function has an empty list or a number."""
    for name, command in COMMANDS.items():
        function = inspect.signature(getattr(preceptor, name)).parameters
        for key, parameter in inspect.signature(command).parameters.items():
            if parameter.default not in (None, inspect.Parameter.empty):
                assert str(parameter.default) == str(function[key].default), (name, key)


def test_a_room_with_a_commands_name_is_both() -> None:
    import preceptor.study.plan

    assert preceptor.study.plan.read_plan
    with pytest.raises(preceptor.PreceptorError, match="no plan called 'nothing'"):
        preceptor.study("nothing")
    assert "dry_run" in inspect.signature(preceptor.study).parameters
