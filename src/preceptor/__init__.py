"""Preceptor: knowledge distillation for medical images.

The commands are functions of this package: ``preceptor.train("kd", data="ham10000", root="data")``. They are imported
when they are first asked for, since torch takes seconds to import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.version import __version__

if TYPE_CHECKING:
    from preceptor.api.data_sets import check_data
    from preceptor.api.doctor import doctor
    from preceptor.api.evaluation import evaluate
    from preceptor.api.exporting import export
    from preceptor.api.importing import import_network
    from preceptor.api.init import init
    from preceptor.api.prediction import load, predict
    from preceptor.api.reporting import explain, profile, report
    from preceptor.api.serving import serve
    from preceptor.api.studies import study
    from preceptor.api.training import resume, train
    from preceptor.api.tuning import tune
    from preceptor.runs.directory import Run

__all__ = [
    "PreceptorError",
    "PreceptorWarning",
    "Run",
    "__version__",
    "check_data",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "import_network",
    "init",
    "load",
    "predict",
    "profile",
    "report",
    "resume",
    "serve",
    "study",
    "train",
    "tune",
]

#: function → the module of ``preceptor.api`` that it is in
_FUNCTIONS = {
    "check_data": "data_sets",
    "doctor": "doctor",
    "evaluate": "evaluation",
    "explain": "reporting",
    "export": "exporting",
    "import_network": "importing",
    "init": "init",
    "load": "prediction",
    "predict": "prediction",
    "profile": "reporting",
    "report": "reporting",
    "resume": "training",
    "serve": "serving",
    "study": "studies",
    "train": "training",
    "tune": "tuning",
}
_ROOMS = ("report", "study", "tune")  # functions that are called as a subpackage is


def _function(name: str) -> Callable[..., Any]:
    return getattr(import_module(f"preceptor.api.{_FUNCTIONS[name]}"), name)  # type: ignore[no-any-return]


class _Room(ModuleType):
    """A subpackage with a command's name: ``preceptor.study(...)`` runs one, ``preceptor.study.plan`` is a module."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function(self.__name__.rpartition(".")[2])(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, whose signature and help are shown."""
        return _function(self.__name__.rpartition(".")[2])


class _Preceptor(ModuleType):
    """This package. The import system binds a subpackage to its name here, whoever imports it first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Preceptor


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"preceptor.{name}")
    if name in _FUNCTIONS:
        return _function(name)
    if name == "Run":
        return import_module("preceptor.runs.directory").Run
    raise AttributeError(f"module 'preceptor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
